package orders

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// Confirm moves an order from Pending to Confirmed: payment has arrived.
func (o *Orders) Confirm(ctx context.Context, id uuid.UUID, key idempotency.Request) (rest.Answer, error) {
	var customer uuid.UUID
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
		if err := confirm(ctx, tx, order); err != nil {
			return rest.Answer{}, err
		}
		err = audit.Write(ctx, tx, audit.Entry{Action: audit.OrderConfirmed, Target: id.String(), Details: map[string]any{"orderNumber": order.OrderNumber}})
		if err != nil {
			return rest.Answer{}, err
		}
		customer = order.customer
		return rest.JSON(http.StatusOK, *order)
	})
	if err == nil {
		o.Nudge(id)
		if customer != uuid.Nil {
			o.changed(ctx, customer)
		}
	}
	return answer, err
}

// ConfirmDue confirms up to limit orders that are older than after and that nobody cancelled. It says how many.
func (o *Orders) ConfirmDue(ctx context.Context, pool *postgres.Pool, after time.Duration, limit int) (int, error) {
	var confirmed, customers []uuid.UUID
	err := pool.Tx(ctx, func(tx pgx.Tx) error {
		due, err := query(ctx, tx, dueSQL, after, limit)
		if err != nil {
			return err
		}
		for i := range due {
			if err := confirm(ctx, tx, &due[i]); err != nil {
				return err
			}
		}
		for _, order := range due {
			confirmed, customers = append(confirmed, order.ID), append(customers, order.customer)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("confirming due orders: %w", err)
	}
	o.Nudge(confirmed...)
	o.changed(ctx, customers...)
	return len(confirmed), nil
}

// confirm moves a locked order and tells of it.
func confirm(ctx context.Context, tx pgx.Tx, order *Order) error {
	var at time.Time
	if err := tx.QueryRow(ctx, confirmSQL, order.ID, order.version).Scan(&order.version, &at); err != nil {
		return fmt.Errorf("confirming order %s: %w", order.ID, err)
	}
	order.Status = Confirmed
	return outbox.Insert(ctx, tx, event(*order, events.OrderConfirmed, clock(at)))
}
