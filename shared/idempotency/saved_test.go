package idempotency_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/tests/kit"
)

// Two batches that have the same keys in opposite order must not wait for each other in a circle: whoever waits for a key holds
// all smaller ones already.
func TestManyKeysAreTakenInTheOrderOfTheirDigests(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	low, high := idempotency.Request{Operation: "op", Key: "one"}, idempotency.Request{Operation: "op", Key: "other"}
	if one, other := low.Digest(), high.Digest(); bytes.Compare(one[:], other[:]) > 0 {
		low, high = high, low
	}
	answer := idempotency.Answer{Status: 201, Body: []byte("{}")}
	begin := func() pgx.Tx {
		conn, err := pgx.Connect(t.Context(), d.OwnerURL)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		return tx
	}
	save := func(tx pgx.Tx, req idempotency.Request) error {
		args, err := idempotency.SaveArgs(req, answer)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), idempotency.SaveSQL, args...)
		return err
	}
	first, batch, third := begin(), begin(), begin()
	require.NoError(t, save(first, high))
	args, err := idempotency.SaveAllArgs([]idempotency.Saved{{Request: high, Answer: answer}, {Request: low, Answer: answer}})
	require.NoError(t, err)
	saved := make(chan error, 1)
	go func() {
		_, err := batch.Exec(t.Context(), idempotency.SaveAllSQL, args...)
		saved <- err
	}()
	require.Eventually(t, func() bool {
		return kit.One[bool](t, d, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
			AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))`)
	}, 20*time.Second, 10*time.Millisecond)

	_, err = third.Exec(t.Context(), `SET LOCAL lock_timeout = '100ms'`)
	require.NoError(t, err)
	var refused *pgconn.PgError
	require.ErrorAs(t, save(third, low), &refused, "the batch waits for the larger key without having the smaller one")
	assert.Equal(t, "55P03", refused.Code)
	require.NoError(t, first.Rollback(t.Context()))
	require.NoError(t, <-saved)
}
