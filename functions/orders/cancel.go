package orders

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// Cancel cancels an order and gives its stock back, once: stock returns in the transaction that moves the state,
// and only if it moves.
func (o *Orders) Cancel(ctx context.Context, id uuid.UUID, reason string, caller auth.Identity, key idempotency.Request) (rest.Answer, error) {
	var back map[uuid.UUID]int64
	answer, err := o.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		order, err := one(ctx, tx, readSQL, id)
		if err != nil {
			return rest.Answer{}, err
		}
		if order == nil || !visible(*order, caller) {
			return o.API.Refuse(ctx, notFound()), nil
		}
		// Products before orders, as everywhere; then the order again, as it is under its lock.
		if back, err = lockForReturn(ctx, tx, order.Lines); err != nil {
			return rest.Answer{}, err
		}
		if order, err = one(ctx, tx, lockOrderSQL, id); err != nil {
			return rest.Answer{}, err
		}
		if no := order.Status.cancellable(caller.Admin()); no != "" {
			back = nil
			return o.API.Refuse(ctx, rest.NewProblem(rest.TooLate, "%s", no)), nil
		}
		order.CancelReason = reason
		if err := move(ctx, tx, order, Cancelled, events.OrderCancelled); err != nil {
			return rest.Answer{}, err
		}
		if err := giveBack(ctx, tx, order.Lines, back); err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, *order)
	})
	if err == nil {
		o.Nudge(id)
	}
	if err == nil && len(back) > 0 {
		o.AvailabilityChanged(ctx, back)
	}
	return answer, err
}

// Confirm moves an order from Pending to Confirmed: payment has arrived.
func (o *Orders) Confirm(ctx context.Context, id uuid.UUID, key idempotency.Request) (rest.Answer, error) {
	answer, err := o.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		order, err := one(ctx, tx, lockOrderSQL, id)
		if err != nil {
			return rest.Answer{}, err
		}
		if order == nil {
			return o.API.Refuse(ctx, notFound()), nil
		}
		if order.Status != Pending {
			return o.API.Refuse(ctx, rest.NewProblem(rest.TooLate, "The order is %s; only a Pending one can be confirmed.", order.Status)), nil
		}
		if err := move(ctx, tx, order, Confirmed, events.OrderConfirmed); err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, *order)
	})
	if err == nil {
		o.Nudge(id)
	}
	return answer, err
}

// ConfirmDue confirms up to limit orders that are older than after and that nobody cancelled. It says how many.
func (o *Orders) ConfirmDue(ctx context.Context, pool *postgres.Pool, after time.Duration, limit int) (int, error) {
	var confirmed []uuid.UUID
	err := pool.Tx(ctx, func(tx pgx.Tx) error {
		due, err := query(ctx, tx, dueSQL, after, limit)
		if err != nil {
			return err
		}
		for i := range due {
			if err := move(ctx, tx, &due[i], Confirmed, events.OrderConfirmed); err != nil {
				return err
			}
		}
		for _, order := range due {
			confirmed = append(confirmed, order.ID)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("confirming due orders: %w", err)
	}
	o.Nudge(confirmed...)
	return len(confirmed), nil
}

// move changes a locked order's state and tells of it.
func move(ctx context.Context, tx pgx.Tx, order *Order, to Status, kind string) error {
	var reason *string
	if to == Cancelled {
		reason = &order.CancelReason
	}
	var at time.Time
	if err := tx.QueryRow(ctx, moveSQL, order.ID, order.version, to, reason).Scan(&order.version, &at); err != nil {
		return fmt.Errorf("moving order %s to %s: %w", order.ID, to, err)
	}
	order.Status = to
	return outbox.Insert(ctx, tx, event(*order, kind, clock(at)))
}

// lockForReturn locks the stock that a cancellation returns to and names the products that come back from
// nothing, with the sequence they will have.
func lockForReturn(ctx context.Context, tx pgx.Tx, lines []Line) (map[uuid.UUID]int64, error) {
	ids := make([]uuid.UUID, len(lines))
	for i, line := range lines {
		ids[i] = line.ProductID
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	rows, err := tx.Query(ctx, lockSQL, ids)
	if err != nil {
		return nil, fmt.Errorf("locking stock: %w", err)
	}
	back := make(map[uuid.UUID]int64)
	var s shelf
	_, err = pgx.ForEachRow(rows, []any{&s.product, &s.available, &s.sequence}, func() error {
		if s.available == 0 {
			back[s.product] = s.sequence + 1
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("locking stock: %w", err)
	}
	return back, nil
}

func giveBack(ctx context.Context, tx pgx.Tx, lines []Line, back map[uuid.UUID]int64) error {
	n := len(lines)
	ids, deltas, bumps := make([]uuid.UUID, n), make([]int64, n), make([]int64, n)
	for i, line := range lines {
		ids[i], deltas[i] = line.ProductID, int64(line.Quantity)
		if _, ok := back[line.ProductID]; ok {
			bumps[i] = 1
		}
	}
	if _, err := tx.Exec(ctx, takeSQL, ids, deltas, bumps); err != nil {
		return fmt.Errorf("returning stock: %w", err)
	}
	return nil
}

// one reads one order, nil when there is none.
func one(ctx context.Context, q querier, sql string, id uuid.UUID) (*Order, error) {
	list, err := query(ctx, q, sql, id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// visible tells whether the caller may know of the order at all.
func visible(order Order, caller auth.Identity) bool {
	return order.customer == caller.Key() || caller.Admin()
}

func notFound() *rest.Problem {
	return rest.NewProblem(rest.NotFound, "There is no such order, or it is not yours.")
}
