// Package outbox puts events beside the change they tell of: same transaction, so that an event exists exactly
// when its change does, whatever is killed in between. Sending them on is another part's work and may be late;
// nothing here talks to a broker.
package outbox

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/postgres"
)

// Shards is how many groups the aggregates are hashed into. One drain at a time works on a group, which keeps
// each aggregate's events in order. It must not change while events are pending.
const Shards = 32

// InsertSQL stores events; its arguments are InsertArgs.
const InsertSQL = `/* Outbox.Insert */
INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::bytea[], $8::timestamptz[])`

// InsertArgs encodes events for InsertSQL, for callers that send it as part of a batch.
func InsertArgs(list []events.Event) ([]any, error) {
	n := len(list)
	ids, aggregates, shards := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]int16, n)
	kinds, types, payloads := make([]string, n), make([]string, n), make([][]byte, n)
	sequences, times := make([]int64, n), make([]any, n)
	for i, e := range list {
		payload, err := e.Encode()
		if err != nil {
			return nil, err
		}
		ids[i], aggregates[i], shards[i] = e.ID, e.Aggregate.ID, shard(e.Aggregate.ID)
		kinds[i], types[i], payloads[i] = e.Aggregate.Type, e.Type, payload
		sequences[i], times[i] = e.Sequence, e.Time
	}
	return []any{ids, shards, kinds, aggregates, sequences, types, payloads, times}, nil
}

// Insert stores events in the transaction of what they tell.
func Insert(ctx context.Context, tx pgx.Tx, list ...events.Event) error {
	if len(list) == 0 {
		return nil
	}
	args, err := InsertArgs(list)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, InsertSQL, args...); err != nil {
		return fmt.Errorf("storing events: %w", err)
	}
	return nil
}

// shard is a stable hash of the aggregate's id.
func shard(id uuid.UUID) int16 {
	h := fnv.New32a()
	_, _ = h.Write(id[:]) // a hash never fails
	return int16(h.Sum32() % Shards)
}

// Watch shows how many events wait to be sent, as outbox_messages_pending. It counts when metrics are read.
func Watch(pool *postgres.Pool) error {
	const sql = `/* Outbox.Pending */ SELECT count(*) FROM outbox WHERE processed_at IS NULL`
	_, err := otel.Meter("outbox").Int64ObservableGauge("outbox_messages_pending",
		metric.WithDescription("Events stored and not yet sent."),
		metric.WithInt64Callback(func(ctx context.Context, out metric.Int64Observer) error {
			var pending int64
			err := pool.Do(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&pending) })
			if err != nil {
				return fmt.Errorf("counting pending events: %w", err)
			}
			out.Observe(pending)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making outbox_messages_pending: %w", err)
	}
	return nil
}
