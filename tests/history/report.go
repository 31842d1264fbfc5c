package history

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/company/order-catalog-service/tests/load/plot"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Parse(reportHTML))

// second is what happened in a second of a run.
type second struct {
	answered, refused, lost int
	latencies               []time.Duration
}

// WriteReport writes a page for people: what was done to the service, how it went for its clients, and what is broken.
func WriteReport(name string, h History, t Truth, broken []Violation) error {
	picture := timeline(h)
	faults := map[string]int{}
	for _, f := range h.Faults {
		faults[f.Kind+" "+f.Target]++
	}
	type row struct {
		What string
		N    int
	}
	var rows []row
	for _, what := range slices.Sorted(maps.Keys(faults)) {
		rows = append(rows, row{what, faults[what]})
	}
	asked, _ := settle(h)
	settled, replayed := 0, 0
	for _, a := range asked {
		if a.settled {
			settled++
		}
	}
	for _, a := range h.Attempts {
		if a.Replayed {
			replayed++
		}
	}
	var page bytes.Buffer
	if err := reportPage.Execute(&page, map[string]any{
		"Run": h.Run, "Attempts": len(h.Attempts), "Keys": len(asked), "Settled": settled, "Replayed": replayed, "Orders": len(t.Orders), "Events": len(t.Outbox),
		"Deliveries": len(t.Deliveries), "Faults": len(h.Faults), "Kinds": rows, "List": h.Faults, "Broken": broken, "Picture": template.HTML(picture), //nolint:gosec // drawn by us
	}); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(name, page.Bytes(), 0o644); err != nil { //nolint:gosec // for everybody
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// timeline draws answers and latency over time, with the faults shaded.
func timeline(h History) []byte {
	var seconds []second
	for _, a := range h.Attempts {
		for int(a.End/time.Second) >= len(seconds) {
			seconds = append(seconds, second{})
		}
		s := &seconds[a.End/time.Second]
		switch {
		case a.Status == 0:
			s.lost++
		case !a.Final():
			s.refused++
		default:
			s.answered++
			s.latencies = append(s.latencies, a.End-a.Begin)
		}
	}
	answered, refused, lost, p99 := plot.Series{Name: "answered for good"}, plot.Series{Name: "told to come again"}, plot.Series{Name: "without an answer"}, plot.Series{Name: "p99"}
	for i, s := range seconds {
		x := float64(i)
		for _, line := range []struct {
			to *plot.Series
			n  int
		}{{&answered, s.answered}, {&refused, s.refused}, {&lost, s.lost}} {
			line.to.X, line.to.Y = append(line.to.X, x), append(line.to.Y, float64(line.n))
		}
		if n := len(s.latencies); n > 0 {
			slices.Sort(s.latencies)
			p99.X, p99.Y = append(p99.X, x), append(p99.Y, float64(s.latencies[n*99/100])/1e6)
		}
	}
	var bands []plot.Band
	for _, f := range h.Faults {
		b := plot.Band{From: f.Begin.Seconds(), To: max(f.End.Seconds(), f.Begin.Seconds()+0.1)}
		if len(h.Faults) <= 12 {
			b.Label = f.Kind + " " + f.Target
		}
		bands = append(bands, b)
	}
	return plot.Page(
		plot.Chart{Title: "Requests a second; a fault is under way where it is shaded", X: "seconds", Y: "requests a second", Series: []plot.Series{answered, refused, lost}, Bands: bands},
		plot.Chart{Title: "Latency of what was answered for good", X: "seconds", Y: "ms", LogY: true, Series: []plot.Series{p99}, Bands: bands},
	)
}
