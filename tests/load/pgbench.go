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

// What pgbench runs: how an order's rows are sent, and what is ordered.
const (
	separate = "separate"
	spread   = "-spread"
	hot      = "-hot"
)

// script is one order in one transaction, in as few statements as an order needs: prepared, ids by the database's
// clock, stock taken in the order of product ids.
func script(s sample, numbers ...string) string {
	const id = `(left(uuidv7_floor(clock_timestamp())::text, 15) || right(gen_random_uuid()::text, 21))::uuid`
	product := func(number string) string {
		return `(SELECT id FROM products WHERE sku = 'load-' || (` + number + `)::int)`
	}
	var stock, lines []string
	for i, number := range numbers {
		stock = append(stock, `UPDATE inventory SET available = available - 1 WHERE product_id = `+product(number)+` AND available >= 1;`)
		lines = append(lines, fmt.Sprintf(`(:id::uuid, %d, %s, 'load-' || (%s)::int, 'Load', 1, 1999)`, i+1, product(number), number))
	}
	return strings.Join([]string{
		`\set a random(1, ` + strconv.Itoa(products/2) + `)`,
		`\set b :a + ` + strconv.Itoa(products/2),
		`BEGIN;`,
		`SELECT ` + id + ` AS id, ` + id + ` AS event, nextval('order_number_seq') AS number \gset`,
		strings.Join(stock, "\n"),
		`INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, created_at, updated_at)` +
			` VALUES (:id::uuid, (:number)::bigint::text, md5('customer')::uuid, 'customer', 'Pending', convert_from('\x` + s.address + `'::bytea, 'UTF8')::jsonb, 'USD', 3998, now(), now());`,
		`INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor) VALUES ` + strings.Join(lines, ", ") + `;`,
		`INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at, traceparent)` +
			` VALUES (:event::uuid, 0, 'order', :id::uuid, 1, '` + s.eventType + `', '\x` + s.payload + `'::bytea, now(), now(), 'pgbench');`, // sent: nobody shall drain them
		`INSERT INTO idempotency_keys (digest, fingerprint, status, header, body)` +
			` VALUES (sha256(uuid_send(:id::uuid)), sha256(uuid_send(:id::uuid)), 201, convert_from('\x` + s.header + `'::bytea, 'UTF8')::jsonb, '\x` + s.body + `'::bytea);`,
		`COMMIT;`, ``,
	}, "\n")
}

// prepareReference writes pgbench's scripts after the rows of the one order that the service has placed.
func prepareReference(ctx context.Context, db *pgx.Conn, dir string) error {
	var s sample
	if err := db.QueryRow(ctx, sampleSQL).Scan(&s.address, &s.eventType, &s.payload, &s.header, &s.body); err != nil {
		return fmt.Errorf("reading the rows of an order: %w", err)
	}
	for name, text := range map[string]string{
		separate + spread: script(s, ":a", ":b"), separate + hot: script(s, strconv.Itoa(products+1)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".sql"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing pgbench's script: %w", err)
		}
	}
	return nil
}

// pgbenchRun runs a script on so many connections, and keeps the books.
func (s *stack) pgbenchRun(ctx context.Context, name string, connections int, duration time.Duration) (result, error) {
	prefix := filepath.Join(s.dir, "latency")
	cmd := exec.CommandContext(ctx, s.pgbench, "-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(connections, runtime.NumCPU())), //nolint:gosec // found by us
		"-T", strconv.Itoa(int(duration.Seconds())), "-f", filepath.Join(s.dir, name+".sql"), "-l", "--log-prefix", prefix, s.app)
	began := time.Now()
	said, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("running pgbench: %w\n%s", err, said)
	}
	r := result{latencies: newHistogram(3), took: min(time.Since(began), duration)}
	logs, _ := filepath.Glob(prefix + ".*") // the pattern is well-formed
	for _, name := range logs {
		raw, err := os.ReadFile(name) //nolint:gosec // pgbench just wrote it
		if err == nil {
			err = readLog(&r, string(raw))
		}
		if err = errors.Join(err, os.Remove(name)); err != nil { //nolint:gosec // pgbench just wrote it
			return result{}, fmt.Errorf("reading pgbench's log: %w", err)
		}
	}
	if r.all(good) == 0 {
		return result{}, fmt.Errorf("pgbench placed no order: %s", said)
	}
	lines := 1
	if strings.HasSuffix(name, spread) {
		lines = 2
	}
	s.books.accept(r.all(good), lines*r.all(good))
	r.cpu = append(r.cpu, usage{"pgbench", cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()})
	return r, nil
}

// readLog counts the transactions of a log: the third number of each line is how long one took, in microseconds.
func readLog(r *result, log string) error {
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return fmt.Errorf("line %q has no latency", strings.TrimSpace(line))
		}
		us, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return fmt.Errorf("line %q has no latency: %w", strings.TrimSpace(line), err)
		}
		if err := record(r.latencies, time.Duration(us)*time.Microsecond); err != nil {
			return err
		}
		r.counts[placeOrder][good]++
	}
	return nil
}
