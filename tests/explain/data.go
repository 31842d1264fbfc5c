package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/pgserver"
)

// fill makes a shop's data: a catalog, and orders of the last two months that are spread over 5,000 customers, with their
// lines, keys and sent events. Ids carry the times, as the service makes them, so rows lie in the partitions of their time.
func fill(ctx context.Context, db *pgx.Conn, o options) error {
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{`SET ROLE ` + pgserver.Owner, nil},
		{`SET timezone = 'UTC'`, nil},
		{`SELECT ensure_partition(parent, month, month + interval '1 month', to_char(month, 'YYYYMM')) FROM unnest(ARRAY['orders', 'order_lines']) parent,
			generate_series(date_trunc('month', now() - interval '61 days'), now(), '1 month') month`, nil},
		{`CREATE FUNCTION id_at(ts timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS
			$$ SELECT overlay(uuidv7_floor(ts)::text PLACING substr(gen_random_uuid()::text, 15) FROM 15)::uuid $$`, nil},
		{`INSERT INTO products (id, sku, name, description, category, price_minor, currency)
			SELECT ('018cc251-f400-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'SKU-' || n,
				(ARRAY['Running','Hiking','Camping','Cycling','Kitchen','Garden'])[1 + n % 6] || ' ' || (ARRAY['Shoes','Jacket','Lamp','Tent','Bottle'])[1 + n % 5] || ' ' || n,
				'Made for wet mornings, number ' || n || ' of its kind, ' || repeat(md5(n::text) || ' ', 8),
				'Category ' || n % 40, 1000 + n % 9000, 'USD' FROM generate_series(1, $1::int) n`, []any{o.products}},
		{`INSERT INTO inventory (product_id, initial, available) SELECT id, 1000000000, 1000000000 FROM products`, nil},
		{`CREATE TEMP TABLE made AS SELECT n, at, id_at(at) AS id, md5((n % 5000)::text)::uuid AS customer
			FROM (SELECT n, now() - (n::float8 / $1 * 60) * interval '1 day' AS at FROM generate_series(0, $1::int - 1) n) t`, []any{o.orders}},
		{`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)
			SELECT id, 'N-' || n, customer, 'customer-' || n % 5000, CASE WHEN at > now() - interval '15 minutes' THEN 'Pending' ELSE 'Confirmed' END,
				'{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"}', 'USD', 5997, at, at FROM made`, nil},
		{`INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor)
			SELECT m.id, l, p.id, p.sku, p.name, 1, p.price_minor FROM made m CROSS JOIN generate_series(1, 3) l
			JOIN products p ON p.id = ('018cc251-f400-7000-8000-' || lpad(to_hex(1 + (m.n * 7 + l * 13) % $1), 12, '0'))::uuid`, []any{o.products}},
		{`INSERT INTO idempotency_keys (digest, fingerprint, status, header, body, created_at, expires_at)
			SELECT sha256(convert_to(n::text, 'UTF8')), sha256(convert_to(n::text, 'UTF8')), 201, '{}', convert_to(repeat(md5(n::text), 20), 'UTF8'),
				now() - (n::float8 / $1) * interval '1 day', now() + (1 - n::float8 / $1) * interval '1 day' FROM made`, []any{float64(o.orders)}},
		// The events of the three days that the outbox keeps, all sent.
		{`INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at)
			SELECT id_at(at), n % 32, 'order', id, 1, 'order.created.v1', convert_to(repeat(md5(n::text), 24), 'UTF8'), at, at
			FROM (SELECT n, id, now() - (n::float8 / $1) * interval '1 day' AS at FROM made) m`, []any{float64(o.orders)}},
		{`INSERT INTO feed (number, id, type, aggregate_id, payload, published_at)
			SELECT row_number() OVER (ORDER BY id), id, type, aggregate_id, payload, processed_at FROM outbox`, nil},
		{`UPDATE feed_counter SET last = $1`, []any{o.orders}},
		{`INSERT INTO carts (id, customer_key, session_id) SELECT id, customer, 'session-' || n FROM made WHERE n < $1::int / 2`, []any{o.orders}},
		{`INSERT INTO cart_items (cart_id, product_id, quantity)
			SELECT m.id, ('018cc251-f400-7000-8000-' || lpad(to_hex(1 + (m.n + l) % $2), 12, '0'))::uuid, 1
			FROM made m CROSS JOIN generate_series(1, 2) l WHERE n < $1::int / 2`, []any{o.orders, o.products}},
		// A shop that left long ago was told of all of them.
		{`INSERT INTO webhook_events (event_id, type, aggregate_id, payload) SELECT id, type, aggregate_id, payload FROM outbox`, nil},
		{`INSERT INTO webhook_deliveries (event_id, endpoint_id, status, attempts)
			SELECT id, '018cc251-f400-7000-8000-00000000dead', 'succeeded', 1 FROM outbox`, nil},
		{`RESET ROLE`, nil},
	} {
		if _, err := db.Exec(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("making data: %w\n%s", err, step.sql)
		}
	}
	return vacuum(ctx, db)
}

// vacuum does what autovacuum would have done by now, and no more: a table that was never written has no statistics, and
// the planner takes such a one for ten pages. One that was counted and found empty it reads whole.
func vacuum(ctx context.Context, db *pgx.Conn) error {
	rows, err := db.Query(ctx, `SELECT oid::regclass::text FROM pg_class
		WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0`)
	if err != nil {
		return fmt.Errorf("listing tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("listing tables: %w", err)
	}
	return execute(ctx, db, "VACUUM ANALYZE "+strings.Join(tables, ", "))
}
