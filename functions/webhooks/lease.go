package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/signature"
)

// lease is the right to make one attempt, with what it takes.
type lease struct {
	token, event, endpoint uuid.UUID
	payload                []byte
	n                      int       // number of the attempt
	round                  int       // its number since the last replay
	at                     time.Time // by the database's clock
	url                    string
	version                int64 // the endpoint's, as attempted
	keys                   []signature.Key
}

// A lease takes a due delivery of endpoint $1: that of event $2, or the one that is due longest. They are two
// statements, since a plan that serves both would read the whole queue to find one event. The attempt is counted here
// and not in the verdict: one that never gets to its verdict counts too.
//
// An endpoint whose circuit is open lets one attempt through after each pause. Whoever moves paused_until ahead is
// the one; the others wait for its row, look again, and find it paused.
const (
	leaseOneSQL  = `/* Webhooks.LeaseOne */` + leaseHead + `AND event_id = $2` + leaseTail
	leaseNextSQL = `/* Webhooks.LeaseNext */` + leaseHead + `AND $2::uuid IS NULL` + leaseTail

	leaseHead = `
WITH endpoint AS (
    SELECT * FROM webhook_endpoints WHERE id = $1 AND status = 'enabled' AND (paused_until IS NULL OR paused_until <= now())
), due AS (
    SELECT event_id, endpoint_id FROM webhook_deliveries
    WHERE endpoint_id = $1 `
	leaseTail = ` AND status = 'pending' AND next_attempt_at <= now()
      AND (leased_until IS NULL OR leased_until <= now()) AND EXISTS (SELECT FROM endpoint)
    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
), gate AS (
    UPDATE webhook_endpoints SET paused_until = now() + $5
    WHERE id = $1 AND status = 'enabled' AND consecutive_failures >= $6 AND (paused_until IS NULL OR paused_until <= now()) AND EXISTS (SELECT FROM due)
    RETURNING id
)
UPDATE webhook_deliveries d
SET lease = $3, leased_until = now() + $4, attempts = d.attempts + 1, updated_at = now()
FROM due, endpoint e, webhook_events w
WHERE d.event_id = due.event_id AND d.endpoint_id = due.endpoint_id AND w.event_id = due.event_id
  AND (e.consecutive_failures < $6 OR EXISTS (SELECT FROM gate))
RETURNING d.event_id, w.payload, d.attempts, d.attempts - d.attempts_before, clock_timestamp(), e.url, e.version, e.secret,
          CASE WHEN e.previous_expires_at > now() THEN e.previous_secret END`
)

// lease takes a delivery to attempt: the one of event, or the endpoint's next due one when event is the zero id.
// nil says that there is nothing to do here: done, not due, taken, or its endpoint is paused or disabled.
func (w *Webhooks) lease(ctx context.Context, endpoint, event uuid.UUID) (*lease, error) {
	l := &lease{token: uuid.New(), endpoint: endpoint}
	var (
		sql          = leaseNextSQL
		wanted       *uuid.UUID
		sealed, past []byte
	)
	if event != uuid.Nil {
		sql, wanted = leaseOneSQL, &event
	}
	err := w.patiently(ctx, func() error {
		return w.pool.Do(ctx, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, sql, endpoint, wanted, l.token, w.Limits.Lease, halfOpen, threshold).
				Scan(&l.event, &l.payload, &l.n, &l.round, &l.at, &l.url, &l.version, &sealed, &past)
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // nothing to do is neither a lease nor an error
	}
	if err != nil {
		return nil, fmt.Errorf("leasing a webhook delivery: %w", err)
	}
	if l.keys, err = openKeys(w.Box, endpoint, sealed, past); err != nil {
		return nil, err
	}
	return l, nil
}
