package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// fanOutSQL gives each event a row per subscribed endpoint. For a disabled one the row is dead from the start: what
// it missed can be seen and replayed (CX-06). Repeated, it adds nothing: the rows' key is the pair, and only what
// was added is returned. In the order of the keys, so that two batches with the same events can't deadlock.
const fanOutSQL = `/* Webhooks.FanOut */
WITH event AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bytea[]) AS e (id, type, aggregate_id, customer_id, payload)
), wanted AS (
    SELECT event.id, e.id AS endpoint_id, e.status, e.disabled_reason
    FROM event JOIN webhook_endpoints e ON e.status <> 'deleted'
     AND (e.events @> '{*}' OR event.type = ANY (e.events)) AND (e.customer_id IS NULL OR e.customer_id = event.customer_id)
), stored AS (
    INSERT INTO webhook_events (event_id, type, aggregate_id, customer_id, payload)
    SELECT id, type, aggregate_id, customer_id, payload FROM event WHERE id IN (SELECT id FROM wanted) ORDER BY id
    ON CONFLICT DO NOTHING
)
INSERT INTO webhook_deliveries (event_id, endpoint_id, status, reason)
SELECT id, endpoint_id, CASE status WHEN 'enabled' THEN 'pending' ELSE 'dead' END,
       CASE WHEN status <> 'enabled' THEN 'the endpoint is disabled: ' || COALESCE(disabled_reason, 'no reason given') END
FROM wanted ORDER BY id, endpoint_id
ON CONFLICT DO NOTHING
RETURNING event_id, endpoint_id, status = 'pending'`

// event is what fan-out reads of a message; the rest of its bytes are only passed on.
type event struct {
	SpecVersion string    `json:"specversion"`
	ID          uuid.UUID `json:"id"`
	Type        string    `json:"type"`
	Subject     uuid.UUID `json:"subject"`
	Data        struct {
		CustomerID string `json:"customerId"`
	} `json:"data"`
}

var typeForm = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)

// parseEvent refuses what is not an event of ours. An id that is no UUIDv7 of about now has no partition to go to.
func parseEvent(body []byte, now time.Time) (e event, err error) {
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("not a CloudEvent of ours: %w", err)
	}
	if e.SpecVersion != "1.0" || !typeForm.MatchString(e.Type) {
		return e, errors.New("not a CloudEvent of ours: specversion or type")
	}
	if strings.ContainsRune(e.Data.CustomerID, 0) {
		return e, errors.New("not a CloudEvent of ours: PostgreSQL's texts hold no NUL")
	}
	if e.ID.Version() != 7 {
		return e, errors.New("not a CloudEvent of ours: the id is no UUIDv7")
	}
	at := time.Unix(e.ID.Time().UnixTime())
	if age := now.Sub(at); age > kept || age < -24*time.Hour {
		return e, fmt.Errorf("an event of %s: deliveries are kept for %d days", at.UTC().Format(time.RFC3339), kept/(24*time.Hour))
	}
	return e, nil
}

// FanOut takes events from the topic and makes their deliveries, a batch in one transaction. An error gives the
// batch back to the broker, and the batch may come again after a success too: the second time it changes nothing.
func (w *Webhooks) FanOut(ctx context.Context, messages []servicebus.Received) error {
	var wake []wakeUp
	traces := make(map[uuid.UUID]string, len(messages))
	err := w.patiently(ctx, func() error {
		now, err := w.now(ctx)
		if err != nil {
			return err
		}
		var (
			ids, aggregates []uuid.UUID
			types           []string
			customers       []*string
			payloads        [][]byte
			seen            = make(map[uuid.UUID]bool, len(messages))
		)
		for _, m := range messages {
			e, err := parseEvent(m.Body, now)
			if err != nil {
				// Its neighbours are not held up by it.
				if err := w.Poison(ctx, servicebus.TopicOrderEvents, m, err); err != nil {
					return fmt.Errorf("keeping a message that is not ours: %w", err)
				}
				continue
			}
			if seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			traces[e.ID] = telemetry.Within(ctx, m.Trace())
			var customer *string
			if e.Data.CustomerID != "" {
				customer = &e.Data.CustomerID
			}
			ids, types, aggregates = append(ids, e.ID), append(types, e.Type), append(aggregates, e.Subject)
			customers, payloads = append(customers, customer), append(payloads, m.Body)
		}
		if len(ids) == 0 {
			return nil
		}
		return w.pool.Tx(ctx, func(tx pgx.Tx) error {
			wake = wake[:0]
			rows, err := tx.Query(ctx, fanOutSQL, ids, types, aggregates, customers, payloads)
			if err != nil {
				return err
			}
			var (
				next    wakeUp
				pending bool
			)
			_, err = pgx.ForEachRow(rows, []any{&next.Event, &next.Endpoint, &pending}, func() error {
				if pending {
					next.trace = traces[next.Event]
					wake = append(wake, next)
				}
				return nil
			})
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("fanning out %d messages: %w", len(messages), err)
	}
	w.wake(ctx, wake...)
	return nil
}

func (w *Webhooks) now(ctx context.Context) (now time.Time, err error) {
	err = w.pool.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `/* Webhooks.Now */ SELECT clock_timestamp()`).Scan(&now)
	})
	return now, err
}

// patiently repeats do while the database is away, for half a message's lock at most, and only then fails: the
// broker gives a failed message back at once, and a thousand such rounds would make it a dead letter.
func (w *Webhooks) patiently(ctx context.Context, do func() error) error {
	end := time.After(w.Limits.Patience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := do()
		if !errors.Is(err, postgres.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-end:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// wakeUp is the body of a message to the queue: try this delivery, go on with this endpoint's queue when Event is
// the zero id, ask whether it is there again, or go on with its replay.
type wakeUp struct {
	Event    uuid.UUID `json:"eventId"`
	Endpoint uuid.UUID `json:"endpointId"`
	Probe    bool      `json:"probe,omitempty"`
	Replay   bool      `json:"replay,omitempty"`
	at       time.Time // when to wake up; zero is now
	trace    string    // of the event (W3C traceparent)
}

// wake sends wake-ups, after the commit of what they are about. A failure is only logged: the sweep finds what is
// due. Ids are new each time, as a broker that detects duplicates would swallow the second wake-up of a delivery.
func (w *Webhooks) wake(ctx context.Context, list ...wakeUp) {
	if len(list) == 0 {
		return
	}
	messages := make([]servicebus.Message, len(list))
	for i, one := range list {
		body, err := json.Marshal(one)
		if err != nil {
			w.Logger.ErrorContext(ctx, "wake-ups not encoded", "error", err)
			return
		}
		messages[i] = servicebus.Message{ID: uuid.NewString(), Subject: "webhook.wake_up", ContentType: "application/json", Body: body, At: one.at, Trace: one.trace}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if sent, err := w.Send(ctx, messages); err != nil {
		w.Logger.WarnContext(ctx, "wake-ups not sent: the sweep will find the deliveries", "sent", sent, "of", len(messages), "error", err)
	}
}
