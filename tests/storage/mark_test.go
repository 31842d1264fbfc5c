package storage

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// A sent event is marked on its own page, and PostgreSQL then logs what differs. On full pages the new version goes to
// another page and is logged whole, payload and all.
func TestMarkingAnEventDoesNotLogItAgain(t *testing.T) {
	t.Parallel()
	const events, payload = 200, 900
	d := kit.NewDatabase(t)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	d.Exec(t, `INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at)
		SELECT overlay(uuidv7_floor(now())::text PLACING substr(gen_random_uuid()::text, 15) FROM 15)::uuid, 1, 'order', gen_random_uuid(), 1,
			'order.created.v1', convert_to(repeat('x', $2), 'UTF8'), now() FROM generate_series(1, $1)`, events, payload)
	var plan string
	require.NoError(t, conn.QueryRow(ctx, `EXPLAIN (ANALYZE, WAL, FORMAT JSON) UPDATE outbox SET processed_at = now()`).Scan(&plan))
	var explained []struct {
		Plan struct {
			Bytes  int `json:"WAL Bytes"`
			Images int `json:"WAL FPI"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(plan), &explained))
	if explained[0].Plan.Images > 0 {
		t.Skip("the server logs whole pages, after which nothing can be told")
	}
	assert.Less(t, explained[0].Plan.Bytes/events, payload/2, "bytes of log for an event")
}
