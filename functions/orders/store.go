package orders

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/money"
)

// lockSQL locks stock in id order, as every transaction of the service does: two orders with the same products
// in opposite order wait for each other instead of deadlocking. NO KEY: readers of the row's key don't wait.
const lockSQL = `/* Orders.LockStock */
SELECT product_id, available, sequence FROM inventory
WHERE product_id = ANY($1) ORDER BY product_id FOR NO KEY UPDATE`

// pricesSQL runs after the lock, in its own statement: a price changed while we waited is seen.
const pricesSQL = `/* Orders.Prices */
SELECT id, sku, name, price_minor, currency FROM products WHERE id = ANY($1)`

// ticketsSQL gives orders their time, by the database's clock, and their places in the sequence of numbers.
const ticketsSQL = `/* Orders.Tickets */ SELECT statement_timestamp(), nextval('order_number_seq') FROM generate_series(1, $1)`

// takeSQL moves stock by the given deltas. There is no guard in it: the rows are locked and the deltas decided
// against them, and should that ever be wrong, CHECK (available >= 0) fails the whole transaction.
const takeSQL = `/* Orders.TakeStock */
UPDATE inventory i SET available = i.available + d.delta, sequence = i.sequence + d.bump
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS d (product_id, delta, bump)
WHERE i.product_id = d.product_id`

const insertOrdersSQL = `/* Orders.Insert */
INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)
SELECT id, number, customer_key, customer_id, 'Pending', address, currency, total, at, at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::jsonb[], $6::text[], $7::bigint[], $8::timestamptz[])
    AS o (id, number, customer_key, customer_id, address, currency, total, at)`

const insertLinesSQL = `/* Orders.InsertLines */
INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::int[], $7::bigint[])`

const orderColumns = `id, order_number, status, customer_id, customer_key, shipping_address, currency, total_minor,
	COALESCE(cancel_reason, ''), version, created_at`

const readSQL = `/* Orders.Read */ SELECT ` + orderColumns + ` FROM orders WHERE id = $1`

const lockOrderSQL = `/* Orders.Lock */ SELECT ` + orderColumns + ` FROM orders WHERE id = $1 FOR NO KEY UPDATE`

// lockOrdersSQL locks orders in id order and reads all of them that ever changes.
const lockOrdersSQL = `/* Orders.LockAll */ SELECT id, status, version FROM orders WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`

const listSQL = `/* Orders.List */ SELECT ` + orderColumns + ` FROM orders
WHERE customer_key = $1 AND id < $2 ORDER BY id DESC LIMIT $3`

// listMarkSQL reads of a list's first page all that ever changes.
const listMarkSQL = `/* Orders.ListMark */ SELECT id, version FROM orders WHERE customer_key = $1 ORDER BY id DESC LIMIT $2`

const linesSQL = `/* Orders.Lines */
SELECT order_id, product_id, sku, name, quantity, unit_price_minor
FROM order_lines WHERE order_id = ANY($1) ORDER BY order_id, line`

// confirmSQL confirms one order. The version makes it happen once even for who holds no lock.
const confirmSQL = `/* Orders.Confirm */
UPDATE orders SET status = 'Confirmed', version = version + 1, updated_at = now()
WHERE id = $1 AND version = $2 RETURNING version, clock_timestamp()`

// cancelSQL cancels the orders $1 at the versions $2. Their locks are held, so all $4 of them move. Should that ever be
// wrong, their stock would come back twice (CX-14): the division by zero then fails the whole transaction.
const cancelSQL = `/* Orders.Cancel */
WITH moved AS (
    UPDATE orders o SET status = 'Cancelled', cancel_reason = c.reason, version = o.version + 1, updated_at = now()
    FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS c (id, version, reason)
    WHERE o.id = c.id AND o.version = c.version RETURNING o.id
)
SELECT 1 / (count(*) = $4::bigint)::int FROM moved`

// dueSQL picks orders that nobody cancelled in time, by the database's clock. SKIP LOCKED: an order that is
// being cancelled right now is left to its canceller.
const dueSQL = `/* Orders.Due */ SELECT ` + orderColumns + ` FROM orders
WHERE status = 'Pending' AND id < uuidv7_floor(now() - $1::interval) ORDER BY id LIMIT $2
FOR NO KEY UPDATE SKIP LOCKED`

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// scanOrder reads orderColumns; the lines come from another statement.
func scanOrder(row pgx.CollectableRow) (Order, error) {
	var (
		o        Order
		address  []byte
		currency string
		minor    int64
	)
	err := row.Scan(&o.ID, &o.OrderNumber, &o.Status, &o.CustomerID, &o.customer, &address, &currency, &minor,
		&o.CancelReason, &o.version, &o.CreatedAt)
	if err != nil {
		return Order{}, fmt.Errorf("reading an order: %w", err)
	}
	if err := json.Unmarshal(address, &o.ShippingAddress); err != nil {
		return Order{}, fmt.Errorf("reading an order's address: %w", err)
	}
	if o.TotalAmount, err = money.FromMinor(minor, currency); err != nil {
		return Order{}, fmt.Errorf("reading an order's total: %w", err)
	}
	o.CreatedAt = o.CreatedAt.UTC()
	return o, nil
}

// query reads orders with their lines: two statements, however many orders.
func query(ctx context.Context, q querier, sql string, args ...any) ([]Order, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanOrder)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	ids, at := make([]uuid.UUID, len(list)), make(map[uuid.UUID]*Order, len(list))
	for i := range list {
		ids[i], at[list[i].ID] = list[i].ID, &list[i]
	}
	if rows, err = q.Query(ctx, linesSQL, ids); err != nil {
		return nil, fmt.Errorf("reading order lines: %w", err)
	}
	var (
		order, product uuid.UUID
		sku, name      string
		quantity       int
		minor          int64
	)
	_, err = pgx.ForEachRow(rows, []any{&order, &product, &sku, &name, &quantity, &minor}, func() error {
		o := at[order]
		unit, err := money.FromMinor(minor, o.TotalAmount.Currency())
		if err != nil {
			return err
		}
		line, err := newLine(product, sku, name, quantity, unit)
		o.Lines = append(o.Lines, line)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading order lines: %w", err)
	}
	return list, nil
}

// one reads one order, nil when there is none.
func one(ctx context.Context, q querier, sql string, id uuid.UUID) (*Order, error) {
	list, err := query(ctx, q, sql, id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// clock is a time from the database as events and answers show it: UTC, whole milliseconds like the id.
func clock(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
