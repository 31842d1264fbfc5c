package webhooks_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/tests/kit"
	"github.com/company/order-catalog-service/tests/kit/jswebhooks"
)

// TestWH01ADeliveryVerifies: one POST of the published bytes, as JSON, signed, with the event's id and the time.
func TestWH01ADeliveryVerifies(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("thanks\x00\xff"))
	})
	e := s.subscribe(t, r.url)
	id, m := s.publish(t)
	s.deliver(t)
	got := r.requests()
	require.Len(t, got, 1)
	assert.Equal(t, string(m.Body), string(got[0].body))
	assert.Equal(t, id.String(), got[0].id())
	assert.Equal(t, "application/json; charset=utf-8", got[0].header.Get("Content-Type"))
	assert.Contains(t, got[0].header.Get("User-Agent"), "order-catalog")
	require.NoError(t, signature.Verify(got[0].header, got[0].body, time.Now(), e.secret))

	list := s.deliveries(t, e, "succeeded")
	require.Len(t, list, 1)
	attempt := list[0]["attempts"].([]any)[0].(map[string]any)
	assert.InDelta(t, http.StatusAccepted, attempt["status"], 0)
	assert.Equal(t, "thanks��", attempt["responseExcerpt"])
	assert.NotContains(t, list[0], "nextAttemptAt")
	one := s.get(t, e.path()+"/deliveries/"+list[0]["id"].(string))
	assert.Equal(t, list[0], one)
	other := s.subscribe(t, r.url)
	assert.Equal(t, http.StatusNotFound, s.call(t, http.MethodGet, other.path()+"/deliveries/"+list[0]["id"].(string), nil).Status)
}

// TestWH03KilledBetweenPostAndVerdict: the process that posted loses its database before it can say so. When its
// lease has run out, another makes the delivery again: same id, same bytes, a new time.
func TestWH03KilledBetweenPostAndVerdict(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	victim := s.sibling(t, webhooks.Limits{Patience: time.Millisecond})
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		victim.Pools.Close()
		w.WriteHeader(http.StatusOK)
	})
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.taken()
	require.Error(t, victim.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	require.Len(t, r.requests(), 1)
	assert.Equal(t, "pending", s.state(t, id, e.id))
	r.behave(nil)

	require.NoError(t, s.hooks.Sweep(t.Context()))
	require.Empty(t, s.taken(), "nobody is woken for it")
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	require.Len(t, r.requests(), 1, "the lease holds")

	s.Exec(t, `UPDATE webhook_deliveries SET leased_until = now()`)
	require.NoError(t, s.hooks.Sweep(t.Context()))
	s.deliver(t)
	got := r.requests()
	require.Len(t, got, 2)
	assert.Equal(t, got[0].id(), got[1].id())
	assert.Equal(t, string(got[0].body), string(got[1].body))
	require.NoError(t, signature.Verify(got[1].header, got[1].body, time.Now(), e.secret))
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT attempts FROM webhook_deliveries`), "the lost attempt counts")
}

// TestAStoppedProcessJudgesNobody: when the context ends during the POST, that is no failure of the endpoint's.
func TestAStoppedProcessJudgesNobody(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	r := receive(t, func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	})
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	require.ErrorIs(t, s.hooks.Deliver(ctx, wakeUp(t, id, e.id)), context.Canceled)
	assert.Zero(t, s.attempts(t, id, e.id))
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT consecutive_failures FROM webhook_endpoints`))
	r.behave(nil)
	s.Exec(t, `UPDATE webhook_deliveries SET leased_until = now()`)
	require.NoError(t, s.hooks.Sweep(t.Context()))
	s.deliver(t)
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
}

// held is a receiver's answer that waits until it is told to go.
func held(code int) (answer http.HandlerFunc, began chan struct{}, release chan struct{}) {
	began, release = make(chan struct{}), make(chan struct{})
	return func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		select {
		case <-release:
		case <-time.After(15 * time.Second): // a test that failed shall end
		}
		w.WriteHeader(code)
	}, began, release
}

// delivering answers a wake-up on another goroutine.
func (s *shop) delivering(m servicebus.Received) chan error {
	done := make(chan error, 1)
	go func() { done <- s.hooks.Deliver(context.Background(), m) }()
	return done
}

// TestALateVerdictDoesNotCount: a worker was paused longer than its lease, another one made the attempt. What the
// first then has to say changes nothing, not even a 410.
func TestALateVerdictDoesNotCount(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError, http.StatusGone} {
		s := open(t, webhooks.Limits{})
		answer, began, release := held(code)
		r := receive(t, answer)
		e := s.subscribe(t, r.url)
		id, _ := s.publish(t)
		done := s.delivering(wakeUp(t, id, e.id))
		<-began
		r.behave(status(http.StatusServiceUnavailable))
		s.Exec(t, `UPDATE webhook_deliveries SET leased_until = now()`)
		require.NoError(t, s.sibling(t, webhooks.Limits{}).hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
		before := kit.One[string](t, s.Database, `SELECT (d.status, d.next_attempt_at, d.attempts, e.status, e.consecutive_failures)::text FROM webhook_deliveries d, webhook_endpoints e`)
		close(release)
		require.NoError(t, <-done)
		after := kit.One[string](t, s.Database, `SELECT (d.status, d.next_attempt_at, d.attempts, e.status, e.consecutive_failures)::text FROM webhook_deliveries d, webhook_endpoints e`)
		assert.Equal(t, before, after, code)
		assert.Equal(t, 2, s.attempts(t, id, e.id), "both POSTs were made, and are shown")
	}
}

// TestCX15AVerdictIsForTheVersionAttempted: the old URL answers after the endpoint got a new one. Neither its
// failure nor its success counts; the same worker takes the delivery to
// the new one.
func TestCX15AVerdictIsForTheVersionAttempted(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError, http.StatusGone} {
		s := open(t, webhooks.Limits{})
		answer, began, release := held(code)
		old, renewed := receive(t, answer), receive(t, nil)
		e := s.subscribe(t, old.url)
		id, _ := s.publish(t)
		s.taken()
		done := s.delivering(wakeUp(t, id, e.id))
		<-began
		require.Equal(t, http.StatusOK, s.call(t, http.MethodPatch, e.path(), map[string]any{"url": renewed.url}).Status)
		close(release)
		require.NoError(t, <-done)
		assert.Equal(t, "enabled", s.get(t, e.path())["status"], code)
		assert.Zero(t, kit.One[int](t, s.Database, `SELECT consecutive_failures FROM webhook_endpoints`), code)
		assert.Equal(t, "succeeded", s.state(t, id, e.id), code)
		assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT attempts - attempts_before FROM webhook_deliveries`), "the schedule starts with the new one")
		assert.Len(t, renewed.requests(), 1, code)
	}
}

// TestWH04Rotation: both secrets sign until the overlap ends; a receiver may know either. Without an overlap the
// former one ends at once.
func TestWH04Rotation(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, nil)
	e := s.subscribe(t, r.url)
	rotate := func(body map[string]any) signature.Key {
		reply := s.call(t, http.MethodPost, e.path()+"/rotate-secret", body)
		require.Equal(t, http.StatusOK, reply.Status, "%s", reply.Body)
		key, err := signature.ParseKey(reply.JSON(t)["secret"].(string))
		require.NoError(t, err)
		return key
	}
	verified := func(keys ...signature.Key) (list []bool) {
		s.publish(t)
		s.deliver(t)
		got := r.requests()
		for _, key := range keys {
			list = append(list, signature.Verify(got[len(got)-1].header, got[len(got)-1].body, time.Now(), key) == nil)
		}
		return list
	}
	second := rotate(map[string]any{})
	require.NoError(t, s.hooks.Sweep(t.Context())) // it forgets no secret before its time
	assert.Equal(t, []bool{true, true}, verified(e.secret, second))
	delivered := r.requests()[0]
	var forJavaScript []jswebhooks.Delivery
	for _, key := range []signature.Key{e.secret, second} {
		library, err := standardwebhooks.NewWebhook(key.Text())
		require.NoError(t, err)
		assert.NoError(t, library.Verify(delivered.body, delivered.header), "the published library for Go")
		forJavaScript = append(forJavaScript, jswebhooks.Delivery{Key: key.Text(), Header: delivered.header, Body: delivered.body})
	}
	t.Run("JavaScript", func(t *testing.T) { // it skips itself where there is no node
		assert.Equal(t, []string{"", ""}, jswebhooks.Verify(t, forJavaScript...))
	})
	s.Exec(t, `UPDATE webhook_endpoints SET previous_expires_at = now()`)
	assert.Equal(t, []bool{false, true}, verified(e.secret, second))
	require.NoError(t, s.hooks.Sweep(t.Context()))
	assert.True(t, kit.One[bool](t, s.Database, `SELECT previous_secret IS NULL FROM webhook_endpoints`), "the sweep forgets it")
	third := rotate(map[string]any{"overlapSeconds": 0})
	assert.Equal(t, []bool{false, true}, verified(second, third))
}

// TestWH05OnlyA2xxIsSuccess: the delivery waits for its next attempt after anything else, and redirects lead nowhere.
func TestWH05OnlyA2xxIsSuccess(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	elsewhere := receive(t, nil)
	for code, want := range map[int]string{200: "succeeded", 201: "succeeded", 204: "succeeded", 299: "succeeded", 301: "pending", 302: "pending", 307: "pending", 400: "pending", 401: "pending", 404: "pending", 500: "pending", 503: "pending"} {
		r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.url)
			w.WriteHeader(code)
		})
		e := s.subscribe(t, r.url)
		id, _ := s.publish(t)
		require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
		assert.Equal(t, want, s.state(t, id, e.id), code)
		assert.Equal(t, 1, s.attempts(t, id, e.id), code)
		s.call(t, http.MethodDelete, e.path(), nil)
	}
	assert.Empty(t, elsewhere.requests())

	e := s.subscribe(t, "http://127.0.0.1:1/")
	id, _ := s.publish(t)
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	attempt := s.deliveries(t, e, "")[0]["attempts"].([]any)[0].(map[string]any)
	assert.NotContains(t, attempt, "status", "no answer has no status")
	assert.NotEmpty(t, attempt["error"])
}

// TestWH05GoneDisables: 410 ends the endpoint with all that is pending, tells the operator, and nobody asks again.
func TestWH05GoneDisables(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, status(http.StatusGone))
	e := s.subscribe(t, r.url)
	first, _ := s.publish(t)
	second, _ := s.publish(t)
	s.taken()
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, first, e.id)))
	shown := s.get(t, e.path())
	assert.Equal(t, "disabled", shown["status"])
	assert.Equal(t, "the receiver answered 410 Gone", shown["disabledReason"])
	assert.Equal(t, "dead", s.state(t, first, e.id))
	assert.Equal(t, "dead", s.state(t, second, e.id))
	assert.Equal(t, "/api/v1/webhooks/"+e.id.String(), kit.One[string](t, s.Database,
		`SELECT convert_from(payload, 'UTF8')::jsonb ->> 'source' FROM outbox WHERE type = 'webhook.endpoint_disabled.v1' AND aggregate_id = $1`, e.id))
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT version FROM webhook_endpoints`), "a change like any other: whoever read it before has read an old one")
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT sequence FROM outbox WHERE type = 'webhook.endpoint_disabled.v1'`))
	assert.Equal(t, e.id, <-s.nudged)
	s.Exec(t, `UPDATE webhook_endpoints SET probe_at = now() WHERE probe_at IS NOT NULL`)
	s.again(t)
	assert.Len(t, r.requests(), 1)
}

// TestWH05RetryAfter: seconds and dates move the delivery; a throttling answer stills the whole endpoint.
func TestWH05RetryAfter(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	for _, c := range []struct {
		code          int
		header        string
		next          float64 // seconds until the delivery
		endpointStill bool
	}{
		{503, "600", 600, false},
		{503, time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat), 1200, false},
		{503, "1", 5, false},
		{503, "999999999", 86400, false},
		{429, "600", 600, true},
		{429, "", 5, true},
		{502, "", 5, true},
		{504, "", 5, true},
		{500, "", 5, false},
	} {
		r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.WriteHeader(c.code)
		})
		e := s.subscribe(t, r.url)
		first, _ := s.publish(t)
		second, _ := s.publish(t)
		s.taken()
		require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, first, e.id)))
		wait := kit.One[float64](t, s.Database, `SELECT extract(epoch FROM next_attempt_at - now())::float8 FROM webhook_deliveries WHERE event_id = $1 AND endpoint_id = $2`, first, e.id)
		assert.InDelta(t, c.next, wait, c.next*0.1+2, "%d %q", c.code, c.header)
		want := 2 // the worker went on with the second
		if c.endpointStill {
			want = 1
		}
		require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, second, e.id)))
		assert.Len(t, r.requests(), want, "%d %q", c.code, c.header)
		s.call(t, http.MethodDelete, e.path(), nil)
	}
}

// TestWH06TheScheduleEnds: each failure schedules a wake-up for the next attempt; after the last the delivery is
// dead, with every attempt to be seen.
func TestWH06TheScheduleEnds(t *testing.T) {
	t.Parallel()
	schedule := []time.Duration{time.Minute, time.Hour}
	s := open(t, webhooks.Limits{Schedule: schedule})
	r := receive(t, status(http.StatusInternalServerError))
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.taken()
	used := map[string]bool{}
	for n, pause := range schedule {
		require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
		sent := s.taken()
		require.Len(t, sent, 1, "attempt %d", n+1)
		require.False(t, used[sent[0].ID], "CX-13: a used id might be swallowed")
		used[sent[0].ID] = true
		assert.InDelta(t, pause.Seconds(), time.Until(sent[0].At).Seconds(), 0.1*pause.Seconds()+2)
		require.NoError(t, s.hooks.Deliver(t.Context(), received(sent[0])), "one that comes too early")
		require.Len(t, r.requests(), n+1)
		s.due(t)
	}
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	assert.Empty(t, s.taken())
	list := s.deliveries(t, e, "dead")
	require.Len(t, list, 1)
	assert.Equal(t, "3 attempts failed", list[0]["reason"])
	assert.Len(t, list[0]["attempts"], 3)
	got := r.requests()
	require.Len(t, got, 3)
	for _, one := range got {
		assert.Equal(t, got[0].id(), one.id())
		assert.Equal(t, got[0].body, one.body)
	}
}

// TestTheCircuit: after five failures in a row nothing is posted until the pause is over; then one attempt goes
// through, whoever asks; its failure makes a longer pause, its success closes the circuit.
func TestTheCircuit(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, status(http.StatusInternalServerError))
	e := s.subscribe(t, r.url)
	var ids []uuid.UUID
	for range 8 {
		id, _ := s.publish(t)
		ids = append(ids, id)
	}
	s.deliver(t)
	require.Len(t, r.requests(), 5, "the worker stops when the circuit opens")
	paused := func() float64 {
		return kit.One[float64](t, s.Database, `SELECT extract(epoch FROM paused_until - now())::float8 FROM webhook_endpoints`)
	}
	assert.InDelta(t, 30, paused(), 5)
	s.due(t)
	s.Exec(t, `UPDATE webhook_endpoints SET paused_until = now() + interval '1 hour'`)
	require.NoError(t, s.hooks.Sweep(t.Context()))
	s.deliver(t)
	require.Len(t, r.requests(), 5, "paused")

	answer, began, release := held(http.StatusInternalServerError)
	r.behave(answer)
	s.due(t)
	other := s.sibling(t, webhooks.Limits{})
	done := s.delivering(wakeUp(t, ids[5], e.id))
	<-began
	for _, id := range ids {
		require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
		require.NoError(t, other.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	}
	require.Len(t, r.requests(), 6, "one at a time while it is half open, over all processes")
	close(release)
	require.NoError(t, <-done)
	assert.InDelta(t, 60, paused(), 5)

	r.behave(nil)
	s.again(t)
	assert.Equal(t, len(ids), kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries WHERE status = 'succeeded'`), "closed: all of the queue went")
	assert.Equal(t, "(0,,)", kit.One[string](t, s.Database, `SELECT (consecutive_failures, failing_since, paused_until)::text FROM webhook_endpoints`))
}

// TestOneAttemptGoesThroughAHalfOpenCircuit, however many processes ask in the same moment: all have seen that the
// pause is over, and wait for the endpoint's row together.
func TestOneAttemptGoesThroughAHalfOpenCircuit(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	answer, began, release := held(http.StatusOK)
	r := receive(t, answer)
	e := s.subscribe(t, r.url)
	s.Exec(t, `UPDATE webhook_endpoints SET consecutive_failures = 5, failing_since = now(), paused_until = now()`)
	processes := []*shop{s, s.sibling(t, webhooks.Limits{}), s.sibling(t, webhooks.Limits{})}
	done := make(chan error, len(processes))
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT FROM webhook_endpoints FOR UPDATE`)
		for _, p := range processes {
			id, _ := s.publish(t)
			m := wakeUp(t, id, e.id)
			go func() { done <- p.hooks.Deliver(context.Background(), m) }()
		}
		eventually(t, "all wait", func() bool {
			return kit.One[int](t, s.Database, `SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()`) == len(processes)
		})
		return err
	}))
	<-began
	for range len(processes) - 1 {
		require.NoError(t, <-done, "the others find nothing to do")
	}
	assert.Len(t, r.requests(), 1)
	r.behave(nil)
	close(release)
	require.NoError(t, <-done)
}

// TestWH07SustainedFailure disables the endpoint, tells the operator in the same transaction, and asks again: the
// first answer 2xx enables it, and its owner brings the dead back.
func TestWH07SustainedFailure(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{Failures: 3, FailingFor: time.Hour})
	r := receive(t, status(http.StatusInternalServerError))
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.deliver(t)
	for range 3 {
		s.again(t)
	}
	assert.Equal(t, "enabled", s.get(t, e.path())["status"], "many failures, but not for long")
	s.Exec(t, `UPDATE webhook_endpoints SET failing_since = now() - interval '2 hours'`)
	s.again(t)
	shown := s.get(t, e.path())
	assert.Equal(t, "disabled", shown["status"])
	assert.Contains(t, shown["disabledReason"], "5 attempts in a row failed")
	assert.Equal(t, "dead", s.state(t, id, e.id))
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT count(*) FROM outbox WHERE type = 'webhook.endpoint_disabled.v1'`))
	assert.Equal(t, e.id, <-s.nudged)

	asked := len(r.requests())
	s.again(t)
	assert.Len(t, r.requests(), asked, "not before the hour is over")
	s.Exec(t, `UPDATE webhook_endpoints SET probe_at = now()`)
	s.again(t)
	require.Len(t, r.requests(), asked+1)
	assert.Equal(t, "disabled", s.get(t, e.path())["status"])
	s.again(t)
	assert.Len(t, r.requests(), asked+1, "once an hour")

	r.behave(nil)
	s.Exec(t, `UPDATE webhook_endpoints SET probe_at = now()`)
	s.again(t)
	assert.Equal(t, "enabled", s.get(t, e.path())["status"])
	probe := r.requests()[asked+1]
	assert.Contains(t, string(probe.body), `"webhook.test.v1"`)
	require.NoError(t, signature.Verify(probe.header, probe.body, time.Now(), e.secret))

	require.Equal(t, http.StatusAccepted, s.call(t, http.MethodPost, e.path()+"/replay", map[string]any{"status": "dead"}).Status)
	s.deliver(t)
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Equal(t, id.String(), r.requests()[asked+2].id(), "the id stays")
}

// TestTestEvents go to one endpoint alone and can be followed.
func TestTestEvents(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r, other := receive(t, nil), receive(t, nil)
	e := s.subscribe(t, r.url)
	s.subscribe(t, other.url)
	for kind, body := range map[string]map[string]any{"webhook.test.v1": {}, "order.created.v1": {"eventType": "order.created.v1"}} {
		reply := s.call(t, http.MethodPost, e.path()+"/test", body)
		require.Equal(t, http.StatusAccepted, reply.Status, "%s", reply.Body)
		d := reply.JSON(t)
		assert.Equal(t, "pending", d["status"])
		assert.Equal(t, kind, d["eventType"])
		location, err := url.Parse(reply.Header.Get("Location"))
		require.NoError(t, err)
		s.deliver(t)
		after := s.get(t, location.Path)
		assert.Equal(t, "succeeded", after["status"])
		assert.Len(t, after["attempts"], 1)
		got := r.requests()
		assert.Equal(t, d["eventId"], got[len(got)-1].id())
		assert.Contains(t, string(got[len(got)-1].body), `"test":true`)
	}
	assert.Empty(t, other.requests())
	assert.Equal(t, http.StatusUnprocessableEntity, s.call(t, http.MethodPost, e.path()+"/test", map[string]any{"eventType": "x"}).Status)
	s.call(t, http.MethodPatch, e.path(), map[string]any{"status": "disabled"})
	assert.Equal(t, http.StatusConflict, s.call(t, http.MethodPost, e.path()+"/test", map[string]any{}).Status)
}
