package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/company/order-catalog-service/tests/load/proc"
)

// newHistogram holds latencies from a microsecond to two minutes, with so many significant digits.
func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), digits)
}

// record notes a latency. One that is out of range counts as the range's end.
func record(h *hdrhistogram.Histogram, d time.Duration) error {
	return h.RecordValue(min(max(d.Microseconds(), 1), h.HighestTrackableValue()))
}

// at is a percentile in milliseconds.
func at(h *hdrhistogram.Histogram, percent float64) float64 {
	return float64(h.ValueAtPercentile(percent)) / 1000
}

// verdict is what became of a request.
type verdict uint8

const (
	good     verdict = iota // answered as it should be
	shed                    // refused for overload: it had no effect
	limited                 // refused for the caller's quota: it had no effect
	failed                  // anything else that is an error
	verdicts = 4
)

// result is what a phase saw.
type result struct {
	took      time.Duration
	counts    [kinds][verdicts]int
	latencies *hdrhistogram.Histogram // of the good ones
	byKind    [kinds]*hdrhistogram.Histogram
	seconds   []second // by when requests should have been sent; only where arrivals have a schedule
	unsent    int      // arrivals that found no connection in time
	cpu       []usage
	firstFail string // for people
}

// usage is the processor time of one part.
type usage struct {
	part string
	time time.Duration
}

func (r *result) all(v verdict) (n int) {
	for k := range r.counts {
		n += r.counts[k][v]
	}
	return n
}

// rate is good answers per second.
func (r *result) rate() float64 { return float64(r.all(good)) / r.took.Seconds() }

// each is a part's processor time per good answer, in microseconds.
func (r *result) each(u usage) float64 {
	return float64(u.time.Microseconds()) / float64(max(1, r.all(good)))
}

// second is what became of the requests that arrived in one second.
type second struct {
	counts    [verdicts]int
	orders    int // that were placed in it, whenever they had arrived
	unsent    int
	latencies *hdrhistogram.Histogram // of the good ones, coarser
}

// recorder collects what workers see.
type recorder struct {
	mu    sync.Mutex
	began time.Time
	result
}

func newRecorder() *recorder {
	return &recorder{began: time.Now(), result: result{latencies: newHistogram(3)}}
}

// schedule makes room to tell the seconds apart.
func (r *recorder) schedule(seconds int) {
	r.seconds = make([]second, seconds)
	for i := range r.seconds {
		r.seconds[i].latencies = newHistogram(2)
	}
}

// add notes a request that should have been sent at intended.
func (r *recorder) add(k kind, v verdict, intended time.Time, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[k][v]++
	at := r.second(intended)
	if at != nil {
		at.counts[v]++
	}
	if v != good {
		return
	}
	if r.byKind[k] == nil {
		r.byKind[k] = newHistogram(3)
	}
	for _, h := range []*hdrhistogram.Histogram{r.latencies, r.byKind[k]} {
		_ = record(h, took) // it is in range
	}
	if at != nil {
		_ = record(at.latencies, took)
	}
	if done := r.second(intended.Add(took)); done != nil && k == placeOrder {
		done.orders++
	}
}

// leave notes an arrival that was never sent.
func (r *recorder) leave(intended time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsent++
	if at := r.second(intended); at != nil {
		at.unsent++
	}
}

func (r *recorder) second(intended time.Time) *second {
	i := int(intended.Sub(r.began) / time.Second)
	if i < 0 || i >= len(r.seconds) {
		return nil
	}
	return &r.seconds[i]
}

// fail remembers the first failure's words.
func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.firstFail == "" {
		r.firstFail = text
	}
}

// part is what processor time is counted of.
type part struct {
	name string
	used func() (time.Duration, error)
}

// Parts that are told from the others.
const (
	handlerPart   = "handler"
	generatorPart = "generator"
	restPart      = "rest of the machine"
)

func processPart(name string, pid int) part {
	return part{name, func() (time.Duration, error) { return proc.Used(pid) }}
}

// usages reads the processor time of parts, of the generator and of the whole machine. Where there is no /proc there
// is nothing to tell.
func usages(parts []part) ([]usage, error) {
	if !proc.Available() {
		return nil, nil
	}
	list := make([]usage, 0, len(parts)+2)
	var sum time.Duration
	for _, p := range append(slices.Clone(parts), processPart(generatorPart, os.Getpid())) {
		used, err := p.used()
		if err != nil {
			return nil, fmt.Errorf("processor time of %s: %w", p.name, err)
		}
		list, sum = append(list, usage{p.name, used}), sum+used
	}
	machine, _, err := proc.Machine()
	return append(list, usage{restPart, machine - sum}), err
}

// metered runs a phase and notes what processor time each part took meanwhile.
func metered(parts []part, run func() (result, error)) (result, error) {
	before, err := usages(parts)
	if err != nil {
		return result{}, err
	}
	r, err := run()
	if err != nil {
		return r, err
	}
	after, err := usages(parts)
	for i := range after {
		r.cpu = append(r.cpu, usage{after[i].part, max(0, after[i].time-before[i].time)})
	}
	return r, err
}
