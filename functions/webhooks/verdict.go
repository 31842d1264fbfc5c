package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
)

// The statements of a verdict. $1 to $4 are event, endpoint, lease and the endpoint's version. The endpoint's row is
// written before the delivery's, or not waited for, everywhere: verdicts can't deadlock with one another.
const (
	// The usual case is one statement, and touches the endpoint's row only to close its circuit: a row that every
	// delivery wrote would be the one that all wait for.
	succeedSQL = `/* Webhooks.Succeed */
WITH done AS (
    UPDATE webhook_deliveries d SET status = 'succeeded', reason = NULL, lease = NULL, leased_until = NULL, updated_at = now()
    FROM webhook_endpoints e
    WHERE d.event_id = $1 AND d.endpoint_id = $2 AND d.lease = $3 AND e.id = $2 AND e.version = $4
    RETURNING 1
), healed AS (
    UPDATE webhook_endpoints SET consecutive_failures = 0, failing_since = NULL, paused_until = NULL
    WHERE id = $2 AND version = $4 AND EXISTS (SELECT FROM done) AND (consecutive_failures > 0 OR paused_until IS NOT NULL)
)
SELECT count(*) FROM done`

	recordSQL = `/* Webhooks.Record */
INSERT INTO webhook_attempts (event_id, endpoint_id, n, at, status, latency_ms, error, response_excerpt)
VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, ''), NULLIF($8, '')) ON CONFLICT DO NOTHING`

	circuitSQL = `/* Webhooks.Circuit */
SELECT consecutive_failures + 1, COALESCE(failing_since <= now() - $3::interval, false), version, owner, clock_timestamp()
FROM webhook_endpoints WHERE id = $1 AND version = $2 FOR NO KEY UPDATE`

	failSQL = `/* Webhooks.Fail */
UPDATE webhook_deliveries SET status = $4, reason = NULLIF($5, ''), next_attempt_at = now() + $6, lease = NULL, leased_until = NULL, updated_at = now()
WHERE event_id = $1 AND endpoint_id = $2 AND lease = $3
RETURNING next_attempt_at`

	openSQL = `/* Webhooks.Open */
UPDATE webhook_endpoints SET consecutive_failures = consecutive_failures + 1, failing_since = COALESCE(failing_since, now()),
       paused_until = CASE WHEN $2::interval > interval '0' THEN greatest(paused_until, now() + $2) ELSE paused_until END
WHERE id = $1`

	disableSQL = `/* Webhooks.Disable */
UPDATE webhook_endpoints SET status = 'disabled', disabled_reason = $2, version = version + 1, updated_at = now(),
       paused_until = NULL, probe_at = now() + $3
WHERE id = $1 RETURNING version`

	// handBackSQL gives up the lease with nothing decided; the attempt is no part of the schedule.
	handBackSQL = `/* Webhooks.HandBack */
UPDATE webhook_deliveries SET lease = NULL, leased_until = NULL, next_attempt_at = now() + $4, attempts_before = least(attempts_before + 1, attempts), updated_at = now()
WHERE event_id = $1 AND endpoint_id = $2 AND lease = $3
RETURNING next_attempt_at`
)

// verdict is what an attempt changed.
type verdict struct {
	name     string     // for the metric
	next     *time.Time // when the delivery is due again
	disabled bool       // and the endpoint with it
}

// settle writes an attempt's verdict, once the database can be reached: what was posted shall be known. It counts
// only while the lease is this attempt's, and for the endpoint as it was attempted. The attempt is recorded in any
// case, since the POST was made.
func (w *Webhooks) settle(ctx context.Context, l *lease, o outcome) error {
	var v verdict
	err := w.patiently(ctx, func() error {
		return w.pool.Tx(ctx, func(tx pgx.Tx) (err error) {
			if v, err = w.decide(ctx, tx, l, o); err != nil {
				return err
			}
			if v.name == "stale" && o.err == "" {
				o.err = "it did not count: the endpoint was changed meanwhile, or it took too long"
			}
			_, err = tx.Exec(ctx, recordSQL, l.event, l.endpoint, l.n, l.at, o.status, o.latency.Milliseconds(), o.err, o.excerpt)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("settling an attempt of event %s to endpoint %s: %w", l.event, l.endpoint, err)
	}
	w.metrics.count(ctx, v.name)
	if v.disabled {
		w.Logger.WarnContext(ctx, "webhook endpoint disabled", "endpoint", l.endpoint)
		w.Nudge(l.endpoint)
	}
	if v.next != nil {
		w.wake(ctx, wakeUp{Event: l.event, Endpoint: l.endpoint, at: v.next.Add(50 * time.Millisecond)})
	}
	return nil
}

func (w *Webhooks) decide(ctx context.Context, tx pgx.Tx, l *lease, o outcome) (verdict, error) {
	switch o.kind {
	case succeeded:
		var n int
		err := tx.QueryRow(ctx, succeedSQL, l.event, l.endpoint, l.token, l.version).Scan(&n)
		if err == nil && n == 0 {
			return handBack(ctx, tx, l, "stale", 0)
		}
		return verdict{name: "succeeded"}, err
	case notMade:
		return handBack(ctx, tx, l, "postponed", busyPause)
	default:
		return w.fail(ctx, tx, l, o)
	}
}

// handBack leaves the delivery for another attempt, unless somebody else has it already.
func handBack(ctx context.Context, tx pgx.Tx, l *lease, name string, after time.Duration) (verdict, error) {
	v := verdict{name: name}
	var at time.Time
	err := tx.QueryRow(ctx, handBackSQL, l.event, l.endpoint, l.token, after).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, nil
	}
	v.next = &at
	return v, err
}

// fail decides what a failed attempt means for its delivery and for the endpoint.
func (w *Webhooks) fail(ctx context.Context, tx pgx.Tx, l *lease, o outcome) (verdict, error) {
	var (
		failures int
		longAgo  bool
		version  int64
		owner    string
		now, at  time.Time
	)
	err := tx.QueryRow(ctx, circuitSQL, l.endpoint, l.version, w.Limits.FailingFor).Scan(&failures, &longAgo, &version, &owner, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return handBack(ctx, tx, l, "stale", 0)
	}
	if err != nil {
		return verdict{}, err
	}
	v, status, reason := verdict{name: "failed"}, "pending", ""
	wait, more := w.Limits.next(l.round, o)
	disable, probe := "", (*time.Duration)(nil)
	switch {
	case o.kind == goneForever:
		disable = "the receiver answered 410 Gone"
	case longAgo && failures >= w.Limits.Failures:
		every := probeEvery
		disable, probe = fmt.Sprintf("%d attempts in a row failed, for more than %.3g days", failures, w.Limits.FailingFor.Hours()/24), &every
	}
	switch {
	case disable != "":
		v, status, reason = verdict{name: "disabled", disabled: true}, "dead", "the endpoint was disabled: "+disable
	case !more:
		v, status, reason = verdict{name: "dead"}, "dead", fmt.Sprintf("%d attempts failed", l.round)
	}
	err = tx.QueryRow(ctx, failSQL, l.event, l.endpoint, l.token, status, reason, wait).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return verdict{name: "stale"}, nil // another worker's by now: the endpoint is judged by that one
	}
	if err != nil {
		return v, err
	}
	if status == "pending" {
		v.next = &at
	}
	if _, err := tx.Exec(ctx, openSQL, l.endpoint, pause(failures, o)); err != nil {
		return v, err
	}
	if disable == "" {
		return v, nil
	}
	return v, w.disable(ctx, tx, l.endpoint, owner, disable, probe, now)
}

// disable ends an endpoint's deliveries and tells the operator, in one transaction: an event of its own goes the way
// of all events, to whoever else listens.
func (w *Webhooks) disable(ctx context.Context, tx pgx.Tx, endpoint uuid.UUID, owner, reason string, probe *time.Duration, now time.Time) error {
	var version int64
	if err := tx.QueryRow(ctx, disableSQL, endpoint, reason, probe).Scan(&version); err != nil {
		return err
	}
	if err := bury(ctx, tx, endpoint, "the endpoint was disabled: "+reason); err != nil {
		return err
	}
	// Without the URL: it may carry a token, and every subscriber reads this.
	return outbox.Insert(ctx, tx, events.Event{
		ID: postgres.NewID(now), Type: events.WebhookDisabled, Aggregate: events.Aggregate{Type: "webhook", ID: endpoint}, Sequence: version, Time: now,
		Data: events.EndpointDisabled{EndpointID: endpoint, Owner: owner, Reason: reason, Probed: probe != nil},
	})
}
