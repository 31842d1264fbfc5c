package main

import (
	"context"
	"fmt"
	"time"
)

// clients are the numbers of connections of the scaling curve.
var clients = []int{1, 2, 4, 8, 16, 32, 64, 128, 256}

// point is one measurement of the curve.
type point struct {
	clients        int
	rate, p50, p99 float64
}

// The curve's series.
const (
	curveOurs     = "ours"
	curveSeparate = "pgbench, separate statements"
	curveSingle   = "pgbench, one statement"
)

// curveKey is a series of the curve for one workload.
type curveKey struct{ series, workload string }

// measureCurve measures orders with more and more clients: ours, and pgbench in both forms, next to each other.
func (b *bench) measureCurve(ctx context.Context) error {
	s := b.direct
	for _, workload := range []struct {
		suffix string
		next   func(*worker)
	}{{spread, spreadOrder}, {hot, hotOrder}} {
		for _, n := range clients {
			if err := b.customers.sign(); err != nil {
				return err
			}
			for _, series := range []struct {
				name string
				run  func(time.Duration) (result, error)
			}{
				{curveOurs, func(d time.Duration) (result, error) { return closed(ctx, s.target(), n, d, workload.next) }},
				{curveSeparate, func(d time.Duration) (result, error) { return s.pgbenchRun(ctx, separate+workload.suffix, n, d) }},
				{curveSingle, func(d time.Duration) (result, error) { return s.pgbenchRun(ctx, single+workload.suffix, n, d) }},
			} {
				r, err := series.run(b.curveTime)
				if err != nil {
					return fmt.Errorf("%s with %d clients: %w", series.name, n, err)
				}
				key := curveKey{series.name, workload.suffix}
				b.curve[key] = append(b.curve[key], point{n, r.rate(), at(r.latencies, 50), at(r.latencies, 99)})
				if series.name == curveOurs {
					if err := s.rest(ctx); err != nil {
						return err
					}
				}
			}
			last := func(series string) float64 {
				points := b.curve[curveKey{series, workload.suffix}]
				return points[len(points)-1].rate
			}
			b.say("curve%s %3d clients: ours %.0f/s, pgbench %.0f/s and %.0f/s", workload.suffix, n, last(curveOurs), last(curveSeparate), last(curveSingle))
		}
	}
	return nil
}

// best is the highest rate of a series over all numbers of clients.
func (b *bench) best(series, workload string) (top point) {
	for _, p := range b.curve[curveKey{series, workload}] {
		if p.rate > top.rate {
			top = p
		}
	}
	return top
}
