package idempotency

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/secretbox"
)

const (
	// staleSQL finds the sealed answers of a range of digests that are not of the key with prefix $3. A sealed body begins
	// with one of two bytes that no other body begins with.
	staleSQL = `/* Idempotency.Stale */
SELECT digest, body FROM idempotency_keys
WHERE digest >= $1 AND digest < $2 AND substr(body, 1, 1) IN ('\x01', '\x02') AND substr(body, 1, length($3::bytea)) <> $3`

	// resealSQL changes rows only as they were read: one that was purged or used anew meanwhile is not ours any more.
	resealSQL = `/* Idempotency.Reseal */
UPDATE idempotency_keys k SET body = n.body FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS n (digest, was, body)
WHERE k.digest = n.digest AND k.body = n.was`

	sizeSQL = `/* Idempotency.Size */ SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'idempotency_keys'::regclass`
)

// rowsAtOnce is about how many rows one statement reads: it must end well within a statement's time.
const rowsAtOnce = 10_000

// Rekey seals stored answers anew, under the key that box seals with now. It goes through all keys by ranges of their
// digests, which are spread evenly, and has written called in each range's transaction. It may be stopped anywhere and
// started again, and run beside the service. lost is how many answers no key opens.
func Rekey(ctx context.Context, pool *postgres.Pool, box *secretbox.Box, written func(context.Context, pgx.Tx, int) error, progress func(part, parts, done int)) (done, lost int, err error) {
	parts := 1
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		var rows int64
		err := conn.QueryRow(ctx, sizeSQL).Scan(&rows)
		for parts = 1; parts < 1<<16 && rows/int64(parts) > rowsAtOnce; {
			parts *= 2
		}
		return err
	})
	for part := 0; part < parts && err == nil; part++ {
		var n, failed int
		n, failed, err = rekeyPart(ctx, pool, box, part, parts, written)
		if err == nil {
			done, lost = done+n, lost+failed
			progress(part+1, parts, done)
		}
	}
	if err != nil {
		return done, lost, fmt.Errorf("sealing stored answers anew: %w", err)
	}
	return done, lost, nil
}

// bound is where a part of the digests begins: they are 32 bytes, of which it says the first two.
func bound(part, parts int) []byte {
	if part == parts {
		return []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	return binary.BigEndian.AppendUint16(nil, uint16(part*(1<<16/parts))) //nolint:gosec // part < parts <= 1<<16
}

func rekeyPart(ctx context.Context, pool *postgres.Pool, box *secretbox.Box, part, parts int, written func(context.Context, pgx.Tx, int) error) (done, lost int, err error) {
	err = pool.Tx(ctx, func(tx pgx.Tx) error {
		done, lost = 0, 0 // the transaction may be tried again
		rows, err := tx.Query(ctx, staleSQL, bound(part, parts), bound(part+1, parts), box.Prefix())
		if err != nil {
			return err
		}
		var (
			digest, body         []byte
			digests, was, bodies [][]byte
		)
		_, err = pgx.ForEachRow(rows, []any{&digest, &body}, func() error {
			plain, err := box.Open(body, digest)
			if err != nil {
				lost++
				return nil //nolint:nilerr // it is counted, and its key has gone for good
			}
			digests, was, bodies = append(digests, digest), append(was, body), append(bodies, box.Seal(plain, digest))
			return nil
		})
		if err != nil || len(digests) == 0 {
			return err
		}
		tag, err := tx.Exec(ctx, resealSQL, digests, was, bodies)
		if err != nil {
			return err
		}
		if done = int(tag.RowsAffected()); done == 0 {
			return nil
		}
		return written(ctx, tx, done)
	})
	return done, lost, err
}
