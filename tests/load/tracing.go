package main

import (
	"context"
	"fmt"
	"strings"
)

// What pushing traces may cost.
const (
	usualTrace = 0.1  // part of the traces that is recorded, without --trace
	tracingBar = 95.0 // percent of the rate of a handler that pushes nothing
	deafBar    = 1.25 // times its p99, with a collector that hangs; this much two runs of one and the same may differ
)

// collectors are what a handler's telemetry goes to.
var collectors = []collector{none, takes, hangs}

// tracingRun compares orders with and without telemetry, by collector.
type tracingRun struct {
	rates, tails map[collector][]float64 // orders a second, and p99 in ms, by round
	handler      map[collector][]float64 // its processor time per order in µs, by round
	sampled      float64
}

// share is the rate with traces in percent of the rate without.
func (r *tracingRun) share() float64 { return 100 * against(r.rates[takes], r.rates[none]) }

// tail is the p99 with a collector that hangs, against the one without a collector.
func (r *tracingRun) tail() float64 { return against(r.tails[hangs], r.tails[none]) }

// against is the median of the rounds' ratios: what is compared was measured within seconds, and a machine's mood lasts longer.
func against(these, those []float64) float64 {
	ratios := make([]float64, len(these))
	for i := range these {
		ratios[i] = these[i] / those[i]
	}
	return median(ratios)
}

// measureTracing places orders at three handlers in turn: one that pushes nothing, one whose collector takes what it pushes,
// and one whose collector takes connections and says nothing on them. Requests are in a trace, as the gateway's are: what it
// costs to pass that on is no matter of collectors.
func (b *bench) measureTracing(ctx context.Context) error {
	stacks := map[collector]*stack{}
	for i, c := range collectors {
		s, err := b.start(ctx, settings{name: "tracing_" + string(c), products: products + 1, redis: 3 + i, collector: c})
		if err != nil {
			return err
		}
		stacks[c] = s
		b.tracingStacks = append(b.tracingStacks, s)
		if _, err := closed(ctx, s.target(), b.connections, b.duration, spreadOrder); err != nil { // warms up
			return err
		}
		if err := s.rest(ctx); err != nil {
			return err
		}
	}
	b.tracing = &tracingRun{rates: map[collector][]float64{}, tails: map[collector][]float64{}, handler: map[collector][]float64{}, sampled: b.sampled()}
	for round := range b.tracingRounds() {
		if err := b.customers.sign(); err != nil {
			return err
		}
		for i := range collectors {
			c := collectors[(round+i)%len(collectors)] // who is first finds the machine rested
			r, err := metered(stacks[c].parts, func() (result, error) {
				t := stacks[c].target()
				t.traced = true
				return closed(ctx, t, b.connections, b.duration/10, spreadOrder)
			})
			if err != nil {
				return err
			}
			b.tracing.rates[c] = append(b.tracing.rates[c], r.rate())
			b.tracing.tails[c] = append(b.tracing.tails[c], at(r.latencies, 99))
			for _, u := range r.cpu {
				if u.part == handlerPart {
					b.tracing.handler[c] = append(b.tracing.handler[c], r.each(u))
				}
			}
			if err := stacks[c].rest(ctx); err != nil {
				return err
			}
		}
		if (round+1)%tracingLines == 0 {
			b.say("tracing, round %d/%d: %s", round+1, b.tracingRounds(), b.tracing.latest())
		}
	}
	return nil
}

// tracingRounds are short and many, as what the machine does by itself changes in seconds; each collector is first in as many.
func (b *bench) tracingRounds() int { return 16 * len(collectors) * b.rounds }

// tracingLines is how many rounds have one line for people.
const tracingLines = 8

// latest is the latest rounds' medians, for people.
func (r *tracingRun) latest() string {
	texts := make([]string, len(collectors))
	for i, c := range collectors {
		first := len(r.rates[c]) - tracingLines
		texts[i] = fmt.Sprintf("%s %.0f/s p99 %.1f ms", collectorTitles[c], median(r.rates[c][first:]), median(r.tails[c][first:]))
	}
	return strings.Join(texts, "; ")
}

var collectorTitles = map[collector]string{none: "no collector", takes: "one that takes all", hangs: "one that hangs"}

// tracingTable has the medians over the rounds, of what was measured and of its ratios within each round.
func (b *bench) tracingTable() table {
	t := table{title: fmt.Sprintf("Orders of 200 products by where the handler's telemetry goes, %d rounds in turn:", b.tracingRounds())}
	if b.tracing == nil {
		return t
	}
	t.title = fmt.Sprintf("Orders of 200 products, each with a traceparent, by where the handler's telemetry goes (%g %% of the traces, metrics, logs), %d rounds in turn:", 100*b.tracing.sampled, b.tracingRounds())
	t.add("collector", "per second", "p99 ms", "handler µs", "rate against none", "p99 against none", "handler against none")
	rates, tails, handler := b.tracing.rates, b.tracing.tails, b.tracing.handler
	for _, c := range collectors {
		used, more := "", "" // where there is no /proc
		if len(handler[c]) > 0 {
			used, more = fmt.Sprintf("%.0f", median(handler[c])), fmt.Sprintf("%.2fx", against(handler[c], handler[none]))
		}
		t.add(collectorTitles[c], fmt.Sprintf("%.0f", median(rates[c])), fmt.Sprintf("%.1f", median(tails[c])), used,
			fmt.Sprintf("%.2fx", against(rates[c], rates[none])), fmt.Sprintf("%.2fx", against(tails[c], tails[none])), more)
	}
	return t
}
