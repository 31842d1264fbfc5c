package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// The large database.
const (
	largeProducts = 10_000
	largeBar      = 80.0 // percent of the small database's rate
	generated     = "generated"
)

// drawSQL draws the orders that are to be stored, spread over customers, products and the last day. Their ids are
// UUIDv7 of their times.
const drawSQL = `CREATE UNLOGGED TABLE load_drawn AS SELECT n,
	(left(uuidv7_floor(at)::text, 15) || right(gen_random_uuid()::text, 21))::uuid AS id,
	(left(uuidv7_floor(at)::text, 15) || right(gen_random_uuid()::text, 21))::uuid AS event,
	at, 1 + (random() * ($2::int / 2 - 1))::int AS a, 'customer-' || lpad((n % $3::int)::text, 8, '0') AS customer
FROM (SELECT n, now() - interval '1 minute' - interval '22 hours' * ($1::int - n) / $1::int AS at FROM generate_series(1, $1::int) n) s`

// patternSQL keeps the rows of a real order, so that the stored ones are as wide.
const patternSQL = `CREATE UNLOGGED TABLE load_pattern AS
SELECT o.shipping_address, e.type, e.payload, k.header, k.body FROM orders o JOIN outbox e ON e.aggregate_id = o.id, idempotency_keys k LIMIT 1`

// fillSQL stores them as the service would have, with lines, events that were sent, feed rows and keys. The groups are
// independent of each other, and are filled side by side.
var fillSQL = [][]string{
	{
		`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)
		SELECT d.id, 'G' || d.n, md5(d.customer)::uuid, d.customer, 'Confirmed', p.shipping_address, 'USD', 3998, d.at, d.at FROM load_drawn d, load_pattern p`,
		`INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor)
		SELECT d.id, l, p.id, p.sku, p.name, 1, 1999 FROM load_drawn d CROSS JOIN generate_series(1, 2) l
		JOIN products p ON p.sku = 'load-' || (d.a + CASE l WHEN 2 THEN ` + strconv.Itoa(largeProducts/2) + ` ELSE 0 END)`,
		`UPDATE inventory i SET available = i.initial - s.sold FROM stock_ledger s WHERE s.product_id = i.product_id AND s.sold > 0`,
	},
	{
		`INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at, traceparent)
		SELECT d.event, d.n % 32, 'order', d.id, 1, p.type, p.payload, d.at, d.at, '` + generated + `' FROM load_drawn d, load_pattern p`,
		`WITH drawn AS (SELECT max(n) AS most FROM load_drawn),
		counter AS (UPDATE feed_counter SET last = last + most FROM drawn RETURNING last - most AS base)
		INSERT INTO feed (number, id, type, aggregate_id, payload, published_at)
		SELECT c.base + d.n, d.event, p.type, d.id, p.payload, d.at FROM load_drawn d, load_pattern p, counter c`,
	},
	{
		`INSERT INTO idempotency_keys (digest, fingerprint, status, header, body, created_at, expires_at)
		SELECT sha256(uuid_send(d.id)), sha256(uuid_send(d.id)), 201, p.header, p.body, d.at, d.at + interval '24 hours' FROM load_drawn d, load_pattern p`,
	},
}

// fill makes the database as large as a shop's after a busy day.
func (s *stack) fill(ctx context.Context, orders int) error {
	began := time.Now()
	s.say("storing %d orders of %d products in the large database", orders, largeProducts)
	if _, err := s.db.Exec(ctx, patternSQL); err != nil {
		return fmt.Errorf("filling the database: %w", err)
	}
	if _, err := s.db.Exec(ctx, drawSQL, orders, largeProducts, s.customers.count); err != nil {
		return fmt.Errorf("filling the database: %w", err)
	}
	groups, filling := errgroup.WithContext(ctx)
	for _, group := range fillSQL {
		groups.Go(func() error {
			// What is stored here need not survive a crash: no commit waits for the disk.
			return execute(filling, s.db.Config().ConnString(), append([]string{`SET synchronous_commit = off`, `SET work_mem = '256MB'`}, group...)...)
		})
	}
	if err := groups.Wait(); err != nil {
		return fmt.Errorf("filling the database: %w", err)
	}
	if err := execute(ctx, s.superuser(), `DROP TABLE load_drawn, load_pattern`, `VACUUM ANALYZE`, `CHECKPOINT`); err != nil {
		return fmt.Errorf("filling the database: %w", err)
	}
	s.books.accept(orders, 2*orders)
	s.say("    stored in %s", time.Since(began).Round(time.Second))
	return nil
}

// largeOrder asks for two of the ten thousand products.
func largeOrder(w *worker) {
	first := 1 + w.rand.IntN(largeProducts/2)
	w.placeOrder(first, first+largeProducts/2)
}

// largeRun compares orders a second with a large database and with a small one.
type largeRun struct {
	orders       int
	small, large []float64 // orders a second, by round
}

// share is the large database's rate in percent of the small one's.
func (l *largeRun) share() float64 { return 100 * median(l.large) / median(l.small) }

// measureLarge fills a database and measures it and the small one in turn.
func (b *bench) measureLarge(ctx context.Context) error {
	s, err := b.start(ctx, settings{name: "large", products: largeProducts, redis: 2})
	if err != nil {
		return err
	}
	b.largeStack = s
	if err := s.fill(ctx, b.largeOrders); err != nil {
		return err
	}
	b.large = &largeRun{orders: b.largeOrders}
	for round := range 2 * b.rounds {
		if err := b.customers.sign(); err != nil {
			return err
		}
		for _, of := range []struct {
			stack *stack
			next  func(*worker)
			rates *[]float64
		}{{b.direct, spreadOrder, &b.large.small}, {s, largeOrder, &b.large.large}} {
			r, err := closed(ctx, of.stack.target(), b.connections, b.duration, of.next)
			if err != nil {
				return err
			}
			*of.rates = append(*of.rates, r.rate())
			if err := of.stack.rest(ctx); err != nil {
				return err
			}
		}
		b.say("large database, round %d/%d: %.0f/s, the small one %.0f/s", round+1, 2*b.rounds, b.large.large[round], b.large.small[round])
	}
	return nil
}
