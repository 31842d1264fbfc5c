package carts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

const (
	readSQL = `/* Carts.Read */ SELECT id, session_id, customer_key FROM carts WHERE id = $1`
	lockSQL = `/* Carts.Lock */ SELECT id, session_id, customer_key FROM carts WHERE id = $1 FOR NO KEY UPDATE`

	itemsSQL = `/* Carts.Items */
SELECT c.product_id, c.quantity, p.price_minor, p.currency
FROM cart_items c JOIN products p ON p.id = c.product_id WHERE c.cart_id = $1 ORDER BY c.added_at, c.product_id`
)

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// load reads a cart that is the caller's; else it is not found.
func load(ctx context.Context, q querier, sql string, id uuid.UUID, caller auth.Identity) (Cart, error) {
	cart := Cart{Items: []Item{}}
	err := q.QueryRow(ctx, sql, id).Scan(&cart.ID, &cart.SessionID, &cart.customer)
	if err == nil && !auth.AnyToken.Reaches(caller, cart.customer) || errors.Is(err, pgx.ErrNoRows) {
		return Cart{}, rest.NewProblem(rest.NotFound, "There is no such cart, or it is not yours.")
	}
	if err != nil {
		return Cart{}, fmt.Errorf("reading cart %s: %w", id, err)
	}
	rows, err := q.Query(ctx, itemsSQL, id)
	if err != nil {
		return Cart{}, fmt.Errorf("reading cart %s: %w", id, err)
	}
	var (
		item     Item
		minor    int64
		currency string
	)
	_, err = pgx.ForEachRow(rows, []any{&item.ProductID, &item.Quantity, &minor, &currency}, func() error {
		if item.UnitPrice, err = money.FromMinor(minor, currency); err != nil {
			return err
		}
		cart.Items = append(cart.Items, item)
		return cart.add(item)
	})
	if err != nil {
		return Cart{}, fmt.Errorf("reading cart %s: %w", id, err)
	}
	return cart, nil
}

// add puts an item's cost onto the total.
func (c *Cart) add(item Item) error {
	cost, err := item.UnitPrice.Times(int64(item.Quantity))
	if err != nil {
		return err
	}
	if c.TotalAmount != nil {
		if cost, err = c.TotalAmount.Add(cost); errors.Is(err, money.ErrMixed) {
			return nil // a product changed its currency in the cart: no total is better than a wrong one
		} else if err != nil {
			return err
		}
	}
	c.TotalAmount = &cost
	return nil
}

// Purge deletes up to limit carts that nobody touched for age, and says how many.
func Purge(ctx context.Context, pool *postgres.Pool, age time.Duration, limit int) (purged int, err error) {
	const sql = `/* Carts.Purge */ DELETE FROM carts WHERE id IN (
    SELECT id FROM carts WHERE updated_at < now() - $1::interval ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)`
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, sql, age, limit)
		purged = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purging carts: %w", err)
	}
	return purged, nil
}
