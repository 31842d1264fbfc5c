package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// An aggregate's events go by their sequence, wherever they lie in the table: here the first ones lie in tomorrow's partition, as
// when a standby whose clock is behind takes over around midnight, and there are more than a pass reads.
func TestEventsGoByTheirSequenceAndNotAsTheyLie(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a := uuid.New()
	var want []int64
	var list []events.Event
	for n := range int64(150) {
		e := event(a, n+1, nil)
		if n < 60 {
			e.ID = postgres.NewID(e.Time.Add(24 * time.Hour))
		}
		want, list = append(want, n+1), append(list, e)
	}
	s.store(t, list)
	s.sweep(t)
	assert.Equal(t, want, sequences(s.broker.Events(t, len(want)), a))
	assert.Equal(t, want, s.feed(t))
}

// The same in the feed, which takes a thousand of those that were sent at a time.
func TestTheFeedGoesByTheSequenceAndNotAsTheSentOnesLie(t *testing.T) {
	t.Parallel()
	s, _, want := stocked(t, 1200)
	s.Exec(t, `UPDATE outbox SET processed_at = now()`)
	s.Exec(t, `INSERT INTO outbox_sent (aggregate_id, sequence, id) SELECT aggregate_id, sequence, id FROM outbox ORDER BY sequence DESC`)
	s.sweep(t)
	assert.Equal(t, want, s.feed(t))
}

// Released ones too, of which there are more than a pass reads: here by a plan that has not the order of an index.
func TestReleasedEventsGoByTheirSequenceAndNotAsTheyLie(t *testing.T) {
	t.Parallel()
	s, a, want := stocked(t, 150)
	s.Exec(t, `INSERT INTO outbox_parked (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, reason)
		SELECT id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, 'test' FROM outbox ORDER BY sequence DESC`)
	s.Exec(t, `UPDATE outbox SET processed_at = now()`)
	s.release(t, a)
	name := pgx.Identifier{kit.One[string](t, s.Database, `SELECT current_database()`)}.Sanitize()
	s.Exec(t, `ALTER DATABASE `+name+` SET enable_indexscan = off`)
	require.NoError(t, s.newDrain(t, s.Open(t)).Sweep(t.Context()))
	assert.Equal(t, want, sequences(s.broker.Events(t, len(want)), a))
	assert.Equal(t, want, s.feed(t))
}

// stocked is a shop with the first n events of an aggregate, and their sequences.
func stocked(t *testing.T, n int64) (s *shop, aggregate uuid.UUID, sequences []int64) {
	t.Helper()
	s, aggregate = newShop(t), uuid.New()
	var list []events.Event
	for i := range n {
		sequences, list = append(sequences, i+1), append(list, event(aggregate, i+1, nil))
	}
	s.store(t, list)
	return s, aggregate, sequences
}

// store stores events in one transaction.
func (s *shop) store(t *testing.T, list []events.Event) {
	t.Helper()
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error { return outbox.Insert(t.Context(), tx, list...) }))
}

// feed is the sequences of the events in the feed, in its order.
func (s *shop) feed(t *testing.T) []int64 {
	t.Helper()
	return kit.One[[]int64](t, s.Database, `SELECT array_agg((convert_from(payload, 'UTF8')::jsonb->>'sequence')::bigint ORDER BY number) FROM feed`)
}

// A released event that was sent, and has no number in the feed yet, is nothing that a later one has to wait for.
func TestWhatWasReleasedAndSentHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a := uuid.New()
	s.refuse(t, 1)
	s.happen(t, a, nil, 1)
	s.sweep(t)
	require.Equal(t, 1, kit.One[int](t, s.Database, "SELECT count(*) FROM outbox_parked"))

	// Somebody else is at the feed, so that what is sent keeps its place among the parked ones.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	other, err := pgx.Connect(ctx, s.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close(ctx)) }()
	_, err = other.Exec(ctx, `SELECT pg_advisory_lock(7071, 5)`)
	require.NoError(t, err)
	s.release(t, a)
	s.sweep(t)
	require.Equal(t, 1, kit.One[int](t, s.Database, "SELECT count(*) FROM outbox_parked WHERE sent_at IS NOT NULL"))
	s.happen(t, a, nil, 2)
	s.sweep(t)
	assert.Equal(t, []int64{1, 2}, sequences(s.broker.Events(t, 2), a))

	_, err = other.Exec(ctx, `SELECT pg_advisory_unlock(7071, 5)`)
	require.NoError(t, err)
	s.sweep(t)
	assert.Equal(t, []int64{1, 2}, s.feed(t))
}
