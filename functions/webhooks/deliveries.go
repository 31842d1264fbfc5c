package webhooks

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

// Delivery is one event for one endpoint.
type Delivery struct {
	ID            string     `json:"id"`
	EndpointID    uuid.UUID  `json:"endpointId"`
	EventID       uuid.UUID  `json:"eventId" doc:"Also the header webhook-id of every attempt"`
	EventType     string     `json:"eventType"`
	Status        string     `json:"status" enum:"pending,succeeded,dead"`
	Reason        string     `json:"reason,omitempty" doc:"Why it is dead"`
	Attempts      []Attempt  `json:"attempts"`
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty" doc:"Of a pending one"`
}

// Attempt is one POST and what came back.
type Attempt struct {
	At              time.Time `json:"at"`
	Status          *int      `json:"status,omitempty" doc:"Absent when no answer came"`
	LatencyMS       int64     `json:"latencyMs"`
	Error           string    `json:"error,omitempty"`
	ResponseExcerpt string    `json:"responseExcerpt,omitempty"`
}

// DeliveryPage is a part of an endpoint's deliveries.
type DeliveryPage struct {
	Items      []Delivery `json:"items"`
	NextCursor string     `json:"nextCursor,omitempty" doc:"Goes on from here; absent on the last page"`
}

// deliveryID is the pair of ids as one text. Derived, not stored: a unique column of its own could not hold over
// the partitions (CX-07).
func deliveryID(event, endpoint uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(append(event[:], endpoint[:]...))
}

// parseDeliveryID reads what deliveryID wrote; false for anything else.
func parseDeliveryID(id string) (event, endpoint uuid.UUID, ok bool) {
	const size = len(event) + len(endpoint)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) != size || len(id) != base64.RawURLEncoding.EncodedLen(size) { // the decoder passes over line breaks
		return event, endpoint, false
	}
	return uuid.UUID(raw[:16]), uuid.UUID(raw[16:]), true
}

// deliveryColumns reads from webhook_deliveries d with its event w.
const (
	deliveryColumns = `d.event_id, d.endpoint_id, w.type, d.status, COALESCE(d.reason, ''), CASE WHEN d.status = 'pending' THEN d.next_attempt_at END`

	listDeliveriesSQL = `/* Webhooks.ListDeliveries */
SELECT ` + deliveryColumns + `
FROM webhook_deliveries d JOIN webhook_events w USING (event_id)
WHERE d.endpoint_id = $1 AND d.event_id < $2 AND ($3 = '' OR d.status = $3)
ORDER BY d.event_id DESC LIMIT $4`

	// The dead are few among many: said as a constant, so that their own index is used.
	listDeadSQL = `/* Webhooks.ListDead */
SELECT ` + deliveryColumns + `
FROM webhook_deliveries d JOIN webhook_events w USING (event_id)
WHERE d.endpoint_id = $1 AND d.event_id < $2 AND d.status = 'dead' AND $3 = 'dead'
ORDER BY d.event_id DESC LIMIT $4`

	readDeliverySQL = `/* Webhooks.ReadDelivery */
SELECT ` + deliveryColumns + `
FROM webhook_deliveries d JOIN webhook_events w USING (event_id)
WHERE d.event_id = $1 AND d.endpoint_id = $2`

	attemptsSQL = `/* Webhooks.Attempts */
SELECT event_id, at, status, latency_ms, COALESCE(error, ''), COALESCE(response_excerpt, '')
FROM webhook_attempts WHERE event_id = ANY ($1) AND endpoint_id = $2 ORDER BY event_id, n`
)

func scanDelivery(row pgx.CollectableRow) (d Delivery, err error) {
	err = row.Scan(&d.EventID, &d.EndpointID, &d.EventType, &d.Status, &d.Reason, &d.NextAttemptAt)
	d.ID, d.Attempts = deliveryID(d.EventID, d.EndpointID), []Attempt{}
	if d.NextAttemptAt != nil {
		*d.NextAttemptAt = d.NextAttemptAt.UTC()
	}
	return d, err
}

// withAttempts adds what each delivery's attempts met; all are of one endpoint.
func withAttempts(ctx context.Context, q querier, endpoint uuid.UUID, list []Delivery) error {
	byEvent, ids := make(map[uuid.UUID]*Delivery, len(list)), make([]uuid.UUID, len(list))
	for i := range list {
		byEvent[list[i].EventID], ids[i] = &list[i], list[i].EventID
	}
	rows, err := q.Query(ctx, attemptsSQL, ids, endpoint)
	if err != nil {
		return err
	}
	var (
		event uuid.UUID
		a     Attempt
	)
	_, err = pgx.ForEachRow(rows, []any{&event, &a.At, &a.Status, &a.LatencyMS, &a.Error, &a.ResponseExcerpt}, func() error {
		a.At = a.At.UTC()
		byEvent[event].Attempts = append(byEvent[event].Attempts, a)
		a = Attempt{}
		return nil
	})
	return err
}

// one reads a delivery with its attempts.
func one(ctx context.Context, q querier, event, endpoint uuid.UUID) (Delivery, error) {
	rows, err := q.Query(ctx, readDeliverySQL, event, endpoint)
	if err != nil {
		return Delivery{}, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDelivery)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, noDelivery()
	}
	if err != nil {
		return d, fmt.Errorf("reading a webhook delivery: %w", err)
	}
	list := []Delivery{d}
	err = withAttempts(ctx, q, endpoint, list)
	return list[0], err
}

func noDelivery() *rest.Problem {
	return rest.NewProblem(rest.NotFound, "The endpoint has no such delivery. They are kept for a month.")
}

type deliveriesInput struct {
	ID       uuid.UUID `path:"id" format:"uuid"`
	Status   string    `query:"status" enum:"pending,succeeded,dead"`
	PageSize int       `query:"pageSize" minimum:"1" maximum:"100" default:"20"`
	Cursor   string    `query:"cursor" maxLength:"1024" doc:"nextCursor of the page before"`
}

func (w *Webhooks) deliveries(ctx context.Context, in *deliveriesInput) (rest.Answer, error) {
	scope, after := paging.Scope("deliveries", in.ID.String(), in.Status), position{uuid.Max}
	if err := w.goOn(scope, in.Cursor, &after); err != nil {
		return rest.Answer{}, err
	}
	sql := listDeliveriesSQL
	if in.Status == "dead" {
		sql = listDeadSQL
	}
	page, more := DeliveryPage{Items: []Delivery{}}, false
	err := w.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		if _, err := visible(ctx, conn, readSQL, in.ID, rest.From(ctx).Caller); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, sql, in.ID, after.ID, in.Status, in.PageSize+1)
		if err != nil {
			return err
		}
		if page.Items, err = pgx.AppendRows(page.Items, rows, scanDelivery); err != nil {
			return err
		}
		if more = len(page.Items) > in.PageSize; more {
			page.Items = page.Items[:in.PageSize]
		}
		return withAttempts(ctx, conn, in.ID, page.Items)
	})
	if err != nil {
		return rest.Answer{}, err
	}
	if more {
		if page.NextCursor, err = w.Cursors.Encode(scope, position{page.Items[in.PageSize-1].EventID}); err != nil {
			return rest.Answer{}, err
		}
	}
	answer, err := rest.JSON(http.StatusOK, page)
	answer.CacheControl = private
	query := url.Values{"pageSize": {strconv.Itoa(in.PageSize)}}
	if in.Status != "" {
		query.Set("status", in.Status)
	}
	answer.Link = paging.Link(base+"/"+in.ID.String()+"/deliveries", query, page.NextCursor)
	return answer, err
}

type deliveryInput struct {
	ID         uuid.UUID `path:"id" format:"uuid"`
	DeliveryID string    `path:"deliveryId" minLength:"43" maxLength:"43"`
}

func (w *Webhooks) delivery(ctx context.Context, in *deliveryInput) (rest.Answer, error) {
	event, endpoint, ok := parseDeliveryID(in.DeliveryID)
	var d Delivery
	err := w.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		if _, err := visible(ctx, conn, readSQL, in.ID, rest.From(ctx).Caller); err != nil {
			return err
		}
		if !ok || endpoint != in.ID {
			return noDelivery()
		}
		var err error
		d, err = one(ctx, conn, event, endpoint)
		return err
	})
	if err != nil {
		return rest.Answer{}, err
	}
	answer, err := rest.JSON(http.StatusOK, d)
	answer.CacheControl = private
	return answer, err
}
