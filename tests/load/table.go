package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// table prints each phase's median and its median ratio to its reference, round by round.
func (b *bench) table() {
	fmt.Fprintln(b.out, "\nAt the handler's port, closed loop over", b.connections, "keep-alive connections, everything on this machine:")
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\tper second\tp50 ms\tp95 ms\tp99 ms\trefused\tfailed\tratio\t")
	for _, p := range b.phases() {
		results := b.results[p.name]
		if len(results) == 0 {
			continue
		}
		over := func(of func(*result) float64) float64 {
			var values []float64
			for i := range results {
				values = append(values, of(&results[i]))
			}
			return median(values)
		}
		refused, failures := 0, 0
		var ratios []float64
		for i := range results {
			r := &results[i]
			refused, failures = refused+r.all(shed)+r.all(limited), failures+r.all(failed)
			if reference := b.results[p.reference]; i < len(reference) {
				ratios = append(ratios, r.rate()/reference[i].rate())
			}
		}
		ratio := ""
		if ratios != nil {
			ratio = fmt.Sprintf("%.2fx %s", median(ratios), p.reference)
		}
		percent := func(percent float64) float64 {
			return over(func(r *result) float64 { return at(r.latencies, percent) })
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%d\t%d\t%s\t\n", p.title, over((*result).rate), percent(50), percent(95), percent(99), refused, failures, ratio)
	}
	_ = w.Flush() // what cannot be printed cannot be reported either
	b.costTable()
}

// costTable prints where the processor time of an operation went: medians over the rounds.
func (b *bench) costTable() {
	var parts []string
	for _, p := range b.phases() {
		for _, r := range b.results[p.name] {
			for _, u := range r.cpu {
				if !slices.Contains(parts, u.part) && u.part != generatorPart && u.part != restPart {
					parts = append(parts, u.part)
				}
			}
		}
	}
	if parts == nil {
		return
	}
	parts = append(parts, generatorPart, restPart)
	fmt.Fprintln(b.out, "\nProcessor time per operation, in microseconds (the rest of the machine is whatever else ran, and the kernel's own work):")
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\t"+strings.Join(parts, "\t")+"\t")
	for _, p := range b.phases() {
		if len(b.results[p.name]) == 0 {
			continue
		}
		cells := []string{p.title}
		for _, name := range parts {
			cells = append(cells, cell(b.cost(p.name, name)))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
	}
	_ = w.Flush() // likewise
}

func cell(microseconds float64, ok bool) string {
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.0f", microseconds)
}

// cost is a part's median processor time per operation of a phase; ok is whether the part took part.
func (b *bench) cost(phase, name string) (microseconds float64, ok bool) {
	var values []float64
	for i := range b.results[phase] {
		r := &b.results[phase][i]
		for _, u := range r.cpu {
			if u.part == name {
				values = append(values, r.each(u))
			}
		}
	}
	return median(values), values != nil
}

// tellTopic prints how long events took to the topic, and draws it.
func (b *bench) tellTopic(ctx context.Context) error {
	all, err := b.direct.eventLatencies(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(b.out, "\nFrom an event's occurrence in its transaction to its arrival at a subscriber of the topic:")
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "machine\tevents\tp50 ms\tp95 ms\tp99 ms\tmax ms\t")
	var drawn []series
	for _, kind := range []struct{ key, title string }{{"idle", idle}, {"busy", busy}} {
		h := all[kind.key]
		if h == nil {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t\n", kind.title, h.TotalCount(), at(h, 50), at(h, 95), at(h, 99), float64(h.Max())/1000)
		drawn = append(drawn, series{kind.title, h})
	}
	_ = w.Flush() // likewise
	if b.picture == "" || drawn == nil {
		return nil
	}
	if err := os.WriteFile(b.picture, histogram(drawn), 0o644); err != nil { //nolint:gosec // a picture for everybody
		return fmt.Errorf("drawing: %w", err)
	}
	fmt.Fprintln(b.out, "Drawn in", b.picture)
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
