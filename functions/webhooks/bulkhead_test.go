package webhooks_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// eventually polls the database: what is waited for happens on other goroutines.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 30*time.Second, 10*time.Millisecond, what)
}

// TestALongQueueOfASlowEndpoint: its wake-ups are gone at once, two workers make the attempts, and whoever comes
// later to another endpoint does not wait behind it.
func TestALongQueueOfASlowEndpoint(t *testing.T) {
	t.Parallel()
	const backlog = 300
	s := open(t, webhooks.Limits{Invocation: 200 * time.Millisecond})
	var now, most atomic.Int64
	slow := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-time.After(10 * time.Millisecond)
		now.Add(-1)
		w.WriteHeader(http.StatusOK)
	})
	reached := make(chan struct{}, 1)
	quick := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		reached <- struct{}{}
		w.WriteHeader(http.StatusOK)
	})
	s.subscribe(t, slow.url)
	var batch []servicebus.Received
	for range backlog {
		_, m := happened(t, "ada")
		batch = append(batch, m)
	}
	s.pump(t)
	require.NoError(t, s.hooks.FanOut(t.Context(), batch))
	e := s.subscribe(t, quick.url)
	id, m := happened(t, "ada")
	require.NoError(t, s.hooks.FanOut(t.Context(), []servicebus.Received{m}))
	<-reached
	assert.Less(t, len(slow.requests()), backlog, "the slow one is still at it")
	eventually(t, "all of the backlog is delivered", func() bool {
		return kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries WHERE status <> 'succeeded'`) == 0
	})
	assert.Len(t, slow.requests(), backlog+1, "each once")
	assert.Equal(t, int64(2), most.Load(), "two at a time, not more and not one by one")
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
}

// TestAtMostSoManyAttemptsAtOnce in one process, over all endpoints.
func TestAtMostSoManyAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{Parallel: 3})
	var now, most atomic.Int64
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-time.After(20 * time.Millisecond)
		now.Add(-1)
		w.WriteHeader(http.StatusOK)
	})
	for range 8 {
		s.subscribe(t, r.url)
	}
	s.pump(t)
	s.publish(t)
	s.publish(t)
	eventually(t, "all are delivered", func() bool { return len(r.requests()) == 16 })
	assert.Equal(t, int64(3), most.Load())
}

// TestWH10OneDeadEndpointAmongAHundred leaves the others' p99 as it was. The dead one never answers and has a queue
// of its own; the bound is generous as the machine is shared: were the others to wait for one attempt's end, they
// would be late by a multiple of it.
func TestWH10OneDeadEndpointAmongAHundred(t *testing.T) {
	t.Parallel()
	const endpoints, events, hang = 100, 4, 5 * time.Second
	s := open(t, webhooks.Limits{})
	at := make(chan time.Time, endpoints*events)
	healthy := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		at <- time.Now()
		w.WriteHeader(http.StatusOK)
	})
	end := make(chan struct{})
	var hung atomic.Int64
	dead := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		hung.Add(1)
		select {
		case <-end:
		case <-time.After(hang):
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	t.Cleanup(func() { close(end) })
	s.Exec(t, `INSERT INTO webhook_endpoints (id, owner_key, owner, url, events, signature, secret)
		SELECT gen_random_uuid(), gen_random_uuid(), 'x', $1, '{*}', 'hmac', '' FROM generate_series(1, $2)`, healthy.url, endpoints-1)
	for _, id := range kit.One[[]uuid.UUID](t, s.Database, `SELECT array_agg(id) FROM webhook_endpoints`) {
		sealed := s.Box.Seal([]byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), id[:])
		s.Exec(t, `UPDATE webhook_endpoints SET secret = $2 WHERE id = $1`, id, sealed)
	}
	s.pump(t)
	p99 := func(each int) time.Duration {
		var took []time.Duration
		for range events {
			_, m := happened(t, "ada")
			began := time.Now()
			require.NoError(t, s.hooks.FanOut(t.Context(), []servicebus.Received{m}))
			for range each {
				took = append(took, (<-at).Sub(began))
			}
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	p99(endpoints - 1) // warm
	alone := p99(endpoints - 1)
	s.subscribe(t, dead.url)
	for range 20 {
		id, m := happened(t, "nobody")
		s.Exec(t, `INSERT INTO webhook_events (event_id, type, aggregate_id, payload) VALUES ($1, 'order.created.v1', $1, $2)`, id, m.Body)
		s.Exec(t, `INSERT INTO webhook_deliveries (event_id, endpoint_id, status) SELECT $1, id, 'pending' FROM webhook_endpoints WHERE url = $2`, id, dead.url)
	}
	require.NoError(t, s.hooks.Sweep(t.Context()))
	eventually(t, "the dead one's workers hang", func() bool { return hung.Load() == 2 })
	beside := p99(endpoints - 1)
	t.Logf("p99 of the 99: %s alone, %s beside a dead one", alone, beside)
	assert.Less(t, beside, 2*alone+hang/5)
	assert.Equal(t, int64(2), hung.Load(), "and it was dead all the time")
}
