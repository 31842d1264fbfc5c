package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/company/order-catalog-service/tests/load/plot"
)

// picture is a file of the document.
type picture struct {
	file, says string
	svg        []byte
}

// pictures draws what was measured.
func (b *bench) pictures() (list []picture) {
	add := func(file, says string, panels ...plot.Panel) {
		list = append(list, picture{file, says, plot.Page(panels...)})
	}
	if len(b.curve) > 0 {
		add("scaling.svg", "Orders a second by the number of clients, ours and pgbench's", b.curveChart(spread, "Orders a second, two of 200 products each"), b.curveChart(hot, "Orders a second, one hot product"))
	}
	if orders, reads := b.costStack("Processor time per order, by process", false), b.costStack("Processor time per read, by process", true); len(orders.Rows)+len(reads.Rows) > 0 {
		add("processor-time.svg", "Processor time per operation, by process", orders, reads)
	}
	if m := b.mixed; m != nil {
		add("mixed.svg", "The mixed run over time", overTime("Mixed run through the host: answers a second", &m.result, "answered", nil),
			latencyOverTime("Mixed run: latency from the arrival", &m.result, nil, plot.Mark{At: fleetP95, Label: "p95 bar 87 ms"}, plot.Mark{At: fleetP99, Label: "p99 bar 234 ms"}))
		add("mixed-latency.svg", "The mixed run's latencies by percentile", percentiles("Mixed run: latency by percentile", kindSeries(m)...))
	}
	if o := b.middle(); o != nil {
		burst := []plot.Band{{From: calmTime.Seconds(), To: (calmTime + burstTime).Seconds(), Label: fmt.Sprintf("%dx the peak", overloadFactor)}}
		add("overload.svg", "Overload and after, over time", overTime("Orders a second: at half of the peak, three times the peak, half again", &o.result, "placed", burst),
			latencyOverTime("Latency of what was placed, from the arrival", &o.result, burst))
	}
	if len(b.events) > 0 {
		var series []plot.Series
		for _, kind := range []string{idle, busy} {
			if h := b.events[kind]; h != nil {
				series = append(series, percentileSeries(eventTitles[kind], h))
			}
		}
		c := percentiles("From an event's commit to a subscriber of the topic, by percentile", series...)
		c.Marks = []plot.Mark{{At: topicBar, Label: "p99 bar 300 ms"}}
		add("commit-to-topic.svg", "From an event's occurrence to its arrival at a subscriber", c)
	}
	return list
}

func (b *bench) curveChart(workload, title string) plot.Chart {
	c := plot.Chart{Title: title, X: "clients", Y: "orders a second", LogX: true, Dots: true}
	for _, n := range clients {
		c.Ticks = append(c.Ticks, plot.Tick{At: float64(n), Label: fmt.Sprint(n)})
	}
	for _, name := range allSeries {
		s := plot.Series{Name: name}
		for _, p := range b.curve[curveKey{name, workload}] {
			s.X, s.Y = append(s.X, float64(p.clients)), append(s.Y, p.rate)
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// costStack has reads, or all else: they differ by a factor of thirty. The rest of the machine is left out: it says
// nothing about the service.
func (b *bench) costStack(title string, reads bool) plot.Stack {
	titles, results := b.costs()
	s := plot.Stack{Title: title, X: "microseconds", Parts: slices.DeleteFunc(costParts(results), func(name string) bool { return name == restPart })}
	for i, title := range titles {
		if reads != (results[i][0].counts[readProduct][good] > 0 && results[i][0].counts[placeOrder][good] == 0) {
			continue
		}
		row := plot.Row{Name: title}
		for _, name := range s.Parts {
			microseconds, _ := cost(results[i], name)
			row.Values = append(row.Values, microseconds)
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// overTime has what became of each second's arrivals.
func overTime(title string, r *result, answered string, bands []plot.Band) plot.Chart {
	c := plot.Chart{Title: title, X: "seconds", Y: "a second", Bands: bands}
	for _, line := range []struct {
		name string
		of   func(second) int
	}{
		{answered, func(s second) int { return s.counts[good] }},
		{"refused (503, 429)", func(s second) int { return s.counts[shed] + s.counts[limited] }},
		{"failed or not sent", func(s second) int { return s.counts[failed] + s.unsent }},
	} {
		s := plot.Series{Name: line.name}
		for i, of := range r.seconds {
			s.X, s.Y = append(s.X, float64(i)+0.5), append(s.Y, float64(line.of(of)))
		}
		c.Series = append(c.Series, s)
	}
	return c
}

func latencyOverTime(title string, r *result, bands []plot.Band, marks ...plot.Mark) plot.Chart {
	c := plot.Chart{Title: title, X: "seconds", Y: "milliseconds", LogY: true, Bands: bands, Marks: marks}
	for _, percent := range []float64{50, 95, 99} {
		s := plot.Series{Name: fmt.Sprintf("p%.0f", percent)}
		for i, of := range r.seconds {
			y := math.NaN() // nothing was answered
			if of.latencies.TotalCount() > 0 {
				y = at(of.latencies, percent)
			}
			s.X, s.Y = append(s.X, float64(i)+0.5), append(s.Y, y)
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// percentiles is a chart whose x axis stretches the last percents: each nine takes as much room as the one before.
func percentiles(title string, series ...plot.Series) plot.Chart {
	c := plot.Chart{Title: title, X: "percentile", Y: "milliseconds", LogX: true, LogY: true, Series: series}
	for _, percent := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		c.Ticks = append(c.Ticks, plot.Tick{At: nines(percent), Label: fmt.Sprint(percent)})
	}
	return c
}

// nines is where a percentile stands: 1 for 0, 10 for 90, 100 for 99.
func nines(percent float64) float64 { return 100 / (100 - percent) }

func percentileSeries(name string, h *hdrhistogram.Histogram) plot.Series {
	s := plot.Series{Name: name}
	last := float64(h.TotalCount()) // beyond it there is nothing
	for x := 1.0; x <= last; x *= 1.1 {
		s.X, s.Y = append(s.X, x), append(s.Y, at(h, 100-100/x))
	}
	return s
}

// kindSeries are the mixed run's requests: all, and those of the most interest.
func kindSeries(m *mixedRun) []plot.Series {
	list := []plot.Series{percentileSeries("all", m.latencies)}
	for _, k := range []kind{readProduct, searchProducts, setItem, placeOrder} {
		if h := m.byKind[k]; h != nil {
			list = append(list, percentileSeries(k.String(), h))
		}
	}
	return list
}
