package plot

import "fmt"

// Stack is horizontal bars, each made of the same parts.
type Stack struct {
	Title, X string
	Parts    []string
	Rows     []Row
}

// Row is one bar: a value for each part of the stack.
type Row struct {
	Name   string
	Values []float64
}

const rowHeight = 52.0

func (s Stack) height() float64 { return above + 75 + rowHeight*float64(len(s.Rows)) + below }

func (s Stack) draw(to *canvas, top float64) {
	to.title(top, s.Title)
	begin := top + above + 14 + to.legend(top+above+14, s.Parts)
	longest := 0.0
	for _, r := range s.Rows {
		longest = max(longest, sum(r.Values))
	}
	x := linear(longest)
	px := func(v float64) float64 { return left + x.place(v)*inner }
	end := begin + rowHeight*float64(len(s.Rows))
	for _, t := range x.ticks {
		to.line(px(t.At), begin, px(t.At), end, "#e5e5e5", "")
		to.label(px(t.At), end+18, "middle", dim, t.Label)
	}
	for i, r := range s.Rows {
		y, at := begin+rowHeight*float64(i), 0.0
		to.label(left, y+17, "start", strong, fmt.Sprintf("%s: %.0f", r.Name, sum(r.Values)))
		for j, v := range r.Values {
			if v > 0 {
				to.rect(px(at), y+23, px(at+v)-px(at), 20, color(j), "")
			}
			at += v
		}
	}
	to.label(left+inner/2, end+38, "middle", dim, s.X)
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}
