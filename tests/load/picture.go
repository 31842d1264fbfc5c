package main

import (
	"bytes"
	"fmt"
	"html"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// series is one distribution of the picture.
type series struct {
	name      string
	latencies *hdrhistogram.Histogram
}

// The picture's axis: 1 ms to 10 s, logarithmic, ten bars a decade.
const (
	decades  = 4
	bars     = 10 * decades
	topicBar = 300.0 // ms: what the p99 is held against
	width    = 760.0
	height   = 150.0
	margin   = 60.0
)

// place is where a latency in ms stands on the axis, 0 to 1.
func place(ms float64) float64 {
	return min(max(math.Log10(max(ms, 1))/decades, 0), 1)
}

// histogram draws distributions one below the other on one logarithmic axis, with their p99 and the target.
func histogram(list []series) []byte {
	var b bytes.Buffer
	total := float64(len(list))*(height+50) + 50
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui,sans-serif" font-size="13">`+"\n",
		width+2*margin, total)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for i, s := range list {
		top := float64(i)*(height+50) + 30
		draw(&b, s, top)
	}
	for _, ms := range []float64{1, 10, 100, 1000, 10000} {
		label := fmt.Sprintf("%.0f ms", ms)
		if ms >= 1000 {
			label = fmt.Sprintf("%.0f s", ms/1000)
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#555">%s</text>`+"\n", margin+place(ms)*width, total-18, label)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func draw(b *bytes.Buffer, s series, top float64) {
	var counts [bars + 1]int
	highest := 1
	for _, bar := range s.latencies.Distribution() {
		i := int(place(float64(bar.To)/1000) * bars)
		counts[i] += int(bar.Count)
		highest = max(highest, counts[i])
	}
	bottom, p99 := top+height, at(s.latencies, 99)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#111" font-weight="600">%s: %d events</text>`+"\n", margin, top-10, html.EscapeString(s.name), s.latencies.TotalCount())
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#999"/>`+"\n", margin, bottom, margin+width, bottom)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		tall := max(height*float64(n)/float64(highest), 1) // one event shall be seen
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#3b6fb6"/>`+"\n",
			margin+float64(i)*width/bars, bottom-tall, width/bars-1, tall)
	}
	for _, mark := range []struct {
		ms    float64
		label string
		color string
		y     float64
	}{{p99, fmt.Sprintf("p99 %.0f ms", p99), "#c2410c", top + 12}, {topicBar, "300 ms", "#15803d", top + 30}} {
		x := margin + place(mark.ms)*width
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="4 3"/>`+"\n", x, top, x, bottom, mark.color)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", x+5, mark.y, mark.color, mark.label)
	}
}
