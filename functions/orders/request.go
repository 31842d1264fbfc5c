package orders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

const requests = "/api/v1/order-requests"

// The states of a queued order: Queued until it has an outcome, which never changes.
//
//	queued -> placed | rejected
const (
	Queued   = "queued"
	Placed   = "placed"
	Rejected = "rejected"
)

// OrderRequest is what became of an order that was answered 202.
type OrderRequest struct {
	ID      uuid.UUID      `json:"id" format:"uuid"`
	Status  string         `json:"status" enum:"queued,placed,rejected"`
	OrderID *uuid.UUID     `json:"orderId,omitempty" format:"uuid" doc:"The order, once it is placed"`
	Problem map[string]any `json:"problem,omitempty" doc:"Why it was rejected: the problem document that POST would have answered"`
}

const (
	// queuedSQL finds the requests of $1 that wait for their outcome.
	queuedSQL = `/* Orders.Queued */ SELECT id FROM order_requests WHERE id = ANY ($1) AND status = 'queued'`

	ticketSQL = `/* Orders.Ticket */
INSERT INTO order_requests (id, caller, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`

	// settleSQL writes an outcome over a ticket that has none, or where a ticket was never written.
	settleSQL = `/* Orders.SettleTicket */
INSERT INTO order_requests AS r (id, caller, digest, status, order_id, problem) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, order_id = excluded.order_id, problem = excluded.problem, changed_at = now()
WHERE r.status = 'queued'`

	readRequestSQL = `/* Orders.ReadRequest */
SELECT status, order_id, problem FROM order_requests WHERE id = $1 AND caller = $2`

	purgeRequestsSQL = `/* Orders.PurgeRequests */
DELETE FROM order_requests WHERE id IN (
    SELECT id FROM order_requests WHERE changed_at < now() - interval '25 hours' ORDER BY changed_at LIMIT $1 FOR UPDATE SKIP LOCKED)`
)

// ticket writes that a request is queued, unless more is known already.
func (o *Orders) ticket(ctx context.Context, key idempotency.Request) error {
	digest := key.Digest()
	return o.Pools.Orders.Do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, ticketSQL, key.ID(), key.Caller, digest[:])
		return err
	})
}

// settle writes what became of a request. It runs after the order's commit, and again when the message comes again.
func (o *Orders) settle(ctx context.Context, key idempotency.Request, answer rest.Answer) error {
	digest := key.Digest()
	status, order, problem := Placed, (*uuid.UUID)(nil), []byte(nil)
	if answer.Refused() {
		status, problem = Rejected, answer.Body
	} else {
		id, err := uuid.Parse(strings.TrimPrefix(answer.Location, base+"/"))
		if err != nil {
			return fmt.Errorf("reading where an order is: %w", err)
		}
		order = &id
	}
	return o.Pools.Orders.Do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, settleSQL, key.ID(), key.Caller, digest[:], status, order, problem)
		return err
	})
}

type requestInput struct {
	ID uuid.UUID `path:"id" format:"uuid"`
}

func (o *Orders) request(ctx context.Context, in *requestInput) (rest.Answer, error) {
	r, problem, caller := OrderRequest{ID: in.ID}, []byte(nil), rest.From(ctx).Caller.Key()
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, readRequestSQL, in.ID, caller).Scan(&r.Status, &r.OrderID, &problem)
	})
	// No row, or nobody to ask for one: an order that was queued while the database was away has its ticket in Redis.
	if missing := errors.Is(err, pgx.ErrNoRows); missing || errors.Is(err, postgres.ErrUnavailable) {
		queued, unknown := o.remembers(ctx, caller, in.ID)
		switch {
		case queued:
			r.Status, err = Queued, nil
		case missing && unknown != nil:
			err = unknown
		case missing:
			return rest.Answer{}, rest.NewProblem(rest.NotFound, "There is no such order request of yours. Repeat the POST with the same key.")
		}
	}
	if err == nil && problem != nil {
		err = json.Unmarshal(problem, &r.Problem)
	}
	if err != nil {
		return rest.Answer{}, fmt.Errorf("reading an order request: %w", err)
	}
	answer, err := rest.JSON(http.StatusOK, r)
	answer.CacheControl = "private, no-store"
	if r.Status == Queued {
		answer.RetryAfter = "1"
	}
	return answer, err
}

// PurgeRequests deletes up to limit requests whose keys are gone, and says how many.
func PurgeRequests(ctx context.Context, pool *postgres.Pool, limit int) (n int, err error) {
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		done, err := conn.Exec(ctx, purgeRequestsSQL, limit)
		n = int(done.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purging order requests: %w", err)
	}
	return n, nil
}
