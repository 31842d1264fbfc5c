package orders_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// openWired is a shop that queues orders when it must, and whose way to the database can be cut.
func openWired(t testing.TB, after time.Duration) (*shop, *kit.Wire) {
	t.Helper()
	d := kit.NewDatabase(t)
	wire := kit.NewWire(t, d.AppURL)
	through := &kit.Database{OwnerURL: d.OwnerURL, AppURL: wire.URL}
	through.Pools = through.Open(t)
	return on(t, kit.NewAPIOn(t, through, nil), func(o *orders.Options) { o.QueueAfter = after }), wire
}

func (s *shop) deliverAll(t testing.TB) {
	t.Helper()
	for len(s.sent) > 0 {
		s.deliver(t, <-s.sent)
	}
}

func (s *shop) get(t testing.TB, token, location string) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{Method: http.MethodGet, Path: location, Token: token})
}

// acceptedAt is the time of acceptance in a message.
func acceptedAt(t testing.TB, m servicebus.Message) time.Time {
	t.Helper()
	var q struct{ AcceptedAt time.Time }
	require.NoError(t, json.Unmarshal(m.Body, &q))
	return q.AcceptedAt
}

// From the cut to the end: 202 with a ticket in Redis, the same again for the key, and once the database is back what a
// synchronous order would have got.
func TestOrdersAreQueuedWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	s, wire := openWired(t, time.Minute)
	product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	seen := s.place(t, token, "before", draft("ada", line{product, 1, nil}))
	require.Equal(t, http.StatusCreated, seen.Status)
	started := kit.One[time.Time](t, s.Database, `SELECT clock_timestamp()`)

	wire.Cut()
	body, tooMany := draft("ada", line{product, 2, nil}), draft("ada", line{product, 99, nil})
	first := s.place(t, token, "k", body)
	require.Equal(t, http.StatusAccepted, first.Status, "%s", first.Body)
	assert.Empty(t, first.Header.Get("Preference-Applied"), "nobody asked for it")
	assert.Equal(t, "1", first.Header.Get("Retry-After"))
	location := first.Header.Get("Location")
	asked := s.queue(t, token, "asked", body)
	assert.Equal(t, http.StatusAccepted, asked.Status)
	assert.Equal(t, "respond-async", asked.Header.Get("Preference-Applied"))
	sold := s.place(t, token, "sold", tooMany)
	require.Equal(t, http.StatusAccepted, sold.Status)
	again := s.place(t, token, "k", body)
	assert.Equal(t, http.StatusAccepted, again.Status)
	assert.Equal(t, string(first.Body), string(again.Body))
	assert.Equal(t, http.StatusUnprocessableEntity, s.place(t, token, "bad", draft("ada", line{product, 0, nil})).Status, "what is wrong anyhow is refused")
	require.Len(t, s.sent, 4)

	assert.Equal(t, map[string]any{"id": first.JSON(t)["id"], "status": "queued"}, s.state(t, token, location))
	eve := s.Token(t, "eve", kit.Everything)
	assert.Equal(t, http.StatusServiceUnavailable, s.get(t, eve, location).Status, "not hers, and nobody can say that there is none")
	caller := kit.One[uuid.UUID](t, s.Database, `SELECT customer_key FROM orders`)
	ticket := "{" + hex.EncodeToString(caller[:]) + "}:ticket:" + first.JSON(t)["id"].(string)
	require.True(t, s.Mini.Exists(ticket))
	assert.InDelta(t, 24, s.Mini.TTL(ticket).Hours(), 0.1)

	wire.Mend()
	require.Eventually(t, func() bool { return s.get(t, eve, location).Status == http.StatusNotFound }, 20*time.Second, 10*time.Millisecond, "it is found back")
	assert.Equal(t, "queued", s.state(t, token, location)["status"], "there is no row yet")
	m := <-s.sent
	at := acceptedAt(t, m)
	assert.WithinRange(t, at, started.Add(-time.Minute), kit.One[time.Time](t, s.Database, `SELECT clock_timestamp()`))
	s.deliver(t, m)
	s.deliverAll(t)

	placed := s.state(t, token, location)
	assert.Equal(t, "placed", placed["status"], "the row wins over the ticket")
	replay := s.place(t, token, "k", body)
	assert.Equal(t, http.StatusCreated, replay.Status)
	assert.Equal(t, "true", replay.Header.Get("Idempotent-Replayed"))
	assert.Equal(t, placed["orderId"], replay.JSON(t)["id"])
	rejected := s.state(t, token, sold.Header.Get("Location"))
	assert.Equal(t, "rejected", rejected["status"])
	assert.Equal(t, s.place(t, token, "sold", tooMany).JSON(t), rejected["problem"], "the answer that the request would have got")
	sync := s.place(t, token, "sync", body)
	order, other := replay.JSON(t), sync.JSON(t)
	for _, own := range []string{"id", "orderNumber", "createdAt"} {
		delete(order, own)
		delete(other, own)
	}
	assert.Equal(t, other, order, "but for its names it is the order that would have been placed at once")
	assert.Equal(t, 4, s.count(t, "orders"))
	balanced(t, s.Database)
}

func TestOrdersAreRefusedWhenTheyCannotBeQueued(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after    time.Duration
		unseen   bool
		away     func(*shop)
		messages int
	}{
		"it is off":                         {away: func(*shop) {}},
		"Redis is away too":                 {after: time.Minute, away: func(s *shop) { s.Mini.Close() }},
		"the broker is away too":            {after: time.Minute, away: func(s *shop) { s.sending = func() error { return errors.New("no broker") } }},
		"the database's clock is not known": {after: time.Minute, unseen: true, away: func(*shop) {}},
		// CX-02: the send comes first. The order will be placed, and a repeat of the key finds it.
		"Redis goes away after the send": {after: time.Minute, messages: 1, away: func(s *shop) {
			s.sending = func() error { s.Mini.Close(); return nil }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, wire := openWired(t, c.after)
			product, token := s.Product(t, 10), s.Token(t, "ada", kit.Everything)
			body := draft("ada", line{product, 2, nil})
			if !c.unseen {
				require.Equal(t, http.StatusCreated, s.place(t, token, "before", draft("ada", line{product, 1, nil})).Status)
			}
			before := s.count(t, "orders")
			wire.Cut()
			c.away(s)
			got := s.place(t, token, "k", body)
			assert.Equal(t, http.StatusServiceUnavailable, got.Status, "%s", got.Body)
			assert.Equal(t, "1", got.Header.Get("Retry-After"))
			assert.Len(t, s.sent, c.messages)
			assert.Equal(t, http.StatusServiceUnavailable, s.get(t, token, "/api/v1/order-requests/"+uuid.NewString()).Status)

			wire.Mend()
			s.deliverAll(t)
			require.Eventually(t, func() bool { return s.place(t, token, "k", body).Status == http.StatusCreated }, 20*time.Second, 10*time.Millisecond)
			assert.Equal(t, before+1, s.count(t, "orders"))
			balanced(t, s.Database)
		})
	}
}

// The product is locked by somebody for a while. Who would wait for too long is queued, also when Redis is away, and in
// the end everybody has the order, once.
func TestOrdersThatWouldWaitTooLongAreQueued(t *testing.T) {
	t.Parallel()
	for name, redisUp := range map[string]bool{"with Redis": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := on(t, kit.NewAPI(t), func(o *orders.Options) { o.QueueAfter = 20 * time.Millisecond })
			if !redisUp {
				s.Mini.Close()
			}
			product, token := s.Product(t, 1000), s.Token(t, "ada", kit.Everything)
			body := draft("ada", line{product, 1, nil})
			release := holding(t, s.Database, `SELECT 1 FROM inventory FOR UPDATE`)
			var (
				all     sync.WaitGroup
				mu      sync.Mutex
				replies = make(map[string]kit.Reply)
			)
			place := func() kit.Reply {
				key := uuid.NewString()
				got := s.place(t, token, key, body)
				mu.Lock()
				defer mu.Unlock()
				replies[key] = got
				return got
			}
			for range 10 { // some for each committer, and some that wait
				all.Go(func() { place() })
			}
			late := place()
			for late.Status == http.StatusCreated {
				late = place()
			}
			require.Equal(t, http.StatusAccepted, late.Status, "%s", late.Body)
			release()
			all.Wait()
			location := late.Header.Get("Location")
			assert.Equal(t, "queued", s.state(t, token, location)["status"], "the database has the ticket")
			s.deliverAll(t)
			assert.Equal(t, "placed", s.state(t, token, location)["status"])
			for key, got := range replies {
				assert.Contains(t, []int{http.StatusCreated, http.StatusAccepted}, got.Status, "%s", got.Body)
				assert.Equal(t, http.StatusCreated, s.place(t, token, key, body).Status)
			}
			assert.Equal(t, len(replies), s.count(t, "orders"))
			balanced(t, s.Database)
		})
	}
}

// A ticket that only Redis may know is not denied while Redis is away.
func TestARequestThatOnlyRedisMayKnowIsNotDenied(t *testing.T) {
	t.Parallel()
	s := open(t)
	token := s.Token(t, "ada", kit.Everything)
	path := "/api/v1/order-requests/" + uuid.NewString()
	assert.Equal(t, http.StatusNotFound, s.get(t, token, path).Status)
	s.Mini.Close()
	assert.Equal(t, http.StatusServiceUnavailable, s.get(t, token, path).Status)
}
