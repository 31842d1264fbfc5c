package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

const (
	// testType is the type of test events that ask for no other. Nobody can subscribe to it.
	testType = "webhook.test.v1"
	// kept is how far back a replay reaches: there are partitions for events of this time.
	kept = 30 * 24 * time.Hour
	// step is how many events of a replay one transaction brings back.
	step = 1000
)

// test sends an event to one endpoint alone. It is a delivery like any other, with retries.
func (w *Webhooks) test(ctx context.Context, in *testInput) (rest.Answer, error) {
	kind := in.Body.EventType
	if kind == "" {
		kind = testType
	}
	if kind != testType && !slices.Contains(events.Types, kind) {
		return rest.Answer{}, rest.Invalid("/eventType", "there is no such type: want %s, or one of %s", testType, strings.Join(events.Types, ", "))
	}
	var wake []wakeUp
	answer, err := w.manage(ctx, in.ID, false, func(ctx context.Context, tx pgx.Tx, e Endpoint) (rest.Answer, error) {
		if e.Status == disabled {
			return rest.Answer{}, isDisabled(e)
		}
		var now time.Time
		if err := tx.QueryRow(ctx, `/* Webhooks.Now */ SELECT clock_timestamp()`).Scan(&now); err != nil {
			return rest.Answer{}, fmt.Errorf("reading the clock: %w", err)
		}
		event, payload, err := testEvent(e.ID, e.version, kind, now)
		if err != nil {
			return rest.Answer{}, err
		}
		const insert = `/* Webhooks.Test */
WITH event AS (INSERT INTO webhook_events (event_id, type, aggregate_id, payload) VALUES ($1, $2, $3, $4))
INSERT INTO webhook_deliveries (event_id, endpoint_id, status) VALUES ($1, $3, 'pending')`
		if _, err := tx.Exec(ctx, insert, event, kind, e.ID, payload); err != nil {
			return rest.Answer{}, fmt.Errorf("storing a test event: %w", err)
		}
		err = audit.Write(ctx, tx, audit.Entry{Action: audit.EndpointTested, Target: e.ID.String(), Details: map[string]any{"eventId": event, "eventType": kind}})
		if err != nil {
			return rest.Answer{}, err
		}
		wake = []wakeUp{{Event: event, Endpoint: e.ID}}
		return accepted(ctx, tx, event, e.ID)
	})
	if err == nil {
		w.wake(ctx, wake...)
	}
	return answer, err
}

// testEvent is an event about nothing but itself. Its sequence is the endpoint's version, so that it is positive.
func testEvent(endpoint uuid.UUID, version int64, kind string, now time.Time) (uuid.UUID, []byte, error) {
	e := events.Event{
		ID: postgres.NewID(now), Type: kind, Aggregate: events.Aggregate{Type: "webhook", ID: endpoint}, Sequence: version, Time: now,
		Data: map[string]any{"test": true, "endpointId": endpoint},
	}
	payload, err := e.Encode()
	return e.ID, payload, err
}

func accepted(ctx context.Context, tx pgx.Tx, event, endpoint uuid.UUID) (rest.Answer, error) {
	d, err := one(ctx, tx, event, endpoint)
	if err != nil {
		return rest.Answer{}, err
	}
	answer, err := rest.JSON(http.StatusAccepted, d)
	answer.Location = base + "/" + endpoint.String() + "/deliveries/" + d.ID
	return answer, err
}

type replayInput struct {
	ID   uuid.UUID `path:"id" format:"uuid"`
	Body struct {
		DeliveryID string     `json:"deliveryId,omitempty" minLength:"43" maxLength:"43" doc:"One delivery"`
		EventID    *uuid.UUID `json:"eventId,omitempty" format:"uuid" doc:"One event"`
		From       *time.Time `json:"from,omitempty" doc:"All events from here..."`
		To         *time.Time `json:"to,omitempty" doc:"...to here, default now"`
		Status     string     `json:"status,omitempty" enum:"dead" doc:"All deliveries that are dead"`
	}
}

// Replayed says how much will be sent again.
type Replayed struct {
	Count int64 `json:"count"`
}

// backSQL makes deliveries pending again. The schedule starts anew, attempts count on. One that is being attempted
// right now is left to its verdict: taking its lease away would only double the POST.
const backSQL = ` SET status = 'pending', reason = NULL, next_attempt_at = now(), attempts_before = d.attempts, lease = NULL, leased_until = NULL, updated_at = now()`

const busySQL = `(d.status = 'pending' AND d.leased_until > now())`

// replay sends again. One event is brought back here; ranges and the dead are a row in webhook_replays that is
// worked off in steps, the first of them at once, and by the sweep if this process dies.
func (w *Webhooks) replay(ctx context.Context, in *replayInput) (rest.Answer, error) {
	ways := 0
	for _, given := range []bool{in.Body.DeliveryID != "", in.Body.EventID != nil, in.Body.From != nil, in.Body.Status != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 || in.Body.To != nil && in.Body.From == nil {
		return rest.Answer{}, rest.NewProblem(rest.Validation, "Say one of deliveryId, eventId, from with or without to, and status.")
	}
	var wake []wakeUp
	answer, err := w.manage(ctx, in.ID, false, func(ctx context.Context, tx pgx.Tx, e Endpoint) (rest.Answer, error) {
		if e.Status == disabled {
			return rest.Answer{}, isDisabled(e)
		}
		var (
			count int64
			err   error
		)
		switch {
		case in.Body.DeliveryID != "" || in.Body.EventID != nil:
			var event uuid.UUID
			if event, err = in.event(); err == nil {
				count, wake = 1, []wakeUp{{Event: event, Endpoint: e.ID}}
				err = bringBack(ctx, tx, e.ID, event, in.Body.EventID != nil)
			}
		default:
			count, err = in.queue(ctx, tx, e)
			wake = []wakeUp{{Endpoint: e.ID, Replay: true}}
		}
		if err != nil {
			return rest.Answer{}, err
		}
		err = audit.Write(ctx, tx, audit.Entry{Action: audit.EndpointReplayed, Target: e.ID.String(), Details: in.details(count)})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusAccepted, Replayed{Count: count})
	})
	if err == nil && answer.Status == http.StatusAccepted {
		w.wake(ctx, wake...)
	}
	return answer, err
}

// details are what the audit log keeps of a replay: what was asked for, and how much that was.
func (in *replayInput) details(count int64) map[string]any {
	details := map[string]any{"count": count}
	switch {
	case in.Body.DeliveryID != "":
		details["deliveryId"] = in.Body.DeliveryID
	case in.Body.EventID != nil:
		details["eventId"] = *in.Body.EventID
	case in.Body.From != nil:
		details["from"], details["to"] = *in.Body.From, in.Body.To
	default:
		details["status"] = in.Body.Status
	}
	return details
}

// event is the one event that is asked for.
func (in *replayInput) event() (uuid.UUID, error) {
	if in.Body.EventID != nil {
		return *in.Body.EventID, nil
	}
	event, endpoint, ok := parseDeliveryID(in.Body.DeliveryID)
	if !ok || endpoint != in.ID {
		return event, noDelivery()
	}
	return event, nil
}

// bringBack makes one delivery pending. An event that the endpoint never heard of comes from the feed, when it is
// named by its own id.
func bringBack(ctx context.Context, tx pgx.Tx, endpoint, event uuid.UUID, fromFeed bool) error {
	const back = `/* Webhooks.Back */
WITH back AS (UPDATE webhook_deliveries d` + backSQL + ` WHERE d.event_id = $1 AND d.endpoint_id = $2 AND NOT ` + busySQL + `)
SELECT EXISTS (SELECT FROM webhook_deliveries WHERE event_id = $1 AND endpoint_id = $2)`
	var there bool
	if err := tx.QueryRow(ctx, back, event, endpoint).Scan(&there); err != nil {
		return fmt.Errorf("bringing a webhook delivery back: %w", err)
	}
	if there {
		return nil
	}
	if fromFeed {
		done, err := tx.Exec(ctx, missingSQL, endpoint, event, event, kept)
		if err != nil {
			return fmt.Errorf("bringing an event back: %w", err)
		}
		if done.RowsAffected() > 0 {
			return nil
		}
	}
	return noDelivery()
}

const (
	// customerOf is an event's customer, as fan-out reads it.
	customerOf = `convert_from(f.payload, 'UTF8')::jsonb #>> '{data,customerId}'`

	subscribed = `(e.events @> '{*}' OR f.type = ANY (e.events)) AND (e.customer_id IS NULL OR e.customer_id = ` + customerOf + `)`

	// missingSQL adds deliveries of the feed's events from $2 to $3 that endpoint $1 subscribes to and has none of.
	missingSQL = `/* Webhooks.Missing */
WITH missing AS (
    SELECT f.id, f.type, f.aggregate_id, ` + customerOf + ` AS customer_id, f.payload
    FROM feed f JOIN webhook_endpoints e ON e.id = $1
    WHERE f.id BETWEEN $2 AND $3 AND f.id >= uuidv7_floor(now() - $4::interval) AND ` + subscribed + `
      AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id = f.id AND d.endpoint_id = $1)
), event AS (
    INSERT INTO webhook_events (event_id, type, aggregate_id, customer_id, payload)
    SELECT id, type, aggregate_id, customer_id, payload FROM missing ORDER BY id ON CONFLICT DO NOTHING
)
INSERT INTO webhook_deliveries (event_id, endpoint_id, status) SELECT id, $1, 'pending' FROM missing ORDER BY id
ON CONFLICT DO NOTHING`
)

// queue stores a replay of many and counts what it will bring back.
func (in *replayInput) queue(ctx context.Context, tx pgx.Tx, e Endpoint) (count int64, err error) {
	const insert = `/* Webhooks.QueueReplay */
INSERT INTO webhook_replays (id, endpoint_id, only_dead, after_id, to_id)
SELECT gen_random_uuid(), $1, $2, uuidv7_floor(greatest($3, now() - $4::interval)), uuidv7_floor(least($5, now()) + interval '1 ms')
RETURNING after_id, to_id`
	const dead = `/* Webhooks.CountDead */
SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'dead' AND event_id BETWEEN $2 AND $3`
	const known = `/* Webhooks.CountRange */
SELECT (SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND event_id BETWEEN $2 AND $3)
     + (SELECT count(*) FROM feed f JOIN webhook_endpoints e ON e.id = $1
        WHERE f.id BETWEEN $2 AND $3 AND ` + subscribed + `
          AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id = f.id AND d.endpoint_id = $1))`
	from, to, sql := time.Time{}, time.Now().Add(24*time.Hour), dead
	if in.Body.From != nil {
		from, sql = *in.Body.From, known
		if in.Body.To != nil {
			to = *in.Body.To
		}
		if !from.Before(to) {
			return 0, rest.Invalid("/to", "it must be later than from")
		}
	}
	var after, last uuid.UUID
	if err = tx.QueryRow(ctx, insert, e.ID, in.Body.Status == "dead", from, kept, to).Scan(&after, &last); err != nil {
		return 0, fmt.Errorf("queueing a replay: %w", err)
	}
	if err = tx.QueryRow(ctx, sql, e.ID, after, last).Scan(&count); err != nil {
		return 0, fmt.Errorf("counting a replay: %w", err)
	}
	return count, nil
}

const (
	takeReplaySQL = `/* Webhooks.TakeReplay */
SELECT r.id, r.endpoint_id, r.only_dead, r.after_id, r.to_id, e.status FROM webhook_replays r JOIN webhook_endpoints e ON e.id = r.endpoint_id
WHERE $1::uuid IS NULL OR r.endpoint_id = $1 ORDER BY r.created_at LIMIT 1 FOR UPDATE OF r SKIP LOCKED`

	// The next step's last event: the thousandth of those to bring back, or the end.
	nextDeadSQL = `/* Webhooks.NextDead */
SELECT event_id FROM (
    SELECT event_id FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'dead' AND event_id > $2 AND event_id <= $3
    ORDER BY event_id LIMIT $4) step ORDER BY event_id DESC LIMIT 1`

	nextRangeSQL = `/* Webhooks.NextRange */
SELECT id FROM (
    SELECT id FROM ((SELECT event_id AS id FROM webhook_deliveries WHERE endpoint_id = $1 AND event_id > $2 AND event_id <= $3 ORDER BY event_id LIMIT $4)
                    UNION (SELECT id FROM feed WHERE id > $2 AND id <= $3 ORDER BY id LIMIT $4)) both_of_them
    ORDER BY id LIMIT $4) step ORDER BY id DESC LIMIT 1`

	stepSQL = `/* Webhooks.ReplayStep */
UPDATE webhook_deliveries d` + backSQL + `
WHERE d.endpoint_id = $1 AND d.event_id > $2 AND d.event_id <= $3 AND (d.status = 'dead' OR NOT $4) AND NOT ` + busySQL
)

// goOnReplay does one step of a replay, of the endpoint's or of any; false when there is none.
func (w *Webhooks) goOnReplay(ctx context.Context, of *uuid.UUID) (endpoint uuid.UUID, found bool, err error) {
	err = w.pool.Tx(ctx, func(tx pgx.Tx) error {
		var (
			id, after, to uuid.UUID
			dead          bool
			status        string
		)
		err := tx.QueryRow(ctx, takeReplaySQL, of).Scan(&id, &endpoint, &dead, &after, &to, &status)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		sql := nextRangeSQL
		if dead {
			sql = nextDeadSQL
		}
		var last uuid.UUID
		err = tx.QueryRow(ctx, sql, endpoint, after, to, step).Scan(&last)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if err != nil || status != enabled { // of a disabled endpoint nothing is pending: its owner replays again
			_, err := tx.Exec(ctx, `/* Webhooks.EndReplay */ DELETE FROM webhook_replays WHERE id = $1`, id)
			return err
		}
		if _, err := tx.Exec(ctx, stepSQL, endpoint, after, last, dead); err != nil {
			return err
		}
		if !dead {
			if _, err := tx.Exec(ctx, missingSQL, endpoint, after, last, kept); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `/* Webhooks.AdvanceReplay */ UPDATE webhook_replays SET after_id = $2 WHERE id = $1`, id, last)
		return err
	})
	if err != nil {
		return endpoint, false, fmt.Errorf("replaying webhook deliveries: %w", err)
	}
	return endpoint, found, nil
}
