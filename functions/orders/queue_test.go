package orders_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// queue places an order with Prefer: respond-async.
func (s *shop) queue(t testing.TB, token, key string, body any) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{
		Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: key, Body: body,
		Header: http.Header{"Prefer": {`wait=5, foo="a, b"`, "respond-async"}},
	})
}

func (s *shop) deliver(t testing.TB, m servicebus.Message) {
	t.Helper()
	require.NoError(t, s.orders.PlaceQueued(t.Context(), []servicebus.Received{{Body: m.Body, MessageID: m.ID}}))
}

func (s *shop) state(t testing.TB, token, location string) map[string]any {
	t.Helper()
	got := s.Do(t, kit.Call{Method: http.MethodGet, Path: location, Token: token})
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	return got.JSON(t)
}

func (s *shop) count(t testing.TB, table string) int {
	t.Helper()
	return kit.One[int](t, s.Database, `SELECT count(*) FROM `+table)
}

func TestCX02QueuedOrderIsPlacedOnceAndTold(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	body := draft("ada", line{product, 2, nil})

	first := s.queue(t, token, "k", body)
	require.Equal(t, http.StatusAccepted, first.Status, "%s", first.Body)
	assert.Equal(t, "respond-async", first.Header.Get("Preference-Applied"))
	assert.Equal(t, "1", first.Header.Get("Retry-After"))
	location := first.Header.Get("Location")
	assert.Equal(t, "/api/v1/order-requests/"+first.JSON(t)["id"].(string), location)
	assert.Equal(t, map[string]any{"id": first.JSON(t)["id"], "status": "queued"}, s.state(t, token, location))
	assert.Equal(t, http.StatusNotFound, s.Do(t, kit.Call{Method: http.MethodGet, Path: location, Token: s.Token(t, "eve", kit.Everything)}).Status)

	for _, repeat := range []kit.Reply{s.queue(t, token, "k", body), s.place(t, token, "k", body)} {
		assert.Equal(t, http.StatusAccepted, repeat.Status, "%s", repeat.Body)
		assert.Equal(t, string(first.Body), string(repeat.Body))
	}
	require.Len(t, s.sent, 3, "each repeat sends again: the first message may be lost")
	other := s.queue(t, token, "k", draft("ada", line{product, 3, nil}))
	require.Equal(t, http.StatusAccepted, other.Status)
	assert.NotEqual(t, location, other.Header.Get("Location"), "another body is another request")

	for range 3 {
		s.deliver(t, <-s.sent)
	}
	s.deliver(t, <-s.sent)
	placed := s.state(t, token, location)
	assert.Equal(t, "placed", placed["status"])
	rejected := s.state(t, token, other.Header.Get("Location"))
	assert.Equal(t, "rejected", rejected["status"])
	assert.Equal(t, "/docs/problems/idempotency-key-reused", rejected["problem"].(map[string]any)["type"])
	assert.Equal(t, 1, s.count(t, "orders"))
	assert.Equal(t, 8, kit.One[int](t, s.Database, `SELECT available::int FROM inventory`))
	balanced(t, s.Database)

	for _, replay := range []kit.Reply{s.place(t, token, "k", body), s.queue(t, token, "k", body)} {
		require.Equal(t, http.StatusCreated, replay.Status)
		assert.Equal(t, "true", replay.Header.Get("Idempotent-Replayed"))
		assert.Equal(t, placed["orderId"], replay.JSON(t)["id"])
	}
	assert.Equal(t, http.StatusUnprocessableEntity, s.queue(t, token, "k", draft("ada", line{product, 3, nil})).Status)
	assert.Empty(t, s.sent, "what is known is not sent")

	sold := s.queue(t, token, "k2", draft("ada", line{product, 9, nil}))
	s.deliver(t, <-s.sent)
	no := s.state(t, token, sold.Header.Get("Location"))
	assert.Equal(t, "rejected", no["status"])
	replay := s.place(t, token, "k2", draft("ada", line{product, 9, nil}))
	assert.Equal(t, http.StatusConflict, replay.Status)
	assert.Equal(t, replay.JSON(t), no["problem"], "the answer that the request would have got")
	assert.Equal(t, http.StatusUnprocessableEntity, s.queue(t, token, "k3", draft("ada", line{product, 0, nil})).Status, "bad input is refused at once")
	assert.Empty(t, s.sent)
}

func TestCX02KilledBetweenSendAndTicket(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	body := draft("ada", line{product, 1, nil})
	s.Exec(t, `ALTER TABLE order_requests RENAME TO away`)
	assert.Equal(t, http.StatusServiceUnavailable, s.queue(t, token, "k", body).Status)
	s.Exec(t, `ALTER TABLE away RENAME TO order_requests`)
	require.Len(t, s.sent, 1, "the message goes first")
	m := <-s.sent
	location := "/api/v1/order-requests/" + m.ID
	gone := s.Do(t, kit.Call{Method: http.MethodGet, Path: location, Token: token})
	assert.Equal(t, http.StatusNotFound, gone.Status)
	assert.Contains(t, gone.JSON(t)["detail"], "Repeat the POST with the same key")
	s.deliver(t, m)
	assert.Equal(t, "placed", s.state(t, token, location)["status"], "it is told without a ticket")
	assert.Equal(t, http.StatusCreated, s.queue(t, token, "k", body).Status)
	assert.Equal(t, 1, s.count(t, "orders"))
}

func TestCX02BrokerAwayStoresNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	s.sending = func() error { return errors.New("no broker") }
	got := s.queue(t, token, "k", draft("ada", line{product, 1, nil}))
	assert.Equal(t, http.StatusServiceUnavailable, got.Status)
	assert.Zero(t, s.count(t, "order_requests"))
	assert.Zero(t, s.count(t, "idempotency_keys"))
	assert.Equal(t, http.StatusCreated, s.place(t, token, "k", draft("ada", line{product, 1, nil})).Status)
}

func TestCX04QueuedForTooLong(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]string{22*time.Hour + 59*time.Minute: "placed", 23*time.Hour + time.Minute: "rejected"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
			location := s.queue(t, token, "k", draft("ada", line{product, 1, nil})).Header.Get("Location")
			m := <-s.sent
			var content map[string]any
			require.NoError(t, json.Unmarshal(m.Body, &content))
			content["acceptedAt"] = kit.One[time.Time](t, s.Database, `SELECT now()`).Add(-age)
			m.Body, _ = json.Marshal(content)
			s.deliver(t, m)
			got := s.state(t, token, location)
			assert.Equal(t, want, got["status"])
			if want == "rejected" {
				assert.Equal(t, "/docs/problems/expired", got["problem"].(map[string]any)["type"])
				assert.Zero(t, s.count(t, "orders"))
			}
		})
	}
}

// A repeat may be queued unseen in the last hour of its key's life, while the database is away, and be placed after it.
func TestCX04ARepeatQueuedWithinItsKeysLifeIsARepeat(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	body := draft("ada", line{product, 2, nil})
	require.Equal(t, http.StatusAccepted, s.queue(t, token, "k", body).Status)
	repeat := <-s.sent
	s.deliver(t, repeat)
	require.Equal(t, 1, s.count(t, "orders"))

	s.Exec(t, `UPDATE idempotency_keys SET expires_at = now() - interval '1 hour'`) // so it was placed 25 hours ago
	queuedAgo := func(age time.Duration) servicebus.Message {
		var content map[string]any
		require.NoError(t, json.Unmarshal(repeat.Body, &content))
		content["acceptedAt"] = kit.One[time.Time](t, s.Database, `SELECT now()`).Add(-age)
		m := repeat
		var err error
		m.Body, err = json.Marshal(content)
		require.NoError(t, err)
		return m
	}
	s.deliver(t, queuedAgo(61*time.Minute))
	assert.Equal(t, 1, s.count(t, "orders"), "it came while the key lived")
	s.deliver(t, queuedAgo(59*time.Minute))
	assert.Equal(t, 2, s.count(t, "orders"), "it came after: a new order")
	balanced(t, s.Database)
}

func TestCX01QueuedMeetsSynchronous(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 1000), s.Token(t, "ada", kit.Everything)
	const rounds = 100
	for i := range rounds {
		key, body := fmt.Sprint("k", i), draft("ada", line{product, 1, nil})
		require.Equal(t, http.StatusAccepted, s.queue(t, token, key, body).Status)
		m := <-s.sent
		if i%2 == 0 {
			s.Exec(t, `DELETE FROM order_requests`) // the ticket is not written yet
		}
		var both sync.WaitGroup
		both.Go(func() { s.deliver(t, m) })
		both.Go(func() { s.place(t, token, key, body) })
		both.Wait()
		for len(s.sent) > 0 {
			s.deliver(t, <-s.sent)
		}
		require.Equal(t, i+1, s.count(t, "orders"), "one order for each key")
	}
	balanced(t, s.Database)
}

func TestPoisonedOrderRequestIsKeptAndHarmsNoNeighbour(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	s.queue(t, token, "k", draft("ada", line{product, 1, nil}))
	good := <-s.sent
	require.NoError(t, s.orders.PlaceQueued(t.Context(), []servicebus.Received{{Body: []byte(`{"no":"order"}`), MessageID: "bad"}, {Body: good.Body}}))
	require.Len(t, s.poison, 1)
	assert.Equal(t, "bad", (<-s.poison).MessageID)
	assert.Equal(t, 1, s.count(t, "orders"))
}
