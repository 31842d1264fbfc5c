package plot

import (
	"fmt"
	"math"
	"strings"
)

// Series is a line.
type Series struct {
	Name string
	X, Y []float64
}

// Band is a part of the x axis that is shaded: a burst, a fault.
type Band struct {
	From, To float64
	Label    string
}

// Mark is a horizontal line: a bar that is to be held.
type Mark struct {
	At    float64
	Label string
}

// Chart is lines over one x axis.
type Chart struct {
	Title, X, Y string
	LogX, LogY  bool
	Ticks       []Tick // of the x axis, where round numbers don't say it
	Dots        bool   // on the values: for few of them
	Series      []Series
	Bands       []Band
	Marks       []Mark
}

const (
	chartHeight = 330.0
	above       = 30.0 // of the plot: the title
	below       = 45.0 // the axis
)

func (Chart) height() float64 { return chartHeight }

func (c Chart) draw(to *canvas, top float64) {
	to.title(top, c.Title)
	names := make([]string, len(c.Series))
	for i, s := range c.Series {
		names[i] = s.Name
	}
	begin := top + above + 14 + to.legend(top+above+14, names)
	end := top + chartHeight - below
	x, y := c.axes()
	px := func(v float64) float64 { return left + x.place(v)*inner }
	py := func(v float64) float64 { return end - y.place(v)*(end-begin) }

	for _, band := range c.Bands {
		to.rect(px(band.From), begin, px(band.To)-px(band.From), end-begin, "#fbe3d6", "")
		to.label(px(band.From)+5, begin+14, "start", "#9a3412", band.Label)
	}
	for _, t := range y.ticks {
		to.line(left, py(t.At), left+inner, py(t.At), "#e5e5e5", "")
		to.label(left-8, py(t.At)+4, "end", dim, t.Label)
	}
	for _, t := range x.ticks {
		to.line(px(t.At), end, px(t.At), end+4, dim, "")
		to.label(px(t.At), end+18, "middle", dim, t.Label)
	}
	to.line(left, end, left+inner, end, dim, "")
	to.label(left+inner/2, end+36, "middle", dim, c.X)
	to.add(`<text transform="translate(%.1f %.1f) rotate(-90)" text-anchor="middle" fill="%s">%s</text>`, 16.0, (begin+end)/2, dim, c.Y)
	for _, m := range c.Marks {
		to.line(left, py(m.At), left+inner, py(m.At), "#15803d", ` stroke-dasharray="6 4"`)
		to.label(left+inner-4, py(m.At)-5, "end", "#15803d", m.Label)
	}
	for i, s := range c.Series {
		c.drawLine(to, i, s, px, py)
	}
}

func (c Chart) drawLine(to *canvas, i int, s Series, px, py func(float64) float64) {
	var points []string
	for j := range s.X {
		if math.IsNaN(s.Y[j]) {
			continue
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", px(s.X[j]), py(s.Y[j])))
		if c.Dots {
			to.add(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, px(s.X[j]), py(s.Y[j]), color(i))
		}
	}
	to.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round"/>`, strings.Join(points, " "), color(i))
}

// axes are as long as the values and marks are large.
func (c Chart) axes() (x, y axis) {
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		for i := range s.X {
			if math.IsNaN(s.Y[i]) {
				continue
			}
			lowX, highX = min(lowX, s.X[i]), max(highX, s.X[i])
			lowY, highY = min(lowY, s.Y[i]), max(highY, s.Y[i])
		}
	}
	if math.IsInf(lowX, 0) { // nothing to draw
		lowX, highX, lowY, highY = 1, 10, 1, 10
	}
	for _, m := range c.Marks {
		lowY, highY = min(lowY, m.At), max(highY, m.At)
	}
	if x = linear(highX); c.LogX {
		x = axis{from: lowX, to: max(highX, lowX*1.001), log: true}
	} else {
		x.to = highX // a time ends where it ends
	}
	if len(c.Ticks) > 0 {
		x.ticks = c.Ticks
	} else if c.LogX {
		x.ticks = logarithmic(lowX, highX).ticks
	}
	kept := make([]Tick, 0, len(x.ticks))
	for _, t := range x.ticks {
		if t.At >= x.from && t.At <= x.to*1.0001 {
			kept = append(kept, t)
		}
	}
	x.ticks = kept
	if y = linear(highY); c.LogY {
		y = logarithmic(lowY, highY)
	}
	return x, y
}
