package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// findPgbench looks on PATH, then beside the server's binaries, where Debian keeps it.
func findPgbench() (string, error) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench") // the pattern is well-formed
	if len(found) == 0 {
		return "", errors.New("there is no pgbench: it comes with PostgreSQL's server or contrib package; install it or put it on PATH")
	}
	return found[len(found)-1], nil
}

// sample is an order's rows as the service wrote them, as hexadecimal text where pgbench would take a colon for a
// variable, so that the reference writes rows of the same width.
type sample struct {
	address, eventType, payload, header, body string
}

const sampleSQL = `SELECT encode(convert_to(o.shipping_address::text, 'UTF8'), 'hex'), e.type, encode(e.payload, 'hex'),
	encode(convert_to(k.header::text, 'UTF8'), 'hex'), encode(k.body, 'hex')
FROM orders o JOIN outbox e ON e.aggregate_id = o.id, idempotency_keys k LIMIT 1`

// script is one order in one transaction, in as few statements as an order needs: prepared, ids by the database's
// clock, stock taken in the order of product ids.
func script(s sample) string {
	const id = `(left(uuidv7_floor(clock_timestamp())::text, 15) || right(gen_random_uuid()::text, 21))::uuid`
	product := func(variable string) string {
		return `(SELECT id FROM products WHERE sku = 'load-' || (:` + variable + `)::int)`
	}
	line := func(number, variable string) string {
		return `(:id::uuid, ` + number + `, ` + product(variable) + `, 'load-' || (:` + variable + `)::int, 'Load', 1, 1999)`
	}
	half := strconv.Itoa(products / 2)
	return strings.Join([]string{
		`\set a random(1, ` + half + `)`,
		`\set b :a + ` + half,
		`BEGIN;`,
		`SELECT ` + id + ` AS id, ` + id + ` AS event, nextval('order_number_seq') AS number \gset`,
		`UPDATE inventory SET available = available - 1 WHERE product_id = ` + product("a") + ` AND available >= 1;`,
		`UPDATE inventory SET available = available - 1 WHERE product_id = ` + product("b") + ` AND available >= 1;`,
		`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)` +
			` VALUES (:id::uuid, (:number)::bigint::text, md5('customer')::uuid, 'customer', 'Pending', convert_from('\x` + s.address + `'::bytea, 'UTF8')::jsonb, 'USD', 3998, now(), now());`,
		`INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor) VALUES ` + line("1", "a") + `, ` + line("2", "b") + `;`,
		`INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at, traceparent)` +
			` VALUES (:event::uuid, 0, 'order', :id::uuid, 1, '` + s.eventType + `', '\x` + s.payload + `'::bytea, now(), now(), 'pgbench');`, // sent: nobody shall drain them
		`INSERT INTO idempotency_keys (digest, fingerprint, status, header, body)` +
			` VALUES (sha256(uuid_send(:id::uuid)), sha256(uuid_send(:id::uuid)), 201, convert_from('\x` + s.header + `'::bytea, 'UTF8')::jsonb, '\x` + s.body + `'::bytea);`,
		`COMMIT;`, ``,
	}, "\n")
}

// prepareReference writes pgbench's script after the rows of the one order that the service has placed.
func prepareReference(ctx context.Context, db *pgx.Conn, dir string) error {
	var s sample
	if err := db.QueryRow(ctx, sampleSQL).Scan(&s.address, &s.eventType, &s.payload, &s.header, &s.body); err != nil {
		return fmt.Errorf("reading the rows of an order: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "order.sql"), []byte(script(s)), 0o600); err != nil {
		return fmt.Errorf("writing pgbench's script: %w", err)
	}
	return nil
}

// pgbench runs the script on as many connections as the load generator has.
func pgbench(ctx context.Context, o options, program, dir, database string) (result, error) {
	n := strconv.Itoa(o.connections)
	prefix := filepath.Join(dir, "latency")
	cmd := exec.CommandContext(ctx, program, "-n", "-M", "prepared", "-c", n, "-j", strconv.Itoa(min(o.connections, runtime.NumCPU())), //nolint:gosec // found by us
		"-T", strconv.Itoa(int(o.duration.Seconds())), "-f", filepath.Join(dir, "order.sql"), "-l", "--log-prefix", prefix, database)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("running pgbench: %w\n%s", err, said)
	}
	logs, _ := filepath.Glob(prefix + ".*") // the pattern is well-formed
	var latencies []time.Duration
	for _, name := range logs {
		raw, err := os.ReadFile(name) //nolint:gosec // pgbench just wrote it
		if err == nil {
			latencies, err = readLog(latencies, string(raw))
		}
		if err = errors.Join(err, os.Remove(name)); err != nil { //nolint:gosec // pgbench just wrote it
			return result{}, fmt.Errorf("reading pgbench's log: %w", err)
		}
	}
	return summarize(latencies, 0, o.duration)
}

// readLog appends the latencies of a log: the third number of each line, in microseconds.
func readLog(latencies []time.Duration, log string) ([]time.Duration, error) {
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %q has no latency", strings.TrimSpace(line))
		}
		us, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %q has no latency: %w", strings.TrimSpace(line), err)
		}
		latencies = append(latencies, time.Duration(us)*time.Microsecond)
	}
	return latencies, nil
}
