package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/postgres"
)

// Parked events of an aggregate are released all together or not at all: who is parked behind released ones is
// released too, and a released one that is refused again takes all of them back.
const (
	parkSQL = `/* Outbox.Park */
WITH wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[]) AS w (id, reason, free)
), moved AS (
    UPDATE outbox o SET processed_at = clock_timestamp() FROM wanted w WHERE o.id = w.id AND COALESCE(o.processed_at, 'infinity') = 'infinity'
    RETURNING o.id, o.shard, o.aggregate_type, o.aggregate_id, o.sequence, o.type, o.payload, o.traceparent, o.occurred_at, w.reason, w.free
)
INSERT INTO outbox_parked (id, shard, aggregate_type, aggregate_id, sequence, type, payload, traceparent, occurred_at, reason, released_at)
SELECT id, shard, aggregate_type, aggregate_id, sequence, type, payload, traceparent, occurred_at, left(reason, 500),
       CASE WHEN free THEN clock_timestamp() END
FROM moved`

	releasedSentSQL = `/* Outbox.ReleasedSent */
UPDATE outbox_parked SET sent_at = clock_timestamp() WHERE id = ANY ($1)`

	reparkSQL = `/* Outbox.Repark */
UPDATE outbox_parked p SET released_at = NULL, reason = left(w.reason, 500)
FROM unnest($1::uuid[], $2::text[]) AS w (aggregate_id, reason)
WHERE p.aggregate_id = w.aggregate_id AND p.sent_at IS NULL`
)

// Parked is an event that the broker refused, or that waits behind such a one.
type Parked struct {
	ID, Aggregate uuid.UUID
	AggregateType string
	Sequence      int64
	Type          string
	Reason        string
	ParkedAt      time.Time
	Released      bool // on its way again
	Size          int  // bytes of the event
}

// ListParked reads up to limit parked events that come after (aggregate, sequence), in that order.
func ListParked(ctx context.Context, pool *postgres.Pool, aggregate uuid.UUID, sequence int64, limit int) (list []Parked, err error) {
	const sql = `/* Outbox.ListParked */
SELECT id, aggregate_id, aggregate_type, sequence, type, reason, parked_at, released_at IS NOT NULL, length(payload)
FROM outbox_parked WHERE sent_at IS NULL AND (aggregate_id, sequence) > ($1, $2)
ORDER BY aggregate_id, sequence LIMIT $3`
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, aggregate, sequence, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Parked])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing parked events: %w", err)
	}
	return list, nil
}

// Release lets the parked events of an aggregate go again, in their order, before anything newer of it. It
// returns how many there are; nudge the drain after the commit. It waits for the drain that is at the aggregate's shard, so that no event is read
// as free while an earlier one is being released (CX-03).
func Release(ctx context.Context, tx pgx.Tx, aggregate uuid.UUID) (n int64, err error) {
	if _, err := tx.Exec(ctx, `/* Outbox.LockShard */ SELECT pg_advisory_xact_lock(7072, $1)`, shard(aggregate)); err != nil {
		return 0, fmt.Errorf("waiting for the drain: %w", err)
	}
	done, err := tx.Exec(ctx, `/* Outbox.Release */
UPDATE outbox_parked SET released_at = clock_timestamp() WHERE aggregate_id = $1 AND sent_at IS NULL AND released_at IS NULL`, aggregate)
	if err != nil {
		return 0, fmt.Errorf("releasing parked events: %w", err)
	}
	return done.RowsAffected(), nil
}
