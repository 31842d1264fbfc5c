package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// old makes the partitions around a day of last week, and an id of that day.
func (s *shop) old(t *testing.T) (partition string, at time.Time) {
	t.Helper()
	at = time.Now().UTC().AddDate(0, 0, -5)
	s.Exec(t, "SELECT ensure_partitions($1)", at)
	return "outbox_" + at.Format("20060102"), at
}

func (s *shop) drop(t *testing.T) (dropped []string) {
	t.Helper()
	for {
		list, err := postgres.DropPublished(t.Context(), s.Pools.Background)
		require.NoError(t, err)
		if len(list) == 0 {
			return dropped
		}
		dropped = append(dropped, list...)
	}
}

func TestCX08ADayIsDroppedOnlyWhenAllOfItIsOut(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	partition, at := s.old(t)
	e := event(uuid.New(), 1, nil)
	e.ID, e.Time = postgres.NewID(at), at
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error { return outbox.Insert(t.Context(), tx, e) }))

	assert.NotContains(t, s.drop(t), partition, "an event was not sent yet")
	s.Exec(t, "UPDATE outbox SET processed_at = now()")
	s.Exec(t, "INSERT INTO outbox_sent (aggregate_id, sequence, id) VALUES ($1, 1, $2)", e.Aggregate.ID, e.ID)
	assert.NotContains(t, s.drop(t), partition, "an event was not numbered yet")
	s.sweep(t)
	assert.Contains(t, s.drop(t), partition)
	assert.Equal(t, 1, kit.One[int](t, s.Database, "SELECT count(*) FROM feed"), "the feed keeps what the outbox drops")
	today := "outbox_" + time.Now().UTC().Format("20060102")
	assert.True(t, kit.One[bool](t, s.Database, "SELECT to_regclass($1) IS NOT NULL", today))
}

// A writer of last week's day is still open when the day counts as done.
func TestCX08ALateWriterKeepsItsDay(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	partition, at := s.old(t)
	e := event(uuid.New(), 1, nil)
	e.ID, e.Time = postgres.NewID(at), at
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		if err := outbox.Insert(t.Context(), tx, e); err != nil {
			return err
		}
		_, err := postgres.DropPublished(t.Context(), s.Pools.Background)
		assert.ErrorIs(t, err, postgres.ErrUnavailable, "it gives up on the lock rather than have inserts queue behind it")
		return nil
	}))
	assert.NotContains(t, s.drop(t), partition)
	s.sweep(t)
	assert.Equal(t, e.ID.String(), s.broker.Events(t, 1)[0].MessageID)
}

// The writer commits while the drop waits for its lock: the first count did not see it.
func TestCX08TheCountUnderTheLockDecides(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	partition, at := s.old(t)
	e := event(uuid.New(), 1, nil)
	e.ID, e.Time = postgres.NewID(at), at
	s.Exec(t, "ALTER FUNCTION drop_published(interval) SET lock_timeout = '10s'") // long enough to be seen waiting
	dropped := make(chan []string, 1)
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		if err := outbox.Insert(t.Context(), tx, e); err != nil {
			return err
		}
		go func() {
			list, err := postgres.DropPublished(context.WithoutCancel(t.Context()), s.Pools.Background)
			assert.NoError(t, err)
			dropped <- list
		}()
		assert.Eventually(t, func() bool {
			return kit.One[bool](t, s.Database, "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted)")
		}, 5*time.Second, time.Millisecond)
		return nil
	}))
	assert.NotContains(t, <-dropped, partition)
	assert.NotContains(t, s.drop(t), partition)
	assert.Equal(t, 1, kit.One[int](t, s.Database, "SELECT count(*) FROM outbox"))
}

func TestFeedIsKeptThirtyDays(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.happen(t, uuid.New(), nil, 1)
	s.sweep(t)
	s.Exec(t, "UPDATE feed_counter SET last = 1000000")
	_, err := postgres.EnsurePartitions(t.Context(), s.Pools.Background)
	require.NoError(t, err)
	assert.NotContains(t, s.drop(t), "feed_000000", "its newest event is a moment old")
	s.Exec(t, "UPDATE feed SET published_at = now() - interval '31 days'")
	assert.Contains(t, s.drop(t), "feed_000000")
	s.happen(t, uuid.New(), nil, 1)
	s.sweep(t)
	assert.Equal(t, int64(1_000_001), kit.One[int64](t, s.Database, "SELECT max(number) FROM feed"), "numbers go on")
}
