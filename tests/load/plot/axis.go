package plot

import (
	"math"
	"strconv"
)

// Tick is a place on an axis and what is written there.
type Tick struct {
	At    float64
	Label string
}

// axis maps values to 0..1.
type axis struct {
	from, to float64
	log      bool
	ticks    []Tick
}

func (a axis) place(v float64) float64 {
	from, to := a.from, a.to
	if a.log {
		v, from, to = math.Log10(max(v, a.from)), math.Log10(from), math.Log10(to)
	}
	return min(max((v-from)/(to-from), 0), 1)
}

// linear is an axis from 0 to somewhat beyond the largest value, with round numbers.
func linear(largest float64) axis {
	if largest <= 0 {
		largest = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(largest/4)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if largest/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	a := axis{to: math.Ceil(largest/step) * step}
	for i := 0; float64(i)*step <= a.to*1.0001; i++ {
		a.ticks = append(a.ticks, Tick{float64(i) * step, number(float64(i) * step)})
	}
	return a
}

// logarithmic is an axis of whole decades around the values.
func logarithmic(smallest, largest float64) axis {
	low := math.Floor(math.Log10(max(smallest, 1e-6)))
	high := max(math.Ceil(math.Log10(max(largest, 1e-6))), low+1)
	a := axis{from: math.Pow(10, low), to: math.Pow(10, high), log: true}
	for d := low; d <= high; d++ {
		a.ticks = append(a.ticks, Tick{math.Pow(10, d), number(math.Pow(10, d))})
	}
	return a
}

// number is short: 2500 is 2,500 and 0.1 stays.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'g', 6, 64)
	if v >= 1000 && v < 1e6 && v == math.Trunc(v) {
		s = strconv.FormatInt(int64(v), 10)
		s = s[:len(s)-3] + "," + s[len(s)-3:]
	}
	return s
}
