package webhooks

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/secretbox"
)

// stale are endpoints with something that is not sealed under the key whose prefix is $1.
const stale = `secret IS NOT NULL AND (substr(secret, 1, length($1::bytea)) <> $1 OR substr(previous_secret, 1, length($1)) <> $1)`

// Rekey seals the secrets of endpoints anew, under the key that the box seals with now. What is done and what is left is
// in the rows themselves: it may be stopped anywhere and started again, twice at once, and beside the service.
type Rekey struct {
	Pool  *postgres.Pool
	Box   *secretbox.Box
	Who   auth.Identity // for the audit log
	Batch int
	// Lost are endpoints with a secret that no key of the box opens; they stay as they are.
	Lost []uuid.UUID
}

// Left is how many endpoints are to be done.
func (r *Rekey) Left(ctx context.Context) (n int, err error) {
	err = r.Pool.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `/* Webhooks.CountStale */ SELECT count(*) FROM webhook_endpoints WHERE `+stale, r.Box.Prefix()).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("counting endpoints: %w", err)
	}
	return n, nil
}

// Run does all that is left and tells progress of each batch.
func (r *Rekey) Run(ctx context.Context, progress func(done int)) error {
	r.Lost = nil
	for after, done := uuid.Nil, 0; ; {
		last, n, err := r.batch(ctx, after)
		if err != nil {
			return fmt.Errorf("sealing endpoint secrets anew: %w", err)
		}
		if last == uuid.Nil {
			return nil
		}
		after, done = last, done+n
		progress(done)
	}
}

// sealedPair is what of an endpoint is sealed.
type sealedPair struct {
	id           uuid.UUID
	now, earlier []byte
}

// batch does the next endpoints in one transaction, under their locks: a secret that is rotated meanwhile waits, or is
// what we find. The version stays, as what deliveries are signed with does.
func (r *Rekey) batch(ctx context.Context, after uuid.UUID) (last uuid.UUID, done int, err error) {
	const take = `/* Webhooks.TakeStale */
SELECT id, secret, previous_secret FROM webhook_endpoints WHERE ` + stale + ` AND id > $2 ORDER BY id LIMIT $3 FOR NO KEY UPDATE`
	const write = `/* Webhooks.Reseal */
UPDATE webhook_endpoints e SET secret = n.secret, previous_secret = n.previous_secret
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (id, secret, previous_secret) WHERE e.id = n.id`
	var lost []uuid.UUID
	err = r.Pool.Tx(ctx, func(tx pgx.Tx) error {
		last, done, lost = uuid.Nil, 0, nil // the transaction may be tried again
		rows, err := tx.Query(ctx, take, r.Box.Prefix(), after, r.Batch)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p sealedPair, err error) {
			err = row.Scan(&p.id, &p.now, &p.earlier)
			return p, err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		last = list[len(list)-1].id
		var (
			ids          []uuid.UUID
			now, earlier [][]byte
		)
		for _, p := range list {
			// Of one that is lost in part, the other part is sealed anew all the same.
			a, ok := r.reseal(p.id, p.now)
			b, okToo := r.reseal(p.id, p.earlier)
			if !ok || !okToo {
				lost = append(lost, p.id)
			}
			if !bytes.Equal(a, p.now) || !bytes.Equal(b, p.earlier) {
				done++
			}
			ids, now, earlier = append(ids, p.id), append(now, a), append(earlier, b)
		}
		if done == 0 {
			return nil
		}
		if _, err := tx.Exec(ctx, write, ids, now, earlier); err != nil {
			return err
		}
		return audit.Write(ctx, tx, audit.Entry{
			Who: r.Who, Action: audit.KeysRotated, Target: "webhook_endpoints", Details: map[string]any{"count": done, "key": r.Box.KeyID()},
		})
	})
	if err == nil {
		r.Lost = append(r.Lost, lost...)
	}
	return last, done, err
}

// reseal is a sealed value under the newest key, or as it was when no key opens it.
func (r *Rekey) reseal(owner uuid.UUID, sealed []byte) ([]byte, bool) {
	if sealed == nil || r.Box.Current(sealed) {
		return sealed, true
	}
	plain, err := r.Box.Open(sealed, owner[:])
	if err != nil {
		return sealed, false
	}
	return r.Box.Seal(plain, owner[:]), true
}
