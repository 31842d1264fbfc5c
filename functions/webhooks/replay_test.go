package webhooks_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// replay asks for a replay and says how many it brings back.
func (s *shop) replay(t testing.TB, e endpoint, body map[string]any) int {
	t.Helper()
	reply := s.call(t, http.MethodPost, e.path()+"/replay", body)
	require.Equal(t, http.StatusAccepted, reply.Status, "%s", reply.Body)
	return int(reply.JSON(t)["count"].(float64))
}

// published puts events into the feed, as the drain's assigner does.
func (s *shop) published(t testing.TB, list ...servicebus.Received) {
	t.Helper()
	for _, m := range list {
		s.Exec(t, `WITH c AS (UPDATE feed_counter SET last = last + 1 RETURNING last)
			INSERT INTO feed (number, id, type, aggregate_id, payload)
			SELECT last, ($1::jsonb ->> 'id')::uuid, $1::jsonb ->> 'type', ($1::jsonb ->> 'subject')::uuid, $2 FROM c`, string(m.Body), m.Body)
	}
}

func ids(list []request) (out []string) {
	for _, r := range list {
		out = append(out, r.id())
	}
	return out
}

// TestReplayOne: by delivery or by event, whatever its state; the id stays and the schedule starts anew.
func TestReplayOne(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{Schedule: []time.Duration{}})
	r := receive(t, status(http.StatusInternalServerError))
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.deliver(t)
	list := s.deliveries(t, e, "dead")
	require.Len(t, list, 1)
	s.due(t)

	assert.Equal(t, 1, s.replay(t, e, map[string]any{"deliveryId": list[0]["id"]}))
	s.deliver(t)
	assert.Equal(t, "dead", s.state(t, id, e.id), "it failed again")
	r.behave(nil)
	assert.Equal(t, 1, s.replay(t, e, map[string]any{"eventId": id}))
	s.deliver(t)
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Equal(t, 1, s.replay(t, e, map[string]any{"eventId": id}), "one that succeeded, too")
	s.deliver(t)
	assert.Equal(t, []string{id.String(), id.String(), id.String(), id.String()}, ids(r.requests()))
	assert.Len(t, s.deliveries(t, e, "succeeded")[0]["attempts"], 4, "all of them are shown")

	other := s.subscribe(t, r.url)
	for _, body := range []map[string]any{{"deliveryId": list[0]["id"]}, {"eventId": uuid.NewString()}} {
		assert.Equal(t, http.StatusNotFound, s.call(t, http.MethodPost, other.path()+"/replay", body).Status, "%v", body)
	}
	for _, body := range []map[string]any{{}, {"to": time.Now()}, {"status": "dead", "eventId": id}, {"from": time.Now(), "to": time.Now().Add(-time.Hour)}} {
		assert.Equal(t, http.StatusUnprocessableEntity, s.call(t, http.MethodPost, e.path()+"/replay", body).Status, "%v", body)
	}
	s.call(t, http.MethodPatch, e.path(), map[string]any{"status": "disabled"})
	assert.Equal(t, http.StatusConflict, s.call(t, http.MethodPost, e.path()+"/replay", map[string]any{"status": "dead"}).Status)
}

// TestAReplayLeavesARunningAttemptAlone: taking its lease away would only double the POST.
func TestAReplayLeavesARunningAttemptAlone(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	answer, began, release := held(http.StatusOK)
	r := receive(t, answer)
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.taken()
	done := s.delivering(wakeUp(t, id, e.id))
	<-began
	assert.Equal(t, 1, s.replay(t, e, map[string]any{"eventId": id}))
	assert.Equal(t, 1, s.replay(t, e, map[string]any{"from": time.Now().Add(-time.Hour)}))
	s.deliver(t)
	close(release)
	require.NoError(t, <-done)
	s.deliver(t)
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Len(t, r.requests(), 1)
}

// TestCX06AReplayBringsWhatWasNeverHeardOf: a range covers deliveries of any state and events that the endpoint has
// no row for, from the feed, with the published bytes; what it did not subscribe to stays out.
func TestCX06AReplayBringsWhatWasNeverHeardOf(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	early, before := happened(t, "ada")
	bob, others := happened(t, "bob")
	s.published(t, before, others)
	from := time.Now().Add(-time.Minute)

	r := receive(t, nil)
	reply := s.call(t, http.MethodPost, register, map[string]any{"url": r.url, "events": []string{"order.created.v1"}, "customerId": "ada"})
	require.Equal(t, http.StatusCreated, reply.Status)
	e := endpoint{id: uuid.MustParse(reply.JSON(t)["id"].(string))}
	heard, m := s.publish(t)
	s.published(t, m)
	s.deliver(t)
	require.Equal(t, []string{heard.String()}, ids(r.requests()))

	assert.Equal(t, http.StatusNotFound, s.call(t, http.MethodPost, e.path()+"/replay", map[string]any{"eventId": bob}).Status)
	assert.Equal(t, 0, s.replay(t, e, map[string]any{"from": from.Add(-time.Hour), "to": from}))
	s.deliver(t)
	require.Len(t, r.requests(), 1)

	assert.Equal(t, 2, s.replay(t, e, map[string]any{"from": from}))
	s.deliver(t)
	got := r.requests()
	assert.ElementsMatch(t, []string{heard.String(), heard.String(), early.String()}, ids(got))
	for _, one := range got {
		if one.id() == early.String() {
			assert.Equal(t, string(before.Body), string(one.body))
		}
	}
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_replays`), "worked off")

	late, missed := happened(t, "ada")
	s.published(t, missed)
	assert.Equal(t, 1, s.replay(t, e, map[string]any{"eventId": late}), "one event that was never heard of")
	s.deliver(t)
	assert.Contains(t, ids(r.requests()), late.String())
}

// TestReplayOfManyGoesInSteps, and survives the death of who began it: the sweep goes on with it.
func TestReplayOfManyGoesInSteps(t *testing.T) {
	t.Parallel()
	const many = 2500
	s := open(t, webhooks.Limits{})
	r := receive(t, nil)
	e := s.subscribe(t, r.url)
	first, m := happened(t, "ada")
	s.Exec(t, `INSERT INTO webhook_events (event_id, type, aggregate_id, payload) VALUES ($1, 'order.created.v1', $1, $2)`, first, m.Body)
	s.Exec(t, `INSERT INTO webhook_events (event_id, type, aggregate_id, payload)
		SELECT (left($1, 24) || lpad(to_hex(n), 12, '0'))::uuid, 'order.created.v1', $1::uuid, $2 FROM generate_series(1, $3::int) n`, first.String(), m.Body, many-1)
	s.Exec(t, `INSERT INTO webhook_deliveries (event_id, endpoint_id, status, reason, attempts) SELECT event_id, $1, 'dead', 'test', 10 FROM webhook_events`, e.id)
	assert.Equal(t, many, s.replay(t, e, map[string]any{"status": "dead"}))
	s.taken() // who was to begin dies
	pending := func() int {
		return kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries WHERE status = 'pending' AND attempts_before = 10`)
	}
	require.Zero(t, pending())
	require.NoError(t, s.hooks.Sweep(t.Context()))
	assert.Equal(t, many, pending())
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_replays`))
	assert.NotEmpty(t, s.taken(), "and somebody is put to work")
}

// TestALongReplayStartsAgainAtTheEndOfTheLine: others shall have their turn, and nobody waits for the sweep.
func TestALongReplayStartsAgainAtTheEndOfTheLine(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{Schedule: []time.Duration{}, Invocation: time.Nanosecond})
	e := s.subscribe(t, receive(t, status(http.StatusInternalServerError)).url)
	id, _ := s.publish(t)
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	require.Equal(t, 1, s.replay(t, e, map[string]any{"status": "dead"}))
	begin := s.taken()
	require.NoError(t, s.hooks.Deliver(t.Context(), received(begin[len(begin)-1])))
	var again []string
	for _, m := range s.taken() {
		again = append(again, string(m.Body))
	}
	assert.Contains(t, again, string(begin[len(begin)-1].Body))
	assert.Equal(t, "pending", s.state(t, id, e.id))
}
