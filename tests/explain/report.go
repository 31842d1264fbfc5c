package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
)

// hot are the statements that must have been seen, or the report would say nothing about them.
var hot = []string{
	"Orders.LockStock", "Orders.Prices", "Orders.Queued", "Orders.Tickets", "Orders.TakeStock", "Orders.Insert", "Orders.InsertLines",
	"Orders.Read", "Orders.Lock", "Orders.List", "Orders.Lines", "Orders.LockAll", "Orders.Cancel",
	"Idempotency.Find", "Idempotency.FindAll", "Idempotency.Save", "Idempotency.SaveAll",
	"Outbox.Insert", "Outbox.Lock", "Outbox.Released", "Outbox.Waiting", "Outbox.Pending", "Outbox.Mark",
	"Feed.Lock", "Feed.Take", "Feed.Number", "Feed.Read",
	"Catalog.Read", "Catalog.List", "Catalog.Search",
	"Carts.Create", "Carts.Lock", "Carts.Read", "Carts.Items", "Carts.Set", "Carts.Touch", "Carts.Product",
	"Webhooks.FanOut", "Webhooks.LeaseNext", "Webhooks.Succeed",
}

// wholeOnPurpose are statements that may read a table whole, with the table and the reason.
var wholeOnPurpose = map[string]string{
	// A search that finds hundreds joins them all with their stock before it ranks them; the page is cached.
	"Catalog.Search": "inventory",
}

// few is how many rows a table may have that is read whole.
const few = 500

// statement is a row of pg_stat_statements, all texts of one name together.
type statement struct {
	Name                 string
	Calls, Plans         int64
	Mean, Planning       float64 // ms
	Rows, Hit, Read, WAL float64 // each call
}

// report counts one round, explains another, and prints both.
func (s *stack) report(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "counting")
	if err := errors.Join(s.register(ctx), s.visit(ctx, 10)); err != nil { // so that every connection has its statements
		return err
	}
	if err := execute(ctx, s.admin, "SELECT pg_stat_statements_reset()", "SELECT pg_stat_reset()"); err != nil {
		return err
	}
	if err := s.visits(ctx, s.rounds); err != nil {
		return err
	}
	statements, err := s.statements(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "explaining")
	plans, raw, err := s.explained(ctx)
	if err != nil {
		return err
	}
	if s.plans != "" {
		if err := os.WriteFile(s.plans, raw, 0o600); err != nil { //nolint:gosec // where the caller wants it
			return fmt.Errorf("writing the plans: %w", err)
		}
	}
	if err := s.updates(ctx, out); err != nil { // before ANALYZE, which counts anew
		return err
	}
	rows, err := s.rows(ctx)
	if err != nil {
		return err
	}
	table(out, statements, plans, rows)
	return errors.Join(missing(statements, plans), whole(plans, rows))
}

func (s *stack) statements(ctx context.Context) ([]statement, error) {
	rows, err := s.admin.Query(ctx, `
		SELECT name, sum(calls)::bigint, sum(plans)::bigint, sum(total_exec_time) / sum(calls), COALESCE(sum(total_plan_time) / NULLIF(sum(plans), 0), 0),
			sum(rows)::float8 / sum(calls), sum(shared_blks_hit)::float8 / sum(calls), sum(shared_blks_read)::float8 / sum(calls), sum(wal_bytes)::float8 / sum(calls)
		FROM (SELECT *, substring(query FROM '^\s*/\* ([A-Za-z.]+) \*/') AS name FROM pg_stat_statements
			WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())) s
		WHERE name IS NOT NULL GROUP BY name ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("reading pg_stat_statements: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[statement])
	if err != nil {
		return nil, fmt.Errorf("reading pg_stat_statements: %w", err)
	}
	return list, nil
}

// explained has the server explain a round, and reads the plans from its log; raw has the last one of each statement.
func (s *stack) explained(ctx context.Context) (plans map[string][]plan, raw []byte, err error) {
	var file string
	var from int64
	if err := s.admin.QueryRow(ctx, `SELECT pg_current_logfile('jsonlog'), (pg_stat_file(pg_current_logfile('jsonlog'))).size`).Scan(&file, &from); err != nil {
		return nil, nil, fmt.Errorf("finding the server's log, which must run with --observe: %w", err)
	}
	if err := execute(ctx, s.admin, "ALTER SYSTEM SET auto_explain.log_min_duration = 0", "SELECT pg_reload_conf()"); err != nil {
		return nil, nil, err
	}
	if err := s.visits(ctx, 6); err != nil {
		return nil, nil, err
	}
	if err := execute(ctx, s.admin, "ALTER SYSTEM SET auto_explain.log_min_duration = -1", "SELECT pg_reload_conf()"); err != nil {
		return nil, nil, err
	}
	plans = map[string][]plan{}
	texts := map[string]json.RawMessage{}
	rest := ""
	for {
		var part string
		const step = 1 << 20
		// In bytes, so that a character at the end of a part can't break it.
		var bytes []byte
		if err := s.admin.QueryRow(ctx, `SELECT pg_read_binary_file($1, $2, $3)`, file, from, step).Scan(&bytes); err != nil {
			return nil, nil, fmt.Errorf("reading the server's log: %w", err)
		}
		part, from = rest+string(bytes), from+int64(len(bytes))
		lines := strings.Split(part, "\n")
		rest = lines[len(lines)-1]
		for _, line := range lines[:len(lines)-1] {
			if p, text, ok := logged(line); ok && name(p.Text) != "" {
				plans[name(p.Text)], texts[name(p.Text)] = append(plans[name(p.Text)], p), json.RawMessage(text)
			}
		}
		if len(bytes) < step {
			break
		}
	}
	if raw, err = json.MarshalIndent(texts, "", " "); err != nil {
		return nil, nil, fmt.Errorf("writing the plans: %w", err)
	}
	return plans, raw, nil
}

func table(out io.Writer, statements []statement, plans map[string][]plan, rows map[string]float64) {
	fmt.Fprintln(out, "\nPer call; planned is how many of the calls were planned anew, and what planning took then.")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "statement\tcalls\tms\tplanned\tms\trows\thit\tread\tWAL bytes\treaches tables by")
	for _, s := range statements {
		access := usual(plans[s.Name], rows)
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.0f %%\t%.3f\t%.1f\t%.1f\t%.1f\t%.0f\t%s\n", s.Name, s.Calls, s.Mean,
			100*float64(s.Plans)/float64(s.Calls), s.Planning, s.Rows, s.Hit, s.Read, s.WAL, access)
	}
	_ = w.Flush() // what cannot be printed cannot be reported either
}

// usual is how most of the plans reach the tables, and how many do otherwise.
func usual(plans []plan, rows map[string]float64) string {
	counts, most := map[string]int{}, ""
	for _, p := range plans {
		access := p.access(rows, few)
		counts[access]++
		if most == "" || counts[access] > counts[most] {
			most = access
		}
	}
	if others := len(plans) - counts[most]; others > 0 {
		return fmt.Sprintf("%s (and %.0f %% otherwise)", most, 100*float64(others)/float64(len(plans)))
	}
	return most
}

// updates prints how many updates of each table stayed heap-only, partitions together.
func (s *stack) updates(ctx context.Context, out io.Writer) error {
	rows, err := s.admin.Query(ctx, `
		SELECT COALESCE(p.relname, t.relname), sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(n_tup_del)::bigint
		FROM pg_stat_user_tables t LEFT JOIN pg_inherits i ON i.inhrelid = t.relid LEFT JOIN pg_class p ON p.oid = i.inhparent
		GROUP BY 1 HAVING sum(n_tup_ins + n_tup_upd + n_tup_del) > 0 ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("reading pg_stat_user_tables: %w", err)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "table\tinserted\tupdated\theap-only\tdeleted\t")
	var relation string
	var inserted, updated, hot, deleted int64
	_, err = pgx.ForEachRow(rows, []any{&relation, &inserted, &updated, &hot, &deleted}, func() error {
		share := "-"
		if updated > 0 {
			share = fmt.Sprintf("%.0f %%", 100*float64(hot)/float64(updated))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t\n", relation, inserted, updated, share, deleted)
		return nil
	})
	_ = w.Flush() // as above
	if err != nil {
		return fmt.Errorf("reading pg_stat_user_tables: %w", err)
	}
	return nil
}

// rows says how many each table holds.
func (s *stack) rows(ctx context.Context) (map[string]float64, error) {
	if err := execute(ctx, s.admin, "ANALYZE"); err != nil {
		return nil, err
	}
	rows, err := s.admin.Query(ctx, `SELECT relname, reltuples::float8 FROM pg_class WHERE relkind = 'r'`)
	if err != nil {
		return nil, fmt.Errorf("counting rows: %w", err)
	}
	all := map[string]float64{}
	var relation string
	var n float64
	if _, err := pgx.ForEachRow(rows, []any{&relation, &n}, func() error { all[relation] = n; return nil }); err != nil {
		return nil, fmt.Errorf("counting rows: %w", err)
	}
	return all, nil
}

// missing fails when a statement of the hot path was not seen.
func missing(statements []statement, plans map[string][]plan) error {
	var names []string
	for _, want := range hot {
		counted := slices.ContainsFunc(statements, func(s statement) bool { return s.Name == want })
		if _, explained := plans[want]; !counted || !explained {
			names = append(names, want)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("not seen, although they are on the hot path: %s", strings.Join(names, ", "))
}

// whole fails when a statement reads all of a table that grows.
func whole(plans map[string][]plan, live map[string]float64) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(plans)) {
		var tables []string
		for _, p := range plans[name] {
			for _, table := range p.wholes(live, few) {
				if table != wholeOnPurpose[name] {
					tables = append(tables, table)
				}
			}
		}
		if slices.Sort(tables); len(tables) > 0 {
			errs = append(errs, fmt.Errorf("%s reads all of %s", name, strings.Join(slices.Compact(tables), ", ")))
		}
	}
	return errors.Join(errs...)
}
