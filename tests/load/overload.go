package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The overload run: calm at half of what the service can do, a burst of three times that, and calm again.
const (
	overloadFactor  = 3
	calmShare       = 0.5
	overloadRuns    = 3 // a machine's mood lasts longer than a burst: the middle one counts
	calmTime        = 10 * time.Second
	burstTime       = 15 * time.Second
	afterTime       = 35 * time.Second
	burstPatience   = 2 * time.Second // of a customer
	burstClients    = 1500            // connections in the burst
	goodputBar      = 90.0            // percent of the peak
	recoveryBar     = 30              // seconds
	normalSeconds   = 3               // in a row, until the latency counts as normal again
	normalTolerance = 2.0             // times the calm's p99 are normal
)

// overloadRun is what an overload run saw.
type overloadRun struct {
	result
	peak     float64 // orders a second at full speed, before the run and after it: a machine has its moods
	goodput  float64 // orders a second in the burst
	normal   float64 // ms: up to which a second's p99 counts as normal
	recovery int     // seconds from the burst's end until it was; -1: never
}

// share is the burst's goodput in percent of the peak.
func (o *overloadRun) share() float64 { return 100 * o.goodput / o.peak }

// measureOverload finds the service's peak and asks three times as much of it, at the handler's port, a few times.
func (b *bench) measureOverload(ctx context.Context) error {
	s := b.direct
	if err := b.customers.sign(); err != nil {
		return err
	}
	if _, err := closed(ctx, s.target(), b.connections, 2*time.Second, spreadOrder); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	findPeak := func() (float64, error) {
		top, err := closed(ctx, s.target(), b.connections, max(b.duration, burstTime), spreadOrder)
		if err != nil {
			return 0, fmt.Errorf("finding the peak: %w", err)
		}
		return top.rate(), nil
	}
	peak, err := findPeak()
	if err != nil {
		return err
	}
	for n := range overloadRuns {
		b.say("overload run %d/%d: peak %.0f orders/s; %s at %.0f/s, %s at %.0f/s, %s at %.0f/s", n+1, overloadRuns, peak,
			calmTime, calmShare*peak, burstTime, overloadFactor*peak, afterTime, calmShare*peak)
		r, err := b.burst(ctx, peak, n)
		if err != nil {
			return err
		}
		later, err := findPeak()
		if err != nil {
			return err
		}
		o := judgeOverload(r, (peak+later)/2)
		b.overload = append(b.overload, o)
		b.tell("overload", &r)
		b.say("    goodput in the burst %.0f/s, %.0f %% of the peak; normal again %s", o.goodput, o.share(), o.recovered())
		peak = later
	}
	return s.rest(ctx)
}

// burst is one overload run.
func (b *bench) burst(ctx context.Context, peak float64, round int) (result, error) {
	if err := b.customers.sign(); err != nil {
		return result{}, err
	}
	s := b.direct
	plan := schedule{
		[]stretch{{calmTime, calmShare * peak}, {burstTime, overloadFactor * peak}, {afterTime, calmShare * peak}}, burstClients, burstPatience,
	}
	stop, err := b.profiled(ctx, "overload", s, round)
	if err != nil {
		return result{}, err
	}
	r, err := metered(s.parts, func() (result, error) { return open(ctx, s.target(), plan, spreadOrder) })
	return r, errors.Join(err, stop())
}

// recovered is when it was over, for people.
func (o *overloadRun) recovered() string {
	if o.recovery < 0 {
		return "not within the run"
	}
	return fmt.Sprintf("after %d s", o.recovery)
}

// middle is the run whose goodput is the median, nil without any.
func (b *bench) middle() *overloadRun {
	if len(b.overload) == 0 {
		return nil
	}
	return slices.SortedFunc(slices.Values(b.overload), func(x, y *overloadRun) int { return cmp.Compare(x.share(), y.share()) })[len(b.overload)/2]
}

// slowest is the run after which it took longest until all was normal.
func (b *bench) slowest() *overloadRun {
	return slices.MaxFunc(b.overload, func(x, y *overloadRun) int {
		return cmp.Compare(uint(x.recovery), uint(y.recovery)) // -1, never, becomes the greatest
	})
}

// overloadTable has the overload run by its three parts.
func (b *bench) overloadTable() table {
	t := table{title: fmt.Sprintf("Orders of 200 products at three times the peak: at most %d under way, and whoever finds no connection free for %s leaves; latency counts from the arrival", burstClients, burstPatience)}
	t.add("", "arrivals per second", "placed", "refused", "left", "p50 ms", "p99 ms")
	o := b.middle()
	if o == nil {
		return t
	}
	shares := make([]string, len(b.overload))
	for i, run := range b.overload {
		shares[i] = fmt.Sprintf("%.0f %%", run.share())
	}
	t.title += fmt.Sprintf("; the middle one of %d runs, in which the burst placed %s of the peak:", len(shares), strings.Join(shares, ", "))
	calm, burst := int(calmTime/time.Second), int((calmTime+burstTime)/time.Second)
	for _, part := range []struct {
		name    string
		seconds []second
	}{{"before", o.seconds[:calm]}, {"the burst", o.seconds[calm:burst]}, {"after", o.seconds[burst:]}} {
		var sum second
		arrivals, latencies := 0, newHistogram(2)
		for _, s := range part.seconds {
			for v, n := range s.counts {
				sum.counts[v] += n
				arrivals += n
			}
			sum.orders, sum.unsent = sum.orders+s.orders, sum.unsent+s.unsent
			latencies.Merge(s.latencies)
		}
		each := func(n int) string { return fmt.Sprintf("%.0f", float64(n)/float64(len(part.seconds))) }
		t.add(part.name, each(arrivals+sum.unsent), each(sum.orders), each(sum.counts[shed]), each(sum.unsent), fmt.Sprintf("%.1f", at(latencies, 50)), fmt.Sprintf("%.1f", at(latencies, 99)))
	}
	return t
}

// judgeOverload finds goodput and recovery in the seconds of a run.
func judgeOverload(r result, peak float64) *overloadRun {
	calm, burst := int(calmTime/time.Second), int(burstTime/time.Second)
	o := &overloadRun{result: r, peak: peak, recovery: -1}
	var before []float64
	for _, s := range r.seconds[calm/2 : calm] { // the first half warms up
		before = append(before, at(s.latencies, 99))
	}
	o.normal = normalTolerance * median(before)
	orders := 0
	for _, s := range r.seconds[calm : calm+burst] {
		orders += s.orders
	}
	o.goodput = float64(orders) / burstTime.Seconds()
	isNormal := func(s second) bool {
		return s.orders > 0 && s.counts[shed]+s.counts[limited]+s.counts[failed]+s.unsent == 0 && at(s.latencies, 99) <= o.normal
	}
	after := r.seconds[calm+burst:]
	for i := range after {
		if i+normalSeconds <= len(after) && !slices.ContainsFunc(after[i:i+normalSeconds], func(s second) bool { return !isNormal(s) }) {
			o.recovery = i
			break
		}
	}
	return o
}
