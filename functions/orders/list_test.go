package orders_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// listed is an item of a list, as far as these tests look.
type listed struct {
	ID         uuid.UUID
	Status     string
	CustomerID string
}

func (s *shop) list(t testing.TB, token, query string) (items []listed) {
	t.Helper()
	got := s.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/orders" + query, Token: token})
	if !assert.Equal(t, http.StatusOK, got.Status, "%s", got.Body) {
		return nil
	}
	var page struct{ Items []listed }
	assert.NoError(t, json.Unmarshal(got.Body, &page))
	return page.Items
}

// kept are the keys of lists in Redis that have a value.
func (s *shop) kept() (keys []string) {
	for _, key := range s.Mini.Keys() {
		if value, err := s.Mini.Get(key); err == nil && strings.HasSuffix(key, ":list") && strings.HasPrefix(value, "V") {
			keys = append(keys, key)
		}
	}
	return keys
}

// settle ends all holds, as time does.
func (s *shop) settle() { s.Mini.FastForward(12 * time.Second) }

// A customer's own list is kept in Redis for all processes; whatever changes it shows at once in each of them, whoever did it.
func TestCX17AKeptListShowsEveryChangeAtOnce(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := first.sibling(t)
	product := first.Product(t, 1000)
	ada, boss := first.Token(t, "ada", kit.Everything), first.Token(t, "boss", kit.Everything, "admin")
	keys := 0
	key := func() string { keys++; return fmt.Sprint("key-", keys) }
	var order string
	changes, missed := 0, 0
	change := func(name string, do func() kit.Reply) {
		first.settle()
		before := first.list(t, ada, "")
		hits := second.orders.ListStats().Redis
		require.Equal(t, before, second.list(t, ada, ""))
		changes++
		if second.orders.ListStats().Redis != hits+1 || len(first.kept()) != 1 {
			missed++ // Redis was too slow for once: see below
		}
		got := do()
		require.Less(t, got.Status, 300, "%s: %s", name, got.Body)
		truth := second.list(t, ada, "?pageSize=21") // not kept
		truth = truth[:min(20, len(truth))]
		require.NotEqual(t, before, truth, name)
		for i, s := range []*shop{second, first, second} {
			assert.Equal(t, truth, s.list(t, ada, ""), "%s, look %d", name, i)
		}
		if location := got.Header.Get("Location"); location != "" {
			order = location
		}
	}
	place := func(s *shop, token string) func() kit.Reply {
		return func() kit.Reply { return s.place(t, token, key(), draft("ada", line{product, 1, nil})) }
	}
	cancel := func(s *shop, token string) func() kit.Reply {
		return func() kit.Reply {
			return s.Do(t, kit.Call{Method: http.MethodPatch, Path: order + "/cancel", Token: token, Key: key(), Body: map[string]string{"reason": "no"}})
		}
	}
	change("place", place(first, ada))
	change("cancel", cancel(second, ada))
	change("place for somebody", place(first, boss))
	change("confirm", func() kit.Reply {
		return first.Do(t, kit.Call{Method: http.MethodPost, Path: order + "/confirm", Token: boss, Key: key()})
	})
	change("cancel somebody's", cancel(first, boss))
	change("place once more", place(second, ada))
	change("confirm when due", func() kit.Reply {
		require.Eventually(t, func() bool { // as soon as the order is older than the limit, by the database's clock
			n, err := first.orders.ConfirmDue(t.Context(), first.Pools.Background, time.Millisecond, 100)
			require.NoError(t, err)
			return n == 1
		}, 10*time.Second, time.Millisecond)
		return kit.Reply{}
	})
	change("a queued order is placed", func() kit.Reply {
		got := first.queue(t, ada, key(), draft("ada", line{product, 1, nil}))
		require.Equal(t, http.StatusAccepted, got.Status, "%s", got.Body)
		first.deliver(t, <-first.sent)
		return kit.Reply{}
	})
	for i := range 25 { // more than a page
		change(fmt.Sprint("order ", i), place([]*shop{first, second}[i%2], ada))
	}
	require.Len(t, first.list(t, ada, ""), 20)
	assert.Less(t, missed, changes/2, "hardly ever had the second process what the first one had put there: nothing is shown (%+v, %+v)",
		first.orders.ListStats(), second.orders.ListStats())
}

// Only the first page at its usual size, and only of one's own: nobody is shown another customer's, and an admin's look at a
// customer's orders neither uses nor leaves anything.
func TestCX18AKeptListIsItsOwners(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 1000)
	// Names that run together where a key is made of text.
	names := []string{"ada", "ada}", "{ada", "ada}:list", "order:{ada}:list", "ad", "a", "*", "Ada", " ada"}
	token := func(name string, roles ...string) string { return s.Token(t, name, kit.Everything, roles...) }
	for i, name := range names {
		for range i % 3 {
			placed := s.place(t, token(name), uuid.NewString(), draft(name, line{product, 1, nil}))
			require.Equal(t, http.StatusCreated, placed.Status, "%s", placed.Body)
		}
	}
	s.settle()
	for range 3 { // filled, then read from there
		for i, name := range names {
			items := s.list(t, token(name), "")
			assert.Len(t, items, i%3, "%q", name)
			for _, item := range items {
				assert.Equal(t, name, item.CustomerID)
			}
		}
	}
	if stats := s.orders.ListStats(); stats.RedisErrors == 0 { // else the machine was too busy for its timeouts
		assert.Len(t, s.kept(), len(names))
		assert.EqualValues(t, 2*len(names), stats.Redis)
	}

	kept, before := s.kept(), s.orders.ListStats()
	boss := token("boss", "admin")
	for _, query := range []string{"?customerId=ada%7D", "?customerId=ada%7D&pageSize=20"} {
		assert.Len(t, s.list(t, boss, query), 1)
	}
	next := s.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/orders?pageSize=1", Token: token("{ada")}).JSON(t)["nextCursor"].(string)
	assert.Len(t, s.list(t, token("{ada"), "?pageSize=20&cursor="+next), 1)
	assert.Equal(t, kept, s.kept())
	assert.Equal(t, before, s.orders.ListStats(), "none of these asks for what is kept")
	assert.Empty(t, s.list(t, boss, ""), "nor does the admin's own list have anybody's")
}

// Customers write and look through two processes at once, and so do an admin, and readers who fill all the time: after each
// answer the next look at either process shows exactly what has been answered so far.
func TestCX17ReadersRaceWithWriters(t *testing.T) {
	t.Parallel()
	first := open(t)
	shops := []*shop{first, first.sibling(t)}
	product := first.Product(t, 100_000)
	boss := first.Token(t, "boss", kit.Everything, "admin")
	const customers, rounds = 6, 12
	var writing sync.WaitGroup
	known := make([][]listed, customers) // newest first
	for range rounds {
		first.settle() // the next write of each meets a list that is there, or is being put there
		var reading sync.WaitGroup
		var over atomic.Bool
		for c := range customers {
			name := fmt.Sprint("customer-", c)
			token := first.Token(t, name, kit.Everything)
			first.list(t, token, "")
			for _, s := range shops {
				reading.Go(func() {
					for !over.Load() {
						s.list(t, token, "")
					}
				})
			}
			writing.Go(func() {
				for range 3 {
					s, own := shops[rand.IntN(2)], known[c]
					pending := slices.IndexFunc(own, func(o listed) bool { return o.Status == "Pending" })
					var got kit.Reply
					switch n := rand.IntN(10); {
					case n < 5 || pending < 0:
						by := token
						if n == 0 {
							by = boss
						}
						got = s.place(t, by, uuid.NewString(), draft(name, line{product, 1, nil}))
						if assert.Equal(t, http.StatusCreated, got.Status, "%s", got.Body) {
							known[c] = append([]listed{{uuid.MustParse(got.JSON(t)["id"].(string)), "Pending", name}}, own...)
						}
					case n < 7:
						got = s.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders/" + own[pending].ID.String() + "/confirm", Token: boss, Key: uuid.NewString()})
						own[pending].Status = "Confirmed"
					default:
						by := []string{token, boss}[rand.IntN(2)]
						got = s.Do(t, kit.Call{
							Method: http.MethodPatch, Path: "/api/v1/orders/" + own[pending].ID.String() + "/cancel", Token: by, Key: uuid.NewString(),
							Body: map[string]string{"reason": "no"},
						})
						own[pending].Status = "Cancelled"
					}
					assert.Less(t, got.Status, 300, "%s", got.Body)
					for _, s := range shops {
						now := s.list(t, token, "")
						if shops[0].orders.ListStats().Lost+shops[1].orders.ListStats().Lost == 0 { // else see the test below
							assert.Equal(t, known[c][:min(20, len(known[c]))], now, "right after the answer")
						}
					}
				}
			})
		}
		writing.Wait()
		over.Store(true)
		reading.Wait()
		if t.Failed() {
			return
		}
		if shops[0].orders.ListStats().Lost+shops[1].orders.ListStats().Lost > 0 {
			t.Log("the machine was too busy for the timeouts of Redis: what is shown ends here")
			break
		}
	}
	var hits int64
	for _, s := range shops {
		hits += s.orders.ListStats().Redis
	}
	assert.Positive(t, hits, "nothing was kept: nothing is shown")
}

// Redis is away: lists come from the database. A write meanwhile can't take away what is kept there: its own process knows
// that, and another one finds out when it looks whether what it has is still so, half a minute after it was put there.
func TestAKeptListAndAWriteThatRedisDidNotHearOf(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := first.sibling(t)
	product, ada := first.Product(t, 10), first.Token(t, "ada", kit.Everything)
	place := func() {
		t.Helper()
		got := first.place(t, ada, uuid.NewString(), draft("ada", line{product, 1, nil}))
		require.Equal(t, http.StatusCreated, got.Status, "%s", got.Body)
	}
	place()
	first.settle()
	require.Len(t, first.list(t, ada, ""), 1)
	require.Len(t, first.kept(), 1)

	first.Mini.Close()
	place()
	assert.Len(t, first.list(t, ada, ""), 2)
	assert.Len(t, second.list(t, ada, ""), 2, "from the database")
	require.NoError(t, first.Mini.Restart())
	for _, s := range []*shop{first, second} {
		require.Eventually(t, func() bool { return s.Redis.Ping(t.Context()).Err() == nil }, 10*time.Second, 10*time.Millisecond, "it is asked again")
	}
	require.Len(t, first.kept(), 1, "the old list is there again")
	assert.Len(t, first.list(t, ada, ""), 2, "who has answered the write knows")
	require.Eventually(t, func() bool { return len(second.list(t, ada, "")) == 1 }, 5*time.Second, 50*time.Millisecond,
		"the others may not: this is the bound that the documentation tells")
	first.Mini.SetTime(time.Now().Add(31 * time.Second))
	assert.Len(t, second.list(t, ada, ""), 2, "and its end")
	assert.Len(t, first.list(t, ada, ""), 2)
}
