package webhooks_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// TestCX07AnEventThatComesAgainAddsNothing: the broker redelivers, also in parallel, in another order and inside of
// one batch.
func TestCX07AnEventThatComesAgainAddsNothing(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	s.subscribe(t, "https://example.com/a")
	s.subscribe(t, "https://example.com/b")
	var batch []servicebus.Received
	for range 20 {
		_, m := happened(t, "ada")
		batch = append(batch, m, m)
	}
	var all sync.WaitGroup
	for i := range 3 {
		mine := slices.Clone(batch)
		if i == 1 {
			slices.Reverse(mine)
		}
		all.Go(func() { assert.NoError(t, s.hooks.FanOut(context.Background(), mine)) })
	}
	all.Wait()
	assert.Equal(t, 40, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries`))
	assert.Equal(t, 20, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_events`))
	assert.Len(t, s.taken(), 40, "one wake-up for each delivery, from whoever added it")
	require.NoError(t, s.hooks.FanOut(t.Context(), batch))
	assert.Empty(t, s.taken())
	stored := kit.One[[]byte](t, s.Database, `SELECT payload FROM webhook_events ORDER BY event_id LIMIT 1`)
	assert.True(t, slices.ContainsFunc(batch, func(m servicebus.Received) bool { return bytes.Equal(m.Body, stored) }), "byte for byte")
}

// TestWH09EventsGoToWhoSubscribed, by type and by customer.
func TestWH09EventsGoToWhoSubscribed(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	subscribe := func(body map[string]any) string {
		body["url"] = "https://example.com/"
		reply := s.call(t, http.MethodPost, register, body)
		require.Equal(t, http.StatusCreated, reply.Status, "%s", reply.Body)
		return reply.JSON(t)["id"].(string)
	}
	all := subscribe(map[string]any{"events": []string{"*"}})
	created := subscribe(map[string]any{"events": []string{"order.created.v1", "order.cancelled.v1"}})
	subscribe(map[string]any{"events": []string{"order.confirmed.v1"}})
	ada := subscribe(map[string]any{"events": []string{"*"}, "customerId": "ada"})
	subscribe(map[string]any{"events": []string{"*"}, "customerId": "bob"})
	id, _ := s.publish(t)
	got := kit.One[[]string](t, s.Database, `SELECT array_agg(endpoint_id::text ORDER BY endpoint_id) FROM webhook_deliveries WHERE event_id = $1`, id)
	want := []string{all, created, ada}
	slices.Sort(want)
	assert.Equal(t, want, got)
}

// TestCX06WhatADisabledEndpointMissesIsVisible: events that come while it is disabled are dead with the reason, and
// disabling or deleting ends what is pending.
func TestCX06WhatADisabledEndpointMissesIsVisible(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	e, deleted := s.subscribe(t, "https://example.com/a"), s.subscribe(t, "https://example.com/b")
	before, _ := s.publish(t)
	require.Equal(t, http.StatusOK, s.call(t, http.MethodPatch, e.path(), map[string]any{"status": "disabled"}).Status)
	require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, deleted.path(), nil).Status)
	assert.Equal(t, "dead", s.state(t, before, e.id))
	assert.Equal(t, "dead", s.state(t, before, deleted.id))
	s.taken()

	missed, _ := s.publish(t)
	list := s.deliveries(t, e, "dead")
	require.Len(t, list, 2)
	assert.Equal(t, missed.String(), list[0]["eventId"])
	assert.Equal(t, "the endpoint is disabled: its owner disabled it", list[0]["reason"])
	assert.Empty(t, s.taken(), "nobody is woken for it")
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1`, deleted.id), "a deleted one misses nothing")

	// A fan-out that saw the endpoint enabled may commit after it was disabled.
	s.Exec(t, `UPDATE webhook_deliveries SET status = 'pending', reason = NULL WHERE event_id = $1`, missed)
	require.NoError(t, s.hooks.Sweep(t.Context()))
	assert.Equal(t, "dead", s.state(t, missed, e.id))
}

// TestAPoisonMessageHoldsNobodyUp: what is not an event of ours is handed over with the reason, and its neighbours
// are delivered.
func TestAPoisonMessageHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	s.subscribe(t, "https://example.com/a")
	good, m := happened(t, "ada")
	v4 := bytes.ReplaceAll(m.Body, []byte(good.String()), []byte(uuid.NewString()))
	_, other := happened(t, "ada")
	nul := strings.Replace(string(other.Body), `"ada"`, `"a\u0000"`, 1)
	v1 := bytes.ReplaceAll(m.Body, []byte(good.String()), []byte(uuid.Must(uuid.NewUUID()).String())) // of now, and in no partition
	old := bytes.ReplaceAll(m.Body, []byte(good.String()), []byte(postgres.NewID(time.Now().AddDate(0, -2, 0)).String()))
	future := bytes.ReplaceAll(m.Body, []byte(good.String()), []byte(postgres.NewID(time.Now().AddDate(0, 2, 0)).String()))
	bad := []string{``, `{}`, `[]`, `not JSON`, `{"specversion":"1.0","id":7}`, strings.Replace(string(m.Body), "order.created.v1", "Order-Created", 1), nul, string(v4), string(v1), string(old), string(future)}
	batch := []servicebus.Received{m}
	for _, body := range bad {
		batch = append(batch, servicebus.Received{Body: []byte(body)})
	}
	require.NoError(t, s.hooks.FanOut(t.Context(), batch))
	assert.Len(t, s.poison, len(bad))
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries`))

	wakes := []string{``, `{}`, `{"endpointId":"x"}`, `{"endpointId":"` + uuid.NewString() + `","eventId":7}`}
	for _, body := range wakes {
		require.NoError(t, s.hooks.Deliver(t.Context(), servicebus.Received{Body: []byte(body)}))
	}
	assert.Len(t, s.poison, len(bad)+len(wakes))
}

// TestAPoisonMessageThatCannotBeKeptGoesBack to the broker, with its batch: nothing is lost that nobody has.
func TestAPoisonMessageThatCannotBeKeptGoesBack(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	s.unkept = errors.New("there is no room")
	_, good := happened(t, "ada")
	require.ErrorIs(t, s.hooks.FanOut(t.Context(), []servicebus.Received{{MessageID: "1", Body: []byte("rubbish")}, good}), s.unkept)
	require.ErrorIs(t, s.hooks.Deliver(t.Context(), servicebus.Received{MessageID: "2", Body: []byte("rubbish")}), s.unkept)
}

// TestALostWakeUpIsFound by the sweep.
func TestALostWakeUpIsFound(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, nil)
	e := s.subscribe(t, r.url)
	s.broken = errors.New("the broker is away")
	id, _ := s.publish(t)
	s.broken = nil
	assert.Equal(t, "pending", s.state(t, id, e.id))
	require.NoError(t, s.hooks.Sweep(t.Context()))
	s.deliver(t)
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Len(t, r.requests(), 1)
}

// TestAwayDatabaseHoldsMessagesBack: they go back to the broker only after the patience is over, and the work is done
// when the database is there again in time.
func TestAwayDatabaseHoldsMessagesBack(t *testing.T) {
	t.Parallel()
	const patience = 400 * time.Millisecond
	s := open(t, webhooks.Limits{Patience: patience})
	e := s.subscribe(t, "https://example.com/")
	id, m := happened(t, "ada")
	s.Exec(t, `ALTER TABLE webhook_deliveries RENAME TO away`)
	started := time.Now()
	err := s.hooks.FanOut(t.Context(), []servicebus.Received{m})
	require.ErrorIs(t, err, postgres.ErrUnavailable)
	assert.GreaterOrEqual(t, time.Since(started), patience, "the broker would give it back at once")
	assert.ErrorIs(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)), postgres.ErrUnavailable)

	patient := s.sibling(t, webhooks.Limits{})
	done := make(chan error, 1)
	go func() { done <- patient.hooks.FanOut(context.Background(), []servicebus.Received{m}) }()
	s.Exec(t, `ALTER TABLE away RENAME TO webhook_deliveries`)
	require.NoError(t, <-done)
	assert.Equal(t, "pending", s.state(t, id, e.id))
}

// TestWhoIsStoppedWhileTheDatabaseIsAwayHasNotDoneIt: the message goes back to the broker.
func TestWhoIsStoppedWhileTheDatabaseIsAwayHasNotDoneIt(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	_, m := happened(t, "ada")
	s.Exec(t, `ALTER TABLE webhook_deliveries RENAME TO away`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.Error(t, s.hooks.FanOut(ctx, []servicebus.Received{m}))
}

// TestTheSweepWaitsForNobody: what others hold is theirs, and the next sweep comes soon.
func TestTheSweepWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	e := s.subscribe(t, "https://example.com/")
	id, _ := s.publish(t)
	s.Exec(t, `UPDATE webhook_endpoints SET status = 'disabled', probe_at = now()`)
	const sweep = 5 * time.Second // much less than a statement may wait for a lock
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT FROM webhook_endpoints, webhook_deliveries FOR UPDATE`); err != nil {
			return err
		}
		began := time.Now()
		require.NoError(t, s.hooks.Sweep(t.Context()))
		assert.Less(t, time.Since(began), sweep)
		return nil
	}))
	assert.Equal(t, "pending", s.state(t, id, e.id))
	require.NoError(t, s.hooks.Sweep(t.Context()))
	assert.Equal(t, "dead", s.state(t, id, e.id))
}

// TestADatabaseThatIsGonePoisonsNothing: without the database's clock nothing is too old, nor anything else.
func TestADatabaseThatIsGonePoisonsNothing(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	gone := s.sibling(t, webhooks.Limits{Patience: time.Millisecond})
	gone.Pools.Close()
	_, m := happened(t, "ada")
	require.Error(t, gone.hooks.FanOut(t.Context(), []servicebus.Received{m}))
	assert.Empty(t, gone.poison)
}

// TestEveryTypeCanBeSubscribedTo: Types is what registering knows.
func TestEveryTypeCanBeSubscribedTo(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	reply := s.call(t, http.MethodPost, register, map[string]any{"url": "https://example.com/", "events": events.Types})
	assert.Equal(t, http.StatusCreated, reply.Status, "%s", reply.Body)
}

// TestADeliveryThatSomebodyIsTakingIsLeftToThem: a worker neither waits for one that another is just taking nor takes it too.
func TestADeliveryThatSomebodyIsTakingIsLeftToThem(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{Patience: time.Second})
	r := receive(t, nil)
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	other, err := pgx.Connect(t.Context(), s.OwnerURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM webhook_deliveries FOR UPDATE`)
	require.NoError(t, err)
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	assert.Empty(t, r.requests())
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	assert.Len(t, r.requests(), 1)
}

// TestAFanOutGoesInTheOrderOfTheKeys, whatever the order of the messages: two batches that have events in common, as after a
// redelivery, would else wait for one another. The other one is here a transaction that is at its first row.
func TestAFanOutGoesInTheOrderOfTheKeys(t *testing.T) {
	t.Parallel()
	for _, insert := range []string{
		`INSERT INTO webhook_deliveries (event_id, endpoint_id, status) VALUES ($1, $2, 'pending')`,
		`INSERT INTO webhook_events (event_id, type, aggregate_id, payload) VALUES ($1, 'order.created.v1', $2, '{}')`,
	} {
		s := open(t, webhooks.Limits{})
		e := s.subscribe(t, "https://example.com/")
		first, earlier := happened(t, "ada")
		second, later := happened(t, "ada")
		if bytes.Compare(first[:], second[:]) > 0 { // of the same millisecond
			first, earlier, second, later = second, later, first, earlier
		}
		done := make(chan error, 1)
		require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), insert, first, e.id); err != nil {
				return err
			}
			go func() { done <- s.hooks.FanOut(context.Background(), []servicebus.Received{later, earlier}) }()
			eventually(t, "the batch waits", func() bool {
				return kit.One[int](t, s.Database, `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()`) > 0
			})
			if _, err := tx.Exec(t.Context(), `SET LOCAL lock_timeout = '200ms'`); err != nil { // a deadlock would end by itself, and be tried again
				return err
			}
			_, err := tx.Exec(t.Context(), insert, second, e.id)
			return err
		}), insert)
		require.NoError(t, <-done)
		assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries`))
	}
}
