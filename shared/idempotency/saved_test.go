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

// Only a key that outlived its time makes room: another process may have taken it anew between the look and the deletion.
func TestOnlyAKeyThatOutlivedItsTimeMakesRoom(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	req := idempotency.Request{Operation: "op", Key: "one"}
	args, err := idempotency.SaveArgs(req, idempotency.Answer{Status: 201, Body: []byte("{}")})
	require.NoError(t, err)
	d.Exec(t, idempotency.SaveSQL, args...)
	digest := req.Digest()
	for sql, key := range map[string]any{idempotency.DropExpiredSQL: digest[:], idempotency.DropAllExpiredSQL: [][]byte{digest[:]}} {
		d.Exec(t, sql, key)
		assert.Equal(t, 1, kit.One[int](t, d, `SELECT count(*) FROM idempotency_keys`), sql)
	}
	d.Exec(t, `UPDATE idempotency_keys SET expires_at = now()`)
	d.Exec(t, idempotency.DropExpiredSQL, digest[:])
	assert.Zero(t, kit.One[int](t, d, `SELECT count(*) FROM idempotency_keys`))
}

// P1: an answer that can't be stored takes its effect with it. Here it holds a secret, and there is no key to seal it with.
func TestAnAnswerThatCannotBeStoredHasNoEffect(t *testing.T) {
	t.Parallel()
	d := effects(t)
	store, err := idempotency.New(idempotency.Options{Pools: d.Open(t), Timeout: 10 * time.Second})
	require.NoError(t, err)
	write := func(sealed bool) error {
		_, err := store.Do(t.Context(), idempotency.Request{Operation: "op", Key: "one", Sealed: sealed}, func(ctx context.Context, tx pgx.Tx) (idempotency.Answer, error) {
			_, err := tx.Exec(ctx, `INSERT INTO effects VALUES ('one')`)
			return idempotency.Answer{Status: 201, Body: []byte("{}")}, err
		})
		return err
	}
	require.ErrorContains(t, write(true), "can't be stored")
	assert.Zero(t, count(t, d))
	require.NoError(t, write(false))
	assert.Equal(t, 1, count(t, d))
}

// A key that was another's a moment ago, and expired before its answer was read, is one to come back for.
func TestAnAnswerThatExpiredJustNowIsInFlight(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	store, err := idempotency.New(idempotency.Options{Pools: d.Open(t), Timeout: 10 * time.Second})
	require.NoError(t, err)
	req := idempotency.Request{Operation: "op", Key: "one"}
	_, _, err = store.Stored(t.Context(), req)
	require.ErrorIs(t, err, idempotency.ErrInFlight)
	args, err := idempotency.SaveArgs(req, idempotency.Answer{Status: 201, Body: []byte("{}")})
	require.NoError(t, err)
	d.Exec(t, idempotency.SaveSQL, args...)
	answer, left, err := store.Stored(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, 201, answer.Status)
	assert.InDelta(t, idempotency.Life, left, float64(time.Minute))
}

// Whoever purges hears that nothing could be purged.
func TestAPurgeThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	pools := d.Open(t)
	store, err := idempotency.New(idempotency.Options{Pools: pools, Timeout: 10 * time.Second})
	require.NoError(t, err)
	_, err = store.Purge(t.Context(), pools.Background, 100)
	require.NoError(t, err)
	pools.Close()
	_, err = store.Purge(t.Context(), pools.Background, 100)
	require.ErrorContains(t, err, "purging expired keys")
}
