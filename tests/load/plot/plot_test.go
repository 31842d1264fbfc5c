package plot

import (
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// elements reads a picture as XML and returns the values of an attribute of all elements of a name.
func elements(t *testing.T, svg []byte, name, attribute string) (values []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // the decoder returns it bare
			return values
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == name {
			for _, a := range e.Attr {
				if a.Name.Local == attribute {
					values = append(values, a.Value)
				}
			}
		}
	}
}

func TestALinePassesThroughItsValues(t *testing.T) {
	t.Parallel()
	svg := Page(Chart{
		Title: "<&>", X: "clients", Y: "a second", LogX: true, Ticks: []Tick{{1, "1"}, {100, "100"}, {1000, "beyond"}},
		Series: []Series{{Name: "ours", X: []float64{1, 10, 100}, Y: []float64{0, 50, 100}}, {Name: "gap", X: []float64{1, 10}, Y: []float64{math.NaN(), 100}}},
		Bands:  []Band{{1, 10, "burst"}}, Marks: []Mark{{100, "bar"}},
	})
	lines := elements(t, svg, "polyline", "points")
	require.Len(t, lines, 2)
	points := strings.Fields(lines[0])
	require.Len(t, points, 3)
	middle := left + inner/2
	assert.True(t, strings.HasPrefix(points[0], "70.0,"), points[0])
	assert.True(t, strings.HasPrefix(points[1], "450.0,"), "%s is not at %v: ten is halfway between one and a hundred", points[1], middle)
	assert.True(t, strings.HasPrefix(points[2], "830.0,"), points[2])
	_, lowest, _ := strings.Cut(points[0], ",")
	assert.Equal(t, "285.0", lowest, "0 is on the axis")
	assert.Len(t, strings.Fields(lines[1]), 1, "what is no number is left out")
	assert.NotContains(t, string(svg), "beyond")
}

func TestABarIsAsLongAsItsParts(t *testing.T) {
	t.Parallel()
	svg := Page(Stack{Title: "cost", X: "µs", Parts: []string{"handler", "database"}, Rows: []Row{{"orders", []float64{100, 300}}, {"reads", []float64{40, 0}}}})
	widths := elements(t, svg, "rect", "width")
	// The page, two of the legend, then the bars; nothing for a part without time.
	assert.Equal(t, []string{"100%", "12.0", "12.0", "190.0", "570.0", "76.0"}, widths)
}

func TestAxesHaveRoundNumbers(t *testing.T) {
	t.Parallel()
	for largest, want := range map[float64][]string{
		0: {"0", "0.2", "0.4", "0.6", "0.8", "1"}, 7: {"0", "2", "4", "6", "8"}, 11_300: {"0", "2,000", "4,000", "6,000", "8,000", "10,000", "12,000"}, 0.9: {"0", "0.2", "0.4", "0.6", "0.8", "1"},
	} {
		var got []string
		for _, tick := range linear(largest).ticks {
			got = append(got, tick.Label)
		}
		assert.Equal(t, want, got, largest)
		assert.LessOrEqual(t, largest, linear(largest).to)
	}
	a := logarithmic(0.7, 2000)
	assert.InDelta(t, 0.1, a.from, 1e-9)
	assert.InDelta(t, 10_000, a.to, 1e-9)
	assert.InDelta(t, 0.5, axis{from: 1, to: 100, log: true}.place(10), 1e-9)
}
