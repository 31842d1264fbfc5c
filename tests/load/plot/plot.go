// Package plot draws a benchmark's numbers as SVG: lines over linear or logarithmic axes, and stacked bars. It draws what
// these pictures need and is no library.
//
// Read Page, then chart.go, stack.go and axis.go.
package plot

import (
	"bytes"
	"fmt"
	"html"
)

// Geometry in user units; a picture is scaled to where it is shown.
const (
	width  = 860.0
	left   = 70.0
	right  = 30.0
	inner  = width - left - right
	text   = 13.0
	dim    = "#555"
	strong = "#111"
)

// colors are told apart by who does not see all of them.
var colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#999933", "#882255"}

func color(i int) string { return colors[i%len(colors)] }

// Panel is one drawing of a page.
type Panel interface {
	height() float64
	draw(to *canvas, top float64)
}

// Page draws panels one below the other.
func Page(panels ...Panel) []byte {
	total := 0.0
	for _, p := range panels {
		total += p.height()
	}
	c := &canvas{}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui,sans-serif" font-size="%.0f">`, width, total, text)
	c.add(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	top := 0.0
	for _, p := range panels {
		p.draw(c, top)
		top += p.height()
	}
	c.add(`</svg>`)
	return c.Bytes()
}

// canvas collects elements.
type canvas struct{ bytes.Buffer }

func (c *canvas) add(format string, args ...any) {
	_, _ = fmt.Fprintf(c, format+"\n", args...) // a buffer takes all
}

func (c *canvas) label(x, y float64, anchor, fill, says string) {
	c.add(`<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`, x, y, anchor, fill, html.EscapeString(says))
}

func (c *canvas) line(x1, y1, x2, y2 float64, stroke, more string) {
	c.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>`, x1, y1, x2, y2, stroke, more)
}

func (c *canvas) rect(x, y, w, h float64, fill, more string) {
	c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"%s/>`, x, y, w, h, fill, more)
}

func (c *canvas) title(top float64, says string) {
	c.add(`<text x="%.1f" y="%.1f" fill="%s" font-weight="600" font-size="15">%s</text>`, left, top+22, strong, html.EscapeString(says))
}

// legend names colors from left to right, in as many lines as it takes, and says how high it is.
func (c *canvas) legend(top float64, names []string) float64 {
	x, y := left, top
	for i, name := range names {
		long := 22 + 7.2*float64(len([]rune(name)))
		if x > left && x+long > width-right {
			x, y = left, y+18
		}
		c.rect(x, y-9, 12, 10, color(i), "")
		c.label(x+17, y, "start", strong, name)
		x += long + 10
	}
	return y - top + 18
}
