package orders_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

func (s *shop) cancel(t testing.TB, token, key, order string) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{Method: http.MethodPatch, Path: order + "/cancel", Token: token, Key: key, Body: map[string]string{"reason": "no"}})
}

// CX-14 and P2: of each order two cancellations, and a confirmation meet in two
// processes, while others buy the same product. Each order is moved by exactly those who were told so, and no unit is
// lost or made.
func TestCX14CancelsMeetConfirmsAndOrdersOfOneProduct(t *testing.T) {
	t.Parallel()
	first := open(t)
	shops := []*shop{first, first.sibling(t)}
	const rounds = 25
	product := first.Product(t, rounds+3) // the newcomers want more than is left
	ada, eve := first.Token(t, "ada", kit.Everything), first.Token(t, "eve", kit.Everything)
	admin := first.Token(t, "boss", kit.Everything, "admin")
	var locations []string
	for i := range rounds {
		placed := first.place(t, ada, fmt.Sprint("place-", i), draft("ada", line{product, 1, nil}))
		require.Equal(t, http.StatusCreated, placed.Status, "%s", placed.Body)
		locations = append(locations, placed.Header.Get("Location"))
	}
	var (
		all       sync.WaitGroup
		mu        sync.Mutex
		cancelled = make(map[string]int)
		confirmed = make(map[string]int)
		bought    int
	)
	told := func(m map[string]int, location string, got kit.Reply) {
		mu.Lock()
		defer mu.Unlock()
		if got.Status == http.StatusOK {
			m[location]++
			return
		}
		assert.Equal(t, http.StatusConflict, got.Status, "%s", got.Body)
		assert.Equal(t, "/docs/problems/too-late", got.JSON(t)["type"])
	}
	for i, location := range locations {
		for n, s := range shops {
			all.Go(func() { told(cancelled, location, s.cancel(t, ada, fmt.Sprint("cancel-", i, "-", n), location)) })
		}
		all.Go(func() {
			told(confirmed, location, shops[i%2].Do(t, kit.Call{Method: http.MethodPost, Path: location + "/confirm", Token: admin, Key: fmt.Sprint("confirm-", i)}))
		})
		all.Go(func() {
			got := shops[i%2].place(t, eve, fmt.Sprint("buy-", i), draft("eve", line{product, 2, nil}))
			if got.Status != http.StatusCreated {
				assert.Equal(t, "/docs/problems/sold-out", got.JSON(t)["type"], "%s", got.Body)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			bought += 2
		})
	}
	all.Wait()
	for _, location := range locations {
		assert.Equal(t, 1, cancelled[location]+confirmed[location], "one of them moves %s", location)
	}
	left := kit.One[int](t, first.Database, `SELECT available::int FROM inventory`)
	assert.Equal(t, rounds+3, left+bought+len(confirmed))
	assert.Equal(t, len(cancelled), kit.One[int](t, first.Database, `SELECT count(*) FROM outbox WHERE type = 'order.cancelled.v1' AND sequence = 2`))
	assert.Equal(t, len(cancelled), kit.One[int](t, first.Database, `SELECT count(*) FROM orders WHERE status = 'Cancelled' AND version = 2`))
	balanced(t, first.Database)
}

// P1 for cancellations: a repeat gets the same bytes, from Redis and from the row, alone and in one batch with others.
func TestACancellationIsReplayedByteForByte(t *testing.T) {
	t.Parallel()
	first := open(t)
	shops := []*shop{first, first.sibling(t)}
	product := first.Product(t, 10)
	ada := first.Token(t, "ada", kit.Everything)
	location := first.place(t, ada, "k", draft("ada", line{product, 4, nil})).Header.Get("Location")

	var original []byte
	for _, got := range parallel(40, func(i int) kit.Reply { return shops[i%2].cancel(t, ada, "c", location) }) {
		if got.Status == http.StatusConflict {
			assert.Equal(t, "/docs/problems/request-in-flight", got.JSON(t)["type"], "%s", got.Body)
			continue
		}
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		if original == nil {
			original = got.Body
		}
		assert.Equal(t, string(original), string(got.Body))
	}
	require.NotNil(t, original)
	late := first.cancel(t, ada, "late", location)
	first.Mini.Close() // what Redis remembers is gone: the rows answer
	for key, want := range map[string][]byte{"c": original, "late": late.Body} {
		got := first.cancel(t, ada, key, location)
		assert.Equal(t, string(want), string(got.Body))
		assert.Equal(t, "true", got.Header.Get("Idempotent-Replayed"))
	}
	assert.Equal(t, 1, kit.One[int](t, first.Database, `SELECT count(*) FROM outbox WHERE type = 'order.cancelled.v1'`))
	assert.Equal(t, 10, kit.One[int](t, first.Database, `SELECT available::int FROM inventory`))
	balanced(t, first.Database)
}

func TestAnOrderOfSomebodyElseCannotBeCancelled(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	location := s.place(t, s.Token(t, "ada", kit.Everything), "k", draft("ada", line{product, 4, nil})).Header.Get("Location")
	eve := s.Token(t, "eve", kit.Everything)
	for _, path := range []string{location, "/api/v1/orders/" + uuid.NewString()} {
		got := s.cancel(t, eve, uuid.NewString(), path)
		assert.Equal(t, http.StatusNotFound, got.Status, "%s", got.Body)
	}
	assert.Equal(t, 6, kit.One[int](t, s.Database, `SELECT available::int FROM inventory`))
	assert.Equal(t, http.StatusOK, s.cancel(t, s.Token(t, "boss", kit.Everything, "admin"), "k", location).Status, "an admin may")
	assert.Equal(t, 10, kit.One[int](t, s.Database, `SELECT available::int FROM inventory`))
	balanced(t, s.Database)
}

// A cancellation that meets a key which another process commits while it waits for the product answers what is stored
// (CX-01), and its order's stock is not returned again.
func TestCX01CancellationsKeyIsCommittedWhileItWaits(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := first.sibling(t)
	first.Mini.Close() // nothing but the row knows the key
	product := first.Product(t, 10)
	ada := first.Token(t, "ada", kit.Everything)
	location := first.place(t, ada, "k", draft("ada", line{product, 4, nil})).Header.Get("Location")
	release := holding(t, first.Database, `SELECT 1 FROM inventory FOR UPDATE`)
	replies := make(chan kit.Reply, 2)
	for _, s := range []*shop{first, second} {
		go func() {
			got := s.cancel(t, ada, "c", location)
			for got.Status == http.StatusServiceUnavailable { // it waited for longer than the database lets it
				got = s.cancel(t, ada, "c", location)
			}
			replies <- got
		}()
	}
	require.Eventually(t, func() bool {
		return kit.One[int](t, first.Database, `SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
			WHERE datname = current_database() AND NOT granted`) == 2
	}, 20*time.Second, 5*time.Millisecond, "both wait for the product")
	release()
	one, other := <-replies, <-replies
	assert.Equal(t, http.StatusOK, one.Status, "%s", one.Body)
	assert.Equal(t, string(one.Body), string(other.Body))
	assert.Equal(t, 10, kit.One[int](t, first.Database, `SELECT available::int FROM inventory`))
	balanced(t, first.Database)
}
