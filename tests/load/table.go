package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// table is what is told, on a terminal and in Markdown: the first row names the columns.
type table struct {
	title string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes it for a terminal.
func (t *table) print(out io.Writer) {
	if len(t.rows) < 2 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", t.title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // what cannot be printed cannot be reported either
}

// markdown writes it for a document.
func (t *table) markdown(out io.Writer) {
	if len(t.rows) < 2 {
		return
	}
	fmt.Fprintf(out, "%s\n\n", t.title)
	for i, row := range t.rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|---%s|\n", strings.Repeat("|---:", len(row)-1))
		}
	}
	fmt.Fprintln(out)
}

// over is the median over the rounds of a phase.
func (b *bench) over(phase string, of func(*result) float64) float64 {
	var values []float64
	for i := range b.results[phase] {
		values = append(values, of(&b.results[phase][i]))
	}
	return median(values)
}

// ratio is the median over the rounds of a phase's rate to its reference's; ok is whether both were measured.
func (b *bench) ratio(phase, reference string) (x float64, ok bool) {
	var values []float64
	for i := range b.results[phase] {
		if other := b.results[reference]; i < len(other) && other[i].rate() > 0 {
			values = append(values, b.results[phase][i].rate()/other[i].rate())
		}
	}
	return median(values), len(values) > 0
}

// phaseTable has each phase's medians and its ratio to its references, round by round.
func (b *bench) phaseTable() table {
	t := table{title: fmt.Sprintf("At the handler's port, closed loop over %d keep-alive connections, medians of %d rounds:", b.connections, b.rounds)}
	t.add("phase", "per second", "p50 ms", "p95 ms", "p99 ms", "refused", "failed", "against")
	for _, p := range b.phases() {
		if len(b.results[p.name]) == 0 {
			continue
		}
		refused, failures := 0, 0
		for i := range b.results[p.name] {
			r := &b.results[p.name][i]
			refused, failures = refused+r.all(shed)+r.all(limited), failures+r.all(failed)
		}
		var against []string
		for _, reference := range p.references {
			if ratio, ok := b.ratio(p.name, reference); ok {
				against = append(against, fmt.Sprintf("%.2fx %s", ratio, reference))
			}
		}
		percent := func(percent float64) string {
			return fmt.Sprintf("%.2f", b.over(p.name, func(r *result) float64 { return at(r.latencies, percent) }))
		}
		t.add(p.title+" (`"+p.name+"`)", fmt.Sprintf("%.0f", b.over(p.name, (*result).rate)), percent(50), percent(95), percent(99),
			fmt.Sprint(refused), fmt.Sprint(failures), strings.Join(against, ", "))
	}
	for _, row := range b.redisRows {
		t.add("redis-benchmark "+row.test+", 1 KB", fmt.Sprintf("%.0f", row.rate), fmt.Sprintf("%.2f", row.p50), fmt.Sprintf("%.2f", row.p95), fmt.Sprintf("%.2f", row.p99), "", "", "")
	}
	return t
}

// costs are all results whose processor time is told, with their titles.
func (b *bench) costs() (titles []string, results [][]result) {
	for _, p := range b.phases() {
		if p.name != "trickle" && len(b.results[p.name]) > 0 { // a trickle's costs are the idle machine's
			titles, results = append(titles, p.title), append(results, b.results[p.name])
		}
	}
	if b.mixed != nil {
		titles, results = append(titles, "mixed run, through the host"), append(results, []result{b.mixed.result})
	}
	return titles, results
}

// costParts are the parts that used processor time, ours first.
func costParts(results [][]result) (parts []string) {
	for _, rounds := range results {
		for _, r := range rounds {
			for _, u := range r.cpu {
				if !slices.Contains(parts, u.part) && u.part != generatorPart && u.part != restPart {
					parts = append(parts, u.part)
				}
			}
		}
	}
	if parts != nil {
		parts = append(parts, generatorPart, restPart)
	}
	return parts
}

// cost is a part's median processor time per operation, in microseconds; ok is whether it took part.
func cost(rounds []result, name string) (microseconds float64, ok bool) {
	var values []float64
	for i := range rounds {
		for _, u := range rounds[i].cpu {
			if u.part == name {
				values = append(values, rounds[i].each(u))
			}
		}
	}
	return median(values), values != nil
}

// costTable says where the processor time of an operation went: medians over the rounds.
func (b *bench) costTable() table {
	titles, results := b.costs()
	parts := costParts(results)
	t := table{title: "Processor time per operation in microseconds, by process (the rest is whatever else ran on the machine, and work that the kernel did for nobody in particular):"}
	if parts == nil {
		return t
	}
	t.add(append([]string{"phase"}, parts...)...)
	for i, title := range titles {
		cells := []string{title}
		for _, name := range parts {
			text := ""
			if microseconds, ok := cost(results[i], name); ok {
				text = fmt.Sprintf("%.1f", microseconds)
			}
			cells = append(cells, text)
		}
		t.add(cells...)
	}
	return t
}

// topicTable says how long events took to the topic.
func (b *bench) topicTable() table {
	t := table{title: "From an event's occurrence in its transaction to its arrival at a subscriber of the topic:"}
	t.add("machine", "events", "p50 ms", "p95 ms", "p99 ms", "max ms")
	for _, kind := range []string{idle, busy} {
		if h := b.events[kind]; h != nil {
			t.add(eventTitles[kind], fmt.Sprint(h.TotalCount()), fmt.Sprintf("%.1f", at(h, 50)), fmt.Sprintf("%.1f", at(h, 95)), fmt.Sprintf("%.1f", at(h, 99)), fmt.Sprintf("%.1f", float64(h.Max())/1000))
		}
	}
	return t
}

// mixedTable has the mixed run's requests by kind.
func (b *bench) mixedTable() table {
	t := table{title: fmt.Sprintf("Mixed run through the local host: %.0f arrivals a second (Poisson) for %s, at most %d under way; latency counts from the arrival:", fleetRate, b.mixedTime, b.openConnections)}
	t.add("request", "answered", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "refused", "failed")
	if b.mixed == nil {
		return t
	}
	m := b.mixed
	for k := range kind(kinds) {
		if h := m.byKind[k]; h != nil {
			n := m.counts[k]
			t.add(k.String(), fmt.Sprint(n[good]), fmt.Sprintf("%.2f", at(h, 50)), fmt.Sprintf("%.2f", at(h, 95)), fmt.Sprintf("%.2f", at(h, 99)), fmt.Sprintf("%.2f", at(h, 99.9)), fmt.Sprint(n[shed]+n[limited]), fmt.Sprint(n[failed]))
		}
	}
	h := m.latencies
	t.add("all", fmt.Sprint(m.all(good)), fmt.Sprintf("%.2f", at(h, 50)), fmt.Sprintf("%.2f", at(h, 95)), fmt.Sprintf("%.2f", at(h, 99)), fmt.Sprintf("%.2f", at(h, 99.9)), fmt.Sprint(m.all(shed)+m.all(limited)), fmt.Sprint(m.all(failed)))
	return t
}

// curveTable has orders a second by the number of clients.
func (b *bench) curveTable(workload, title string) table {
	t := table{title: fmt.Sprintf("Orders a second by the number of clients, %s, %s a point:", title, b.curveTime)}
	t.add("clients", curveOurs, "p99 ms", curveSeparate, "p99 ms", curveSingle, "p99 ms")
	for _, p := range b.curve[curveKey{curveOurs, workload}] {
		row := []string{fmt.Sprint(p.clients)}
		for _, series := range allSeries {
			if p, ok := b.at(series, workload, p.clients); ok {
				row = append(row, fmt.Sprintf("%.0f", p.rate), fmt.Sprintf("%.1f", p.p99))
			} else {
				row = append(row, "", "")
			}
		}
		t.add(row...)
	}
	return t
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
