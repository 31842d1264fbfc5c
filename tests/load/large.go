package main

import (
	"context"
	"fmt"
	"time"
)

// The large database.
const (
	largeProducts = 10_000
	largeBar      = 80.0 // percent of the small database's rate
	generated     = "generated"
)

// fillSQL stores orders as the service would have, spread over customers, products and the last day, with their lines,
// events that were sent, feed rows and keys. %s are the widths of a real order's rows. The ids are UUIDv7 of their times.
var fillSQL = []string{
	`CREATE TEMP TABLE filled AS SELECT n,
		(left(uuidv7_floor(at)::text, 15) || right(gen_random_uuid()::text, 21))::uuid AS id,
		(left(uuidv7_floor(at)::text, 15) || right(gen_random_uuid()::text, 21))::uuid AS event,
		at, 1 + (random() * ($2::int / 2 - 1))::int AS a, 'customer-' || lpad((n % $3::int)::text, 8, '0') AS customer
	FROM (SELECT n, now() - interval '1 minute' - interval '22 hours' * ($1::int - n) / $1::int AS at FROM generate_series(1, $1::int) n) s`,
	`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)
	SELECT f.id, 'G' || f.n, md5(f.customer)::uuid, f.customer, 'Confirmed', s.shipping_address, 'USD', 3998, f.at, f.at
	FROM filled f, (SELECT shipping_address FROM load_sample) s`,
	`INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor)
	SELECT f.id, l, p.id, p.sku, p.name, 1, 1999 FROM filled f CROSS JOIN generate_series(1, 2) l
	JOIN products p ON p.sku = 'load-' || (f.a + CASE l WHEN 2 THEN $1::int / 2 ELSE 0 END)`,
	`UPDATE inventory i SET available = i.initial - s.sold FROM stock_ledger s
	WHERE s.product_id = i.product_id AND s.sold > 0`,
	`INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at, traceparent)
	SELECT f.event, f.n % 32, 'order', f.id, 1, s.type, s.payload, f.at, f.at, '` + generated + `' FROM filled f, load_sample s`,
	`INSERT INTO feed (number, id, type, aggregate_id, payload, published_at)
	SELECT c.last + f.n, f.event, s.type, f.id, s.payload, f.at FROM filled f, load_sample s, feed_counter c`,
	`UPDATE feed_counter SET last = last + (SELECT max(n) FROM filled)`,
	`INSERT INTO idempotency_keys (digest, fingerprint, status, header, body, created_at, expires_at)
	SELECT sha256(uuid_send(f.id)), sha256(uuid_send(f.id)), 201, s.header, s.body, f.at, f.at + interval '24 hours' FROM filled f, load_sample s`,
	`DROP TABLE filled`,
}

// fill makes the database as large as a shop's after a busy day.
func (s *stack) fill(ctx context.Context, orders int) error {
	began := time.Now()
	s.say("storing %d orders of %d products in the large database", orders, largeProducts)
	// The load itself need not survive a crash, and no event of it concerns anybody.
	if _, err := s.db.Exec(ctx, `SET synchronous_commit = off; SET work_mem = '256MB'; CREATE TEMP TABLE load_sample AS
		SELECT o.shipping_address, e.type, e.payload, k.header, k.body FROM orders o JOIN outbox e ON e.aggregate_id = o.id, idempotency_keys k LIMIT 1`); err != nil {
		return fmt.Errorf("filling the database: %w", err)
	}
	for i, sql := range fillSQL {
		args := []any{}
		switch i {
		case 0:
			args = append(args, orders, largeProducts, s.customers.count)
		case 2:
			args = append(args, largeProducts)
		}
		if _, err := s.db.Exec(ctx, sql, args...); err != nil {
			return fmt.Errorf("filling the database, statement %d: %w", i+1, err)
		}
	}
	if _, err := s.db.Exec(ctx, `DROP TABLE load_sample; RESET synchronous_commit; RESET work_mem`); err != nil {
		return fmt.Errorf("filling the database: %w", err)
	}
	for _, sql := range []string{`VACUUM ANALYZE`, `CHECKPOINT`} {
		if err := execute(ctx, s.superuser(), sql); err != nil {
			return fmt.Errorf("filling the database: %s: %w", sql, err)
		}
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
