package main

import "fmt"

// bar is something that is to be held.
type bar struct {
	what, must, was string
	held            bool
}

// bars are those of what was measured.
func (b *bench) bars() (list []bar) {
	add := func(held bool, what, must, was string, args ...any) {
		list = append(list, bar{what, must, fmt.Sprintf(was, args...), held})
	}
	if ratio, ok := b.ratio("orders", "pgbench"); ok {
		add(ratio >= 2, "orders, 200 products, against pgbench with the same rows and clients", "at least 2x", "%.2fx", ratio)
	}
	if ours, one := b.best(curveOurs, spread), b.best(curveSingle, spread); ours.rate > 0 {
		add(ours.rate > one.rate, "the same, each at its best number of clients, against one statement", "above 1x", "%.2fx (separate statements: %.2fx)",
			ours.rate/one.rate, ours.rate/b.best(curveSeparate, spread).rate)
	}
	top := b.best(curveOurs, hot)
	for _, phase := range []struct {
		name    string
		clients int
	}{{"hot", b.connections}, {"hot-crowd", crowd}} {
		if rate := b.over(phase.name, (*result).rate); rate > top.rate {
			top = point{clients: phase.clients, rate: rate}
		}
	}
	if top.rate > 0 {
		add(top.rate >= 5000, "orders of one hot product, at the best number of clients", "at least 5000/s", "%.0f/s (%d clients)", top.rate, top.clients)
	}
	if ratio, ok := b.ratio("reads", "bare"); ok {
		add(ratio >= 0.5, "GET product, cached, against bare net/http", "at least 0.50x", "%.2fx", ratio)
	}
	for _, twin := range []struct{ name, reference, what string }{{"graphql-list", "lists", "a page of 20 products"}, {"graphql-order", "order", "an order by its id"}} {
		if ratio, ok := b.ratio(twin.name, twin.reference); ok {
			add(ratio >= 0.4, twin.what+" over GraphQL, against REST", "at least 0.40x", "%.2fx", ratio)
		}
	}
	for _, kind := range []string{idle, busy} {
		if h := b.events[kind]; h != nil {
			add(at(h, 99) < topicBar, "commit to topic, p99, "+eventTitles[kind], fmt.Sprintf("under %.0f ms", topicBar), "%.1f ms", at(h, 99))
		}
	}
	if m := b.mixed; m != nil {
		add(at(m.latencies, 95) < fleetP95, "mixed run, p95", fmt.Sprintf("under %.0f ms", fleetP95), "%.2f ms", at(m.latencies, 95))
		add(at(m.latencies, 99) < fleetP99, "mixed run, p99", fmt.Sprintf("under %.0f ms", fleetP99), "%.2f ms", at(m.latencies, 99))
		add(m.unserved() < fleetErrors, "mixed run, refused, failed or not sent", fmt.Sprintf("under %.3f %%", fleetErrors), "%.4f %%", m.unserved())
		add(m.hits > fleetHits, "mixed run, catalog cache hits", fmt.Sprintf("over %.0f %%", fleetHits), "%.2f %%", m.hits)
		// The books were checked, and the run ended there if they did not hold.
		add(true, fmt.Sprintf("mixed run, second effects of %d repeated keys", m.counts[repeatOrder][good]), "0", "0")
	}
	if o := b.middle(); o != nil {
		add(o.share() >= goodputBar, fmt.Sprintf("checkout goodput at %dx the peak, median of %d runs", overloadFactor, len(b.overload)), fmt.Sprintf("at least %.0f %% of the peak", goodputBar), "%.0f %% (%.0f/s of %.0f/s)", o.share(), o.goodput, o.peak)
		slowest := b.slowest()
		add(slowest.recovery >= 0 && slowest.recovery < recoveryBar, "normal again after the burst, in the slowest of them", fmt.Sprintf("under %d s", recoveryBar), "%s", slowest.recovered())
	}
	if r := b.tracing; r != nil {
		add(r.share() >= tracingBar, fmt.Sprintf("orders with %g %% of the traces recorded, against none", 100*r.sampled), fmt.Sprintf("at least %.0f %%", tracingBar), "%.0f %% (%.0f/s of %.0f/s)", r.share(), median(r.rates[takes]), median(r.rates[none]))
		add(r.tail() <= deafBar, "p99 with a collector that hangs, against none", fmt.Sprintf("at most %.2fx", deafBar), "%.2fx (%.1f ms)", r.tail(), median(r.tails[hangs]))
	}
	if l := b.large; l != nil {
		add(l.share() >= largeBar, fmt.Sprintf("orders with %d stored, against the small database", l.orders), fmt.Sprintf("at least %.0f %%", largeBar), "%.0f %% (%.0f/s of %.0f/s)", l.share(), median(l.large), median(l.small))
	}
	return list
}

func barTable(list []bar) table {
	t := table{title: "Bars:"}
	t.add("what", "bar", "measured", "")
	for _, one := range list {
		verdict := "held"
		if !one.held {
			verdict = "MISSED"
		}
		t.add(one.what, one.must, one.was, verdict)
	}
	return t
}
