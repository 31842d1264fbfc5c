// Package outbox puts events beside the change they tell of: same transaction, so that an event exists exactly
// when its change does, whatever is killed in between. Sending them on is the drain's work and may be late.
//
// Reading order: Insert and InsertArgs are all that a slice needs, with Drain.Nudge after its commit. pass.go is
// one look at some shards: lock, read, send, mark. lane.go says when to look. park.go is what happens to an event
// that the broker refuses, feed.go numbers what was sent.
package outbox

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// Shards is how many groups the aggregates are hashed into. One drain at a time works on a group, which keeps
// each aggregate's events in order. It must not change while events are pending.
const Shards = 32

// InsertSQL stores events; its arguments are InsertArgs.
const InsertSQL = `/* Outbox.Insert */
INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, traceparent)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::bytea[], $8::timestamptz[], $9::text[])`

// InsertArgs encodes events for InsertSQL, for callers that send it as part of a batch. Events without a trace context
// get that of ctx.
func InsertArgs(ctx context.Context, list []events.Event) ([]any, error) {
	n := len(list)
	ids, aggregates, shards := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]int16, n)
	kinds, types, payloads := make([]string, n), make([]string, n), make([][]byte, n)
	sequences, times, traces := make([]int64, n), make([]time.Time, n), make([]*string, n)
	trace := telemetry.TraceParent(ctx)
	for i, e := range list {
		if e.TraceParent == "" {
			e.TraceParent = trace
		}
		if e.TraceParent != "" {
			traces[i] = &e.TraceParent
		}
		payload, err := e.Encode()
		if err != nil {
			return nil, err
		}
		ids[i], aggregates[i], shards[i] = e.ID, e.Aggregate.ID, shard(e.Aggregate.ID)
		kinds[i], types[i], payloads[i] = e.Aggregate.Type, e.Type, payload
		sequences[i], times[i] = e.Sequence, e.Time
	}
	return []any{ids, shards, kinds, aggregates, sequences, types, payloads, times, traces}, nil
}

// Insert stores events in the transaction of what they tell.
func Insert(ctx context.Context, tx pgx.Tx, list ...events.Event) error {
	if len(list) == 0 {
		return nil
	}
	args, err := InsertArgs(ctx, list)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, InsertSQL, args...); err != nil {
		return fmt.Errorf("storing events: %w", err)
	}
	return nil
}

// ShardOf is the group that an aggregate is in.
func ShardOf(aggregate uuid.UUID) int { return int(shard(aggregate)) }

// shard is a stable hash of the aggregate's id.
func shard(id uuid.UUID) int16 {
	h := fnv.New32a()
	_, _ = h.Write(id[:]) // a hash never fails
	return int16(h.Sum32() % Shards)
}
