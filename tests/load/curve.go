package main

import (
	"context"
	"fmt"
	"time"
)

// clients are the numbers of connections of the scaling curve. pgbench stops at pgbenchClients: each of its clients has a
// connection to the database.
var clients = []int{1, 2, 4, 8, 16, 32, 64, 128, 256, crowd}

const pgbenchClients = 256

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

var allSeries = []string{curveOurs, curveSeparate, curveSingle}

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
				if series.name != curveOurs && n > pgbenchClients {
					continue
				}
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
			said := fmt.Sprintf("curve%s %3d clients:", workload.suffix, n)
			for _, series := range allSeries {
				if p, ok := b.at(series, workload.suffix, n); ok {
					said += fmt.Sprintf(" %s %.0f/s;", series, p.rate)
				}
			}
			b.say("%s", said[:len(said)-1])
		}
	}
	return nil
}

// at is a series' measurement with so many clients, if there is one.
func (b *bench) at(series, workload string, clients int) (point, bool) {
	for _, p := range b.curve[curveKey{series, workload}] {
		if p.clients == clients {
			return p, true
		}
	}
	return point{}, false
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
