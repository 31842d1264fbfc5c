package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// audit compares the database and what was heard on the topic with what was answered. Each broken promise is told.
func (s *stack) audit(ctx context.Context) error {
	var broken []error
	for _, check := range []func(context.Context) ([]string, error){s.auditOrders, s.auditStock, s.auditEvents} {
		found, err := check(ctx)
		if err != nil {
			return fmt.Errorf("checking the books of the %s stack: %w", s.name, err)
		}
		for _, what := range found {
			broken = append(broken, fmt.Errorf("%s stack: %s", s.name, what))
		}
	}
	return errors.Join(broken...)
}

// countsSQL counts orders, and keys that hold the answer of an order. pgbench and the generator make their keys from
// the order's id; the service's own say where the order is.
const countsSQL = `SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_lines),
	(SELECT count(*) FROM idempotency_keys WHERE status = 201 AND header ->> 'location' LIKE '/api/v1/orders/%')`

// unkeyedSQL counts orders that no key, or more than one, stands for.
const unkeyedSQL = `WITH keys AS (
	SELECT CASE WHEN fingerprint = digest THEN digest ELSE sha256(uuid_send(split_part(header ->> 'location', '/', 5)::uuid)) END AS order_digest
	FROM idempotency_keys WHERE status = 201 AND header ->> 'location' LIKE '/api/v1/orders/%')
SELECT count(*) FROM (
	SELECT FROM (SELECT sha256(uuid_send(id)) AS order_digest FROM orders) o FULL JOIN keys USING (order_digest)
	GROUP BY order_digest HAVING count(o.*) <> 1 OR count(keys.*) <> 1) wrong`

// auditOrders is P1: one effect per key.
func (s *stack) auditOrders(ctx context.Context) (broken []string, err error) {
	var orders, lines, keys, unkeyed int64
	if err := s.db.QueryRow(ctx, countsSQL).Scan(&orders, &lines, &keys); err != nil {
		return nil, err
	}
	if err := s.db.QueryRow(ctx, unkeyedSQL).Scan(&unkeyed); err != nil {
		return nil, err
	}
	accepted, acceptedLines := s.books.accepted.Load(), s.books.lines.Load()
	if orders != accepted || keys != accepted || lines != acceptedLines {
		broken = append(broken, fmt.Sprintf("P1 is broken: %d orders were accepted with %d lines; there are %d orders, %d keys and %d lines",
			accepted, acceptedLines, orders, keys, lines))
	}
	if unkeyed != 0 {
		broken = append(broken, fmt.Sprintf("P1 is broken: %d orders do not have exactly one key", unkeyed))
	}
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	for _, wrong := range s.books.wrong {
		broken = append(broken, "P1 is broken: "+wrong)
	}
	return broken, nil
}

// auditStock is P2: no unit sold twice, none lost.
func (s *stack) auditStock(ctx context.Context) ([]string, error) {
	var wrong int
	err := s.db.QueryRow(ctx, `SELECT count(*) FROM stock_ledger WHERE initial <> available + sold OR available < 0`).Scan(&wrong)
	if err != nil || wrong == 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("P2 is broken: %d products whose stock is not what was put in less what was sold", wrong)}, nil
}

// ownEvents are the events that the service has stored: pgbench's and the generator's rows count as sent from the start.
const ownEvents = `FROM outbox WHERE traceparent IS NULL OR traceparent NOT IN ('pgbench', '` + generated + `')`

// auditEvents is P3: each stored event was heard under its id, in the order of its aggregate, and is in the feed once.
func (s *stack) auditEvents(ctx context.Context) ([]string, error) {
	if err := s.allHeard(ctx); err != nil {
		return nil, err
	}
	rows, err := s.db.Query(ctx, `SELECT id, aggregate_id, sequence `+ownEvents)
	if err != nil {
		return nil, err
	}
	stored := map[uuid.UUID]heard{}
	var h heard
	if _, err = pgx.ForEachRow(rows, []any{&h.id, &h.aggregate, &h.sequence}, func() error {
		stored[h.id] = h
		return nil
	}); err != nil {
		return nil, err
	}
	var came []heard
	err = s.ask(ctx, http.MethodGet, "/heard", func(r io.Reader) error {
		for lines := bufio.NewReader(r); ; {
			var h heard
			var id, aggregate string
			if _, err := fmt.Fscanln(lines, &id, &aggregate, &h.sequence); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("reading what was heard: %w", err)
			}
			var errs [2]error
			h.id, errs[0] = uuid.Parse(id)
			h.aggregate, errs[1] = uuid.Parse(aggregate)
			if err := errors.Join(errs[:]...); err != nil {
				return fmt.Errorf("reading what was heard: %w", err)
			}
			came = append(came, h)
		}
	})
	if err != nil {
		return nil, err
	}
	s.books.heard = len(stored)
	broken := compareEvents(stored, came)
	missing, err := s.missingInFeed(ctx)
	if err == nil && missing != 0 {
		broken = append(broken, fmt.Sprintf("P3 is broken: %d events are not in the feed exactly once", missing))
	}
	return broken, err
}

// compareEvents says how what was heard differs from what was stored. An event may be heard twice, as the promise is
// at least once, but for the first time only after its aggregate's earlier ones.
func compareEvents(stored map[uuid.UUID]heard, came []heard) (broken []string) {
	first := map[uuid.UUID]bool{}
	last := map[uuid.UUID]int64{}
	strange, late := 0, 0
	for _, h := range came {
		if first[h.id] {
			continue
		}
		first[h.id] = true
		if stored[h.id] != h {
			strange++
		}
		if h.sequence <= last[h.aggregate] {
			late++
		}
		last[h.aggregate] = h.sequence
	}
	lost := 0
	for id := range stored {
		if !first[id] {
			lost++
		}
	}
	for what, n := range map[string]int{"were never heard": lost, "were heard that nobody stored so": strange, "came after a later one of their aggregate": late} {
		if n > 0 {
			broken = append(broken, fmt.Sprintf("P3 is broken: %d events %s", n, what))
		}
	}
	return broken
}

// missingInFeed counts events that the feed lacks or has twice; the assigner gets some time to number the last ones.
func (s *stack) missingInFeed(ctx context.Context) (missing int, err error) {
	const sql = `SELECT count(*) FROM (SELECT id, count(f.id) FROM (SELECT id ` + ownEvents + `) o LEFT JOIN feed f USING (id) GROUP BY id HAVING count(f.id) <> 1) wrong`
	for deadline := time.Now().Add(s.patience); ; time.Sleep(200 * time.Millisecond) { // between two looks at many rows
		if err = s.db.QueryRow(ctx, sql).Scan(&missing); err != nil || missing == 0 || time.Now().After(deadline) {
			return missing, err
		}
	}
}
