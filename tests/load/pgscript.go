package main

import (
	"fmt"
	"strconv"
	"strings"
)

// What pgbench runs: how an order's rows are sent, and what is ordered.
const (
	separate = "separate"
	single   = "single"
	spread   = "-spread"
	hot      = "-hot"
)

// sample is an order's rows as the service wrote them, as hexadecimal text where pgbench would take a colon for a
// variable, so that the reference writes rows of the same width.
type sample struct {
	address, eventType, payload, header, body string
}

const sampleSQL = `SELECT encode(convert_to(o.shipping_address::text, 'UTF8'), 'hex'), e.type, encode(e.payload, 'hex'),
	encode(convert_to(k.header::text, 'UTF8'), 'hex'), encode(k.body, 'hex')
FROM orders o JOIN outbox e ON e.aggregate_id = o.id, idempotency_keys k LIMIT 1`

// newID is a UUIDv7 by the database's clock.
const newID = `(left(uuidv7_floor(clock_timestamp())::text, 15) || right(gen_random_uuid()::text, 21))::uuid`

// draw draws two products. sql is a script's own; half the products are smaller than the others, so that all take
// stock in the order of product ids and none waits in a circle.
func draw(sql ...string) string {
	half := strconv.Itoa(products / 2)
	return `\set a random(1, ` + half + ")\n" + `\set b :a + ` + half + "\n" + strings.Join(sql, "\n") + "\n"
}

// productOf is the id of the product of a number.
func productOf(number string) string {
	return `(SELECT id FROM products WHERE sku = 'load-' || (` + number + `)::int)`
}

// The inserts, up to their values; both forms write the same rows.
const (
	intoOrders = `INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)`
	intoLines  = `INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor)`
	intoOutbox = `INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at, traceparent)`
	intoKeys   = `INSERT INTO idempotency_keys (digest, fingerprint, status, header, body)`
)

// orderValues, outboxValues and keyValues are a row's values, given what its ids are called. Events count as sent:
// nobody shall drain them.
func (s sample) orderValues(id, number string) string {
	return id + `, ` + number + `::text, md5('customer')::uuid, 'customer', 'Pending', convert_from('\x` + s.address + `'::bytea, 'UTF8')::jsonb, 'USD', 3998, now(), now()`
}

func (s sample) outboxValues(id, event string) string {
	return event + `, 0, 'order', ` + id + `, 1, '` + s.eventType + `', '\x` + s.payload + `'::bytea, now(), now(), 'pgbench'`
}

func (s sample) keyValues(id string) string {
	return `sha256(uuid_send(` + id + `)), sha256(uuid_send(` + id + `)), 201, convert_from('\x` + s.header + `'::bytea, 'UTF8')::jsonb, '\x` + s.body + `'::bytea`
}

// separate is one order in one transaction, in as few statements as an order needs, prepared: how services are
// usually written, at their best.
func (s sample) separate(numbers ...string) string {
	var stock, lines []string
	for i, number := range numbers {
		stock = append(stock, `UPDATE inventory SET available = available - 1 WHERE product_id = `+productOf(number)+` AND available >= 1;`)
		lines = append(lines, fmt.Sprintf(`(:id::uuid, %d, %s, 'load-' || (%s)::int, 'Load', 1, 1999)`, i+1, productOf(number), number))
	}
	return draw(
		`BEGIN;`,
		`SELECT `+newID+` AS id, `+newID+` AS event, nextval('order_number_seq') AS number \gset`,
		strings.Join(stock, "\n"),
		intoOrders+` VALUES (`+s.orderValues(`:id::uuid`, `(:number)::bigint`)+`);`,
		intoLines+` VALUES `+strings.Join(lines, ", ")+`;`,
		intoOutbox+` VALUES (`+s.outboxValues(`:id::uuid`, `:event::uuid`)+`);`,
		intoKeys+` VALUES (`+s.keyValues(`:id::uuid`)+`);`,
		`COMMIT;`)
}

// single is the same order in one statement, which saves all round trips but one: the most that a service can get out
// of one transaction for each order. A product that is sold out fails the statement, and all of it.
func (s sample) single(numbers ...string) string {
	var ids, lines []string
	for i, number := range numbers {
		ids = append(ids, productOf(number))
		lines = append(lines, fmt.Sprintf(`(%d, %s, (%s)::int)`, i+1, productOf(number), number))
	}
	return draw(
		`WITH new AS MATERIALIZED (SELECT ` + newID + ` AS id, ` + newID + ` AS event, nextval('order_number_seq') AS number),
locked AS MATERIALIZED (SELECT product_id FROM inventory WHERE product_id IN (` + strings.Join(ids, ", ") + `) ORDER BY product_id FOR NO KEY UPDATE),
stock AS (UPDATE inventory i SET available = available - 1 FROM locked l WHERE i.product_id = l.product_id AND available >= 1 RETURNING i.product_id),
placed AS (` + intoOrders + ` SELECT ` + s.orderValues(`id`, `number`) + ` FROM new),
lines AS (` + intoLines + ` SELECT new.id, l.line, l.product, 'load-' || l.number, 'Load', 1, 1999 FROM new, (VALUES ` + strings.Join(lines, ", ") + `) AS l (line, product, number)),
told AS (` + intoOutbox + ` SELECT ` + s.outboxValues(`id`, `event`) + ` FROM new),
keyed AS (` + intoKeys + ` SELECT ` + s.keyValues(`id`) + ` FROM new)
SELECT 1 / (count(*) = ` + strconv.Itoa(len(numbers)) + `)::int FROM stock;`)
}
