package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// dueSQL finds deliveries whose wake-up was lost, whose lease ran out, or whose endpoint's pause is over. A few of
	// each endpoint are enough to set its workers going, and one with a long queue leaves room for the others.
	dueSQL = `/* Webhooks.Due */
SELECT d.event_id, d.endpoint_id
FROM webhook_endpoints e CROSS JOIN LATERAL (
    SELECT event_id, endpoint_id, next_attempt_at FROM webhook_deliveries
    WHERE endpoint_id = e.id AND status = 'pending' AND next_attempt_at <= now() AND (leased_until IS NULL OR leased_until <= now())
    ORDER BY next_attempt_at LIMIT $1
) d
WHERE e.status = 'enabled' AND (e.paused_until IS NULL OR e.paused_until <= now())
ORDER BY d.next_attempt_at LIMIT 1000`

	// buryAllSQL ends what is pending for endpoints that are not enabled: the rest of a long queue, and what a fan-out
	// that saw the endpoint enabled committed after it was not.
	buryAllSQL = `/* Webhooks.BuryAll */
UPDATE webhook_deliveries d SET status = 'dead', lease = NULL, leased_until = NULL, updated_at = now(),
       reason = left('the endpoint is disabled: ' || COALESCE(lost.disabled_reason, 'no reason given'), 500)
FROM (
    SELECT p.event_id, p.endpoint_id, e.disabled_reason
    FROM webhook_endpoints e CROSS JOIN LATERAL (
        SELECT event_id, endpoint_id FROM webhook_deliveries WHERE endpoint_id = e.id AND status = 'pending'
        ORDER BY next_attempt_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    ) p
    WHERE e.status <> 'enabled' LIMIT 5000
) lost
WHERE d.event_id = lost.event_id AND d.endpoint_id = lost.endpoint_id`

	probesSQL = `/* Webhooks.Probes */
UPDATE webhook_endpoints SET probe_at = now() + $1
WHERE id IN (SELECT id FROM webhook_endpoints WHERE probe_at <= now() ORDER BY probe_at LIMIT 20 FOR UPDATE SKIP LOCKED)
RETURNING id`

	forgetSQL = `/* Webhooks.ForgetSecrets */
UPDATE webhook_endpoints SET previous_secret = NULL, previous_expires_at = NULL WHERE previous_expires_at <= now()`
)

// Sweep is the net under everything that messages and workers may lose. It only wakes others up, besides ending what
// has no endpoint to go to, and may run in any number of processes at once.
func (w *Webhooks) Sweep(ctx context.Context) error {
	const replaying = 5 * time.Second
	var list []wakeUp
	errs := []error{
		w.exec(ctx, buryAllSQL),
		w.exec(ctx, forgetSQL),
		w.collect(ctx, &list, wakeUp{}, dueSQL, w.Limits.PerEndpoint),
		w.collect(ctx, &list, wakeUp{Probe: true}, probesSQL, probeEvery),
	}
	for end := time.Now().Add(replaying); time.Now().Before(end); {
		endpoint, found, err := w.goOnReplay(ctx, nil)
		errs = append(errs, err)
		if err != nil || !found {
			break
		}
		list = append(list, wakeUp{Endpoint: endpoint})
	}
	w.wake(ctx, list...)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweeping webhook deliveries: %w", err)
	}
	return nil
}

func (w *Webhooks) exec(ctx context.Context, sql string) error {
	return w.pool.Do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

// collect adds a wake-up like one for every row: (event, endpoint), or (endpoint).
func (w *Webhooks) collect(ctx context.Context, list *[]wakeUp, like wakeUp, sql string, args ...any) error {
	return w.pool.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		into := []any{&like.Event, &like.Endpoint}
		if len(rows.FieldDescriptions()) == 1 {
			into = into[1:]
		}
		_, err = pgx.ForEachRow(rows, into, func() error { *list = append(*list, like); return nil })
		return err
	})
}
