package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// report prints what was measured, and writes it down where --docs says.
func (b *bench) report(ctx context.Context) error {
	bars := b.bars()
	tables := b.tables()
	for _, t := range tables {
		t.print(b.out)
	}
	held := barTable(bars)
	held.print(b.out)
	fmt.Fprintf(b.out, "\n%s\n", b.promises())
	if b.docs != "" {
		if err := b.write(ctx, tables, held); err != nil {
			return fmt.Errorf("writing %s: %w", b.docs, err)
		}
		b.say("written: %s and its pictures", filepath.Join(b.docs, "benchmarks.md"))
	}
	if !b.strict {
		return nil
	}
	for _, one := range bars {
		if !one.held {
			return fmt.Errorf("bar missed: %s must be %s and was %s", one.what, one.must, one.was)
		}
	}
	return nil
}

func (b *bench) tables() []table {
	return []table{
		b.phaseTable(), b.costTable(), b.topicTable(), b.curveTable(spread, "two of 200 products each"), b.curveTable(hot, "one hot product"), b.mixedTable(), b.overloadTable(), b.tracingTable(),
	}
}

// promises says what the audit has found, which is that they hold: else the run has ended before.
func (b *bench) promises() string {
	var orders, events int64
	for _, s := range append([]*stack{b.direct, b.hosted, b.largeStack}, b.tracingStacks...) {
		if s != nil {
			orders, events = orders+s.books.accepted.Load(), events+int64(s.books.heard)
		}
	}
	return fmt.Sprintf("The books hold on all that this run wrote: %d orders accepted (pgbench's and generated ones with them), each stored once under one key with its lines (P1); "+
		"stock_ledger is right for every product (P2); %d events of the service heard on the topic, each in its aggregate's order, and in the feed once (P3).", orders, events)
}

const preamble = `# Benchmarks

Written by the benchmark itself (tests/load), all of it from one run. Everything shares one machine: generator, handler,
PostgreSQL (fsync and synchronous_commit on), Redis, the broker, a listener to the topic and, in the mixed run, the stand-in for
the Functions host. A number means little without the reference beside it, which was measured in the same run. After each
run the books are checked on the data that it wrote, and a broken promise fails it.

`

const explained = `
## What is compared

- **pgbench** places the same rows, one order per transaction: with a statement for each table (` + "`pgbench`" + `), and all in
  one statement with guarded stock (` + "`pgbench-one`" + `), which saves all round trips but one. It checks no token, reads no JSON
  and sends no event.
- **bare net/http** answers every request with the bytes of the product that the service answers with.
- **The mixed run** has the profile of the fleet that this service replaces, 127,000 requests a minute: 70 % products by
  popularity (Zipf), 6 % pages, 4 % searches, 10 % carts (make, put, read), 10 % orders, of which 0.5 % repeat an earlier
  key and must get the same bytes. Its requests arrive when they arrive: latency counts from the arrival also when an earlier
  answer was late. It goes through the local host, as in production it would go through the real one.
- **The overload run** sends orders at half of the peak, then at three times the peak, then at half again. The peak is the mean
  of one before and one after, each over as long a time as the burst, and an order counts in the second in which it was
  placed. Arrivals share connections, as behind a gateway, and wait for a free one; most of a burst's latency is that wait.
  It happens three times, since the machine's speed changes from one quarter of a minute to the next: of goodput the median
  counts, of the time until all is normal the longest.
- **Tracing** compares three handlers, each on a database of its own: no collector, one that takes all, one that takes
  connections and hangs. They take turns in short rounds; ratios are medians of those within each round.
- **The large database** has its orders spread over a day, with lines, keys, events and feed; rounds alternate with the small one.
- **Processor time** is read from /proc for each process, and divided by the answers that were as they should be.
  [performance.md](performance.md) has it by part of the handler, for orders and for GraphQL.

`

// write writes the document and its pictures.
func (b *bench) write(ctx context.Context, tables []table, held table) error {
	images := filepath.Join(b.docs, "images")
	if err := os.MkdirAll(images, 0o755); err != nil { //nolint:gosec // documents for everybody
		return err
	}
	var doc bytes.Buffer
	doc.WriteString(preamble)
	fmt.Fprintf(&doc, "```sh\nmake bench DOCS=docs\n```\n\n%s\n\n## Bars\n\n", b.circumstances(ctx))
	held.title = "The bars of the design, held or missed:"
	held.markdown(&doc)
	fmt.Fprintf(&doc, "%s\n\n## Numbers\n\n", b.promises())
	for _, t := range tables {
		t.markdown(&doc)
	}
	if top := b.best(curveOurs, spread); top.rate > 0 {
		fmt.Fprintf(&doc, "Best against best, each at its own number of clients, 200 products: ours %.0f/s (%d), pgbench %.0f/s (%d) with separate statements and %.0f/s (%d) with one. ",
			top.rate, top.clients, b.best(curveSeparate, spread).rate, b.best(curveSeparate, spread).clients, b.best(curveSingle, spread).rate, b.best(curveSingle, spread).clients)
		fmt.Fprintf(&doc, "One hot product: %.0f/s (%d), %.0f/s (%d) and %.0f/s (%d).\n\n", b.best(curveOurs, hot).rate, b.best(curveOurs, hot).clients,
			b.best(curveSeparate, hot).rate, b.best(curveSeparate, hot).clients, b.best(curveSingle, hot).rate, b.best(curveSingle, hot).clients)
	}
	doc.WriteString("## Pictures\n\n")
	for _, p := range b.pictures() {
		if err := os.WriteFile(filepath.Join(images, p.file), p.svg, 0o644); err != nil { //nolint:gosec // likewise
			return err
		}
		fmt.Fprintf(&doc, "![%s](images/%s)\n\n", p.says, p.file)
	}
	doc.WriteString(strings.TrimLeft(explained, "\n"))
	return os.WriteFile(filepath.Join(b.docs, "benchmarks.md"), append(bytes.TrimRight(doc.Bytes(), "\n"), '\n'), 0o644) //nolint:gosec // likewise
}

// circumstances say on what and when it was measured.
func (b *bench) circumstances(ctx context.Context) string {
	postgres := "unknown"
	_ = b.direct.db.QueryRow(ctx, `SELECT concat(current_setting('server_version'), ' with ', string_agg(concat(name, ' ', current_setting(name)), ', ' ORDER BY name))
	FROM unnest('{shared_buffers,max_wal_size,checkpoint_timeout,synchronous_commit,fsync,full_page_writes}'::text[]) name`).Scan(&postgres) // then it stays unknown
	first := func(file, field string) string {
		raw, _ := os.ReadFile(file) //nolint:gosec // of /proc
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == field {
				return strings.TrimSpace(value)
			}
		}
		return "unknown"
	}
	said := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // names of ours
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	commit := said("git", "rev-parse", "--short=12", "HEAD")
	if said("git", "status", "--porcelain", "--untracked-files=no") != "" {
		commit += " with changes"
	}
	redis, _, _ := strings.Cut(said("redis-server", "--version"), " sha")
	return fmt.Sprintf("%s, %d cores, %s of memory, %s %s; %s, PostgreSQL %s, %s; commit %s; %s.",
		first("/proc/cpuinfo", "model name"), runtime.NumCPU(), first("/proc/meminfo", "MemTotal"), runtime.GOOS, said("uname", "-r"), runtime.Version(),
		postgres, strings.Replace(redis, "server v=", "", 1), commit, time.Now().UTC().Format("2 January 2006"))
}
