package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// booked is a shop in which all is well: two orders of the service and one of pgbench's, each with its key, lines and
// event, and a listener that has heard what concerns it.
type booked struct {
	*stack
	t        *testing.T
	listener *listener
}

func openBooked(t *testing.T) booked {
	t.Helper()
	ctx := context.Background()
	d := kit.NewDatabase(t)
	db, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close(ctx)) })
	b := booked{
		&stack{bench: &bench{run: "run", patience: 200 * time.Millisecond}, name: "test", db: db}, t,
		&listener{during: busy, latencies: map[string]*hdrhistogram.Histogram{}, ids: map[uuid.UUID]bool{}},
	}
	server := httptest.NewServer(b.listener.handler())
	t.Cleanup(server.Close)
	b.stack.listener = server.Listener.Addr().String()
	b.run(productsSQL, 3)
	b.run(`INSERT INTO inventory (product_id, initial, available) SELECT id, 100, 97 FROM products`)
	b.run(`UPDATE inventory SET available = 100 WHERE product_id = (SELECT id FROM products WHERE sku = 'load-3')`)
	for i, traceparent := range []string{"", "", "pgbench"} {
		b.run(`CREATE TEMP TABLE made AS SELECT ` + newID + ` AS id, ` + newID + ` AS event`)
		b.run(`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)
			SELECT id, $1::text, gen_random_uuid(), 'c', 'Pending', '{}', 'USD', 3998, now(), now() FROM made`, fmt.Sprint(i))
		b.run(`INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor)
			SELECT made.id, row_number() OVER (ORDER BY sku), p.id, sku, name, 1, 1999 FROM made, products p WHERE sku <> 'load-3'`)
		b.run(`INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at, traceparent)
			SELECT event, 0, 'order', id, 1, 'order.created.v1', '', now(), now(), nullif($1, '') FROM made`, traceparent)
		fingerprint := `sha256('another')` // pgbench's keys are told by theirs
		if traceparent != "" {
			fingerprint = `sha256(uuid_send(id))`
		} else {
			b.run(`INSERT INTO feed (number, id, type, aggregate_id, payload) SELECT $1, event, 'order.created.v1', id, '' FROM made`, i+1)
			var event, order string
			require.NoError(t, db.QueryRow(ctx, `SELECT event::text, id::text FROM made`).Scan(&event, &order))
			b.hears(event, order, 1)
		}
		b.run(`INSERT INTO idempotency_keys (digest, fingerprint, status, header, body)
			SELECT sha256(uuid_send(id)), `+fingerprint+`, 201, jsonb_build_object('location', '/api/v1/orders/' || CASE WHEN $1 THEN id ELSE gen_random_uuid() END), '' FROM made`, traceparent == "")
		b.run(`DROP TABLE made`)
		b.books.accept(1, 2)
	}
	return b
}

// run runs SQL that must do something.
func (b booked) run(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err, sql)
}

func (b booked) hears(event, aggregate string, sequence int) {
	b.t.Helper()
	require.NoError(b.t, b.listener.note(time.Now(), event, fmt.Appendf(nil, `{"time":%q,"subject":%q,"sequence":"%d"}`, time.Now().Format(time.RFC3339Nano), aggregate, sequence)))
}

func TestTheAuditSeesEachBrokenPromise(t *testing.T) {
	t.Parallel()
	const mine = `(SELECT aggregate_id FROM outbox WHERE traceparent IS NULL ORDER BY id LIMIT 1)`
	for name, c := range map[string]struct {
		breaks func(booked)
		says   string
	}{
		"nothing": {func(booked) {}, ""},
		"an event that came twice": {func(b booked) {
			b.listener.heard = append(b.listener.heard, b.listener.heard[0])
		}, ""},
		"a retry that made a second order": {func(b booked) {
			b.run(`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)
				SELECT ` + newID + `, 'again', customer_key, customer_id, status, shipping_address, currency, total_minor, now(), now() FROM orders LIMIT 1`)
		}, "P1 is broken: 3 orders were accepted with 6 lines; there are 4 orders, 3 keys and 6 lines"},
		"an accepted order that is not there": {func(b booked) { b.books.accept(1, 1) }, "4 orders were accepted with 7 lines; there are 3 orders"},
		"a lost line":                         {func(b booked) { b.run(`DELETE FROM order_lines WHERE line = 2 AND order_id = ` + mine) }, "there are 3 orders, 3 keys and 5 lines"},
		"a key whose order is another's": {func(b booked) {
			b.run(`UPDATE idempotency_keys SET header = (SELECT header FROM idempotency_keys WHERE header ->> 'location' = '/api/v1/orders/' || ` + mine + `) WHERE fingerprint <> digest`)
		}, "P1 is broken: 2 orders do not have exactly one key"},
		"a repeat with other bytes": {func(b booked) { b.books.wrong = []string{"key x was answered differently"} }, "P1 is broken: key x"},
		"a unit sold twice": {func(b booked) {
			b.run(`UPDATE order_lines SET quantity = 2 WHERE line = 1 AND order_id = ` + mine)
		}, "P2 is broken: 1 products"},
		"a unit lost": {func(b booked) { b.run(`UPDATE inventory SET available = available - 1`) }, "P2 is broken: 3 products"},
		"an event that was told as another one": {func(b booked) {
			b.listener.heard[0].sequence++
		}, "P3 is broken: 1 events were heard that nobody stored so"},
		"an event that nobody heard": {func(b booked) {
			delete(b.listener.ids, b.listener.heard[0].id)
			b.listener.heard = b.listener.heard[1:]
		}, "P3 is broken: 2 events stored and 1 heard"},
		"an event that is not in the feed": {func(b booked) { b.run(`DELETE FROM feed WHERE number = 1`) }, "P3 is broken: 1 events are not in the feed exactly once"},
		"an event that is in the feed twice": {func(b booked) {
			b.run(`INSERT INTO feed (number, id, type, aggregate_id, payload) SELECT 9, id, type, aggregate_id, payload FROM feed WHERE number = 1`)
		}, "P3 is broken: 1 events are not in the feed exactly once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBooked(t)
			c.breaks(b)
			err := b.audit(t.Context())
			if c.says == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestEventsAreComparedOneByOne(t *testing.T) {
	t.Parallel()
	order := uuid.New()
	first, second := heard{uuid.New(), order, 1}, heard{uuid.New(), order, 2}
	stored := map[uuid.UUID]heard{first.id: first, second.id: second}
	assert.Empty(t, compareEvents(stored, []heard{first, second}))
	assert.Empty(t, compareEvents(stored, []heard{first, second, first}), "at least once")
	assert.Equal(t, []string{"P3 is broken: 1 events came after a later one of their aggregate"}, compareEvents(stored, []heard{second, first}))
	assert.Equal(t, []string{"P3 is broken: 1 events were never heard"}, compareEvents(stored, []heard{first}))
	assert.Equal(t, []string{"P3 is broken: 1 events were heard that nobody stored so"}, compareEvents(stored, []heard{first, second, {uuid.New(), uuid.New(), 1}}))
}
