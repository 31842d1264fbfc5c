package idempotency

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// Life is how long a key is remembered.
const Life = 24 * time.Hour

// A row stays for a day after its key's life: a write that came within it may have been queued unseen, while the database
// was away, and is done later (see Row.For).
const purgeSQL = `/* Idempotency.Purge */
DELETE FROM idempotency_keys WHERE digest IN (
    SELECT digest FROM idempotency_keys WHERE expires_at <= now() - interval '24 hours' ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)`

// Querier is a connection, a transaction, or a pool.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// FindSQL reads a key's row; $1 is the digest. It must run in a statement of its own after the locks of its
// transaction are held: in the statement that waits for a lock it would not see a key that was committed
// meanwhile.
const FindSQL = `/* Idempotency.Find */
SELECT fingerprint, status, header, body, extract(epoch FROM expires_at - now())::float8
FROM idempotency_keys
WHERE digest = $1`

// DropExpiredSQL makes room for a key whose row outlived its time; $1 is the digest.
const DropExpiredSQL = `/* Idempotency.DropExpired */
DELETE FROM idempotency_keys WHERE digest = $1 AND expires_at <= now()`

// SaveSQL stores a key with its answer. It is the last lock that a transaction takes: it waits for another
// open transaction with the same key and then fails with a unique violation (see IsDuplicate).
const SaveSQL = `/* Idempotency.Save */
INSERT INTO idempotency_keys (digest, fingerprint, status, header, body) VALUES ($1, $2, $3, $4, $5)`

// SaveArgs are the arguments of SaveSQL.
func SaveArgs(req Request, a Answer) ([]any, error) {
	h, err := a.header()
	if err != nil {
		return nil, fmt.Errorf("storing an answer: %w", err)
	}
	digest := req.Digest()
	return []any{digest[:], req.Fingerprint[:], a.Status, h, a.Body}, nil
}

// The same for several keys at once: $1 are digests, and of SaveAllSQL the other columns beside them. SaveAllSQL
// inserts in the order of the digests, as every transaction must that stores more than one.
const (
	FindAllSQL = `/* Idempotency.FindAll */
SELECT digest, fingerprint, status, header, body, extract(epoch FROM expires_at - now())::float8
FROM idempotency_keys
WHERE digest = ANY ($1)`

	DropAllExpiredSQL = `/* Idempotency.DropAllExpired */
DELETE FROM idempotency_keys WHERE digest = ANY ($1) AND expires_at <= now()`

	SaveAllSQL = `/* Idempotency.SaveAll */
INSERT INTO idempotency_keys (digest, fingerprint, status, header, body)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::smallint[], $4::jsonb[], $5::bytea[]) AS k (digest, fingerprint, status, header, body)
ORDER BY digest`
)

// Saved is a key with the answer to store under it.
type Saved struct {
	Request Request
	Answer  Answer
}

// SaveAllArgs are the arguments of SaveAllSQL.
func SaveAllArgs(list []Saved) ([]any, error) {
	n := len(list)
	digests, fingerprints, headers, bodies := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	statuses := make([]int16, n)
	for i, s := range list {
		h, err := s.Answer.header()
		if err != nil {
			return nil, fmt.Errorf("storing an answer: %w", err)
		}
		digest := s.Request.Digest()
		digests[i], fingerprints[i], statuses[i] = digest[:], s.Request.Fingerprint[:], int16(s.Answer.Status) //nolint:gosec // a status
		headers[i], bodies[i] = h, s.Answer.Body
	}
	return []any{digests, fingerprints, statuses, headers, bodies}, nil
}

// Row is what is stored of a key, before it is compared with a request.
type Row struct {
	fingerprint, header, body []byte
	status                    int
	left                      float64
}

// ScanAll reads the rows of FindAllSQL by their digests.
func ScanAll(rows pgx.Rows) (map[[sha256.Size]byte]Row, error) {
	found := make(map[[sha256.Size]byte]Row)
	var (
		digest []byte
		r      Row
	)
	_, err := pgx.ForEachRow(rows, []any{&digest, &r.fingerprint, &r.status, &r.header, &r.body, &r.left}, func() error {
		found[[sha256.Size]byte(digest)] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading stored answers: %w", err)
	}
	return found, nil
}

// For compares the row with a request, as ScanFound does. age is how long ago the request came, by the database's clock:
// the key counts if it lived then.
func (r Row) For(req Request, age time.Duration) (*Found, error) {
	if r.left+age.Seconds() <= 0 {
		return &Found{Expired: true}, nil
	}
	if string(r.fingerprint) != string(req.Fingerprint[:]) {
		return nil, ErrKeyReused
	}
	answer, err := stored(r.status, r.header, r.body)
	if err != nil {
		return nil, err
	}
	return &Found{Answer: answer, Left: time.Duration(r.left * float64(time.Second))}, nil
}

// Found is what the row of a key says.
type Found struct {
	Answer  Answer
	Left    time.Duration // of the row's life; what a cached copy may live
	Expired bool          // the row is past its life: DropExpiredSQL, then go on as if there were none
}

// ScanFound reads the rows of FindSQL: nil when the key is new, ErrKeyReused when it was used for another request.
func ScanFound(rows pgx.Rows, req Request) (*Found, error) {
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	var r Row
	if err := rows.Scan(&r.fingerprint, &r.status, &r.header, &r.body, &r.left); err != nil {
		return nil, fmt.Errorf("reading a stored answer: %w", err)
	}
	return r.For(req, 0)
}

// IsDuplicate tells whether a transaction failed because another one committed its key first. The caller rolls
// back and answers what that one stored.
func IsDuplicate(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == postgres.UniqueViolation && pg.ConstraintName == "idempotency_keys_pkey"
}

// Store runs keyed writes.
type Store struct {
	pool    *postgres.Pool
	claims  *claims
	box     *secretbox.Box
	flights flights
	timeout time.Duration
	metrics metrics
}

// Timeout bounds a write, from its claim to its answer.
func (s *Store) Timeout() time.Duration { return s.timeout }

// Do runs write once per key and returns its answer, or the stored one. write gets an open transaction and does
// its work there; what it returns is stored and committed with it. It must decide before it writes: an answer
// that refuses (4xx) is committed too, and must come with no effect. An error rolls everything back and leaves
// the key free.
func (s *Store) Do(ctx context.Context, req Request, write func(context.Context, pgx.Tx) (Answer, error)) (Answer, error) {
	return s.Guard(ctx, req, func(ctx context.Context) (Answer, time.Duration, error) {
		return s.transact(ctx, req, write)
	})
}

// Guard runs work behind the layers that only save time: one at a time per key in this process, and per claim in
// Redis. work must store the key itself and returns its answer with what is left of the row's life. It runs to
// its end even when the caller leaves: the caller's retry finds the answer.
func (s *Store) Guard(ctx context.Context, req Request, work func(context.Context) (Answer, time.Duration, error)) (Answer, error) {
	key := req.Digest()
	leave, err := s.flights.enter(key, req.Fingerprint)
	if err != nil {
		s.metrics.conflict(ctx, err)
		if refused := req.Charge.Replay(ctx); refused != nil {
			return Answer{}, refused
		}
		return Answer{}, err
	}
	defer leave()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()

	looking, span := telemetry.Child(ctx, trace.SpanKindInternal, "idempotency")
	claim, known, err := s.claims.take(looking, req, s.timeout)
	span.End()
	if errors.Is(err, ErrInFlight) || claim.mayBeReplay(ctx, req, err) {
		// The claim may be a dead owner's, who committed and was killed before it could say so, or of one who is about
		// to: the row knows.
		stored, failed := s.peek(ctx, req)
		switch {
		case failed != nil:
			err = failed
		case stored != nil:
			known, err = stored, nil
		}
	}
	if err != nil {
		s.metrics.conflict(ctx, err)
		return Answer{}, err
	}
	if known != nil {
		s.metrics.hit(ctx)
		return *known, nil
	}
	answer, left, err := work(ctx)
	if err != nil {
		claim.release(ctx)
		s.metrics.conflict(ctx, err)
		return Answer{}, err
	}
	claim.settle(ctx, req, answer, left)
	if answer.Replayed {
		s.metrics.hit(ctx)
		if claim.alone {
			// Charged as a new call, for want of Redis. Once the budget of replays is used up too it stays so: then the
			// quota refuses the next ones before they reach the database.
			if err := req.Charge.Replay(ctx); err != nil {
				return Answer{}, err
			}
			req.Charge.Returned()
		}
	}
	return answer, nil
}

// peek reads a key's stored answer, nil when there is none.
func (s *Store) peek(ctx context.Context, req Request) (answer *Answer, err error) {
	key := req.Digest()
	err = s.pool.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, FindSQL, key[:])
		if err != nil {
			return err
		}
		found, err := s.scan(rows, req)
		if err == nil && found != nil && !found.Expired {
			answer = &found.Answer
		}
		return err
	})
	return answer, err
}

// transact is the truth: key, effect and answer in one transaction.
func (s *Store) transact(ctx context.Context, req Request, write func(context.Context, pgx.Tx) (Answer, error)) (Answer, time.Duration, error) {
	var (
		answer Answer
		left   = Life
	)
	err := s.pool.Tx(ctx, func(tx pgx.Tx) error {
		found, err := s.find(ctx, tx, req)
		if err != nil {
			return err
		}
		if found != nil {
			answer, left = found.Answer, found.Left
			return nil
		}
		if answer, err = write(ctx, tx); err != nil {
			return err
		}
		stored, err := s.seal(req, answer)
		if err != nil {
			return err
		}
		args, err := SaveArgs(req, stored)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, SaveSQL, args...)
		return err
	})
	if IsDuplicate(err) {
		return s.Stored(ctx, req)
	}
	return answer, left, err
}

// Stored reads the answer that another transaction committed under this request's key.
func (s *Store) Stored(ctx context.Context, req Request) (answer Answer, left time.Duration, err error) {
	err = s.pool.Tx(ctx, func(tx pgx.Tx) error {
		found, err := s.find(ctx, tx, req)
		if err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("%w: the key expired just now", ErrInFlight)
		}
		answer, left = found.Answer, found.Left
		return nil
	})
	return answer, left, err
}

func (s *Store) find(ctx context.Context, tx pgx.Tx, req Request) (*Found, error) {
	key := req.Digest()
	rows, err := tx.Query(ctx, FindSQL, key[:])
	if err != nil {
		return nil, err
	}
	found, err := s.scan(rows, req)
	if err != nil || found == nil || !found.Expired {
		return found, err
	}
	_, err = tx.Exec(ctx, DropExpiredSQL, key[:])
	return nil, err
}

// Purge deletes up to limit expired keys and says how many. Small batches with SKIP LOCKED: it waits for nobody
// and nobody waits for it.
func (s *Store) Purge(ctx context.Context, pool *postgres.Pool, limit int) (int, error) {
	var purged int
	err := pool.Do(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, purgeSQL, limit)
		purged = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purging expired keys: %w", err)
	}
	return purged, nil
}
