package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// stretch is a time in which so many requests arrive a second.
type stretch struct {
	duration time.Duration
	rate     float64
}

// schedule is when requests arrive, whatever becomes of those before them.
type schedule struct {
	stretches   []stretch
	connections int           // as many requests can be under way
	patience    time.Duration // an arrival that finds no connection for so long is not sent any more
}

// duration is the schedule's whole.
func (s schedule) duration() (d time.Duration) {
	for _, part := range s.stretches {
		d += part.duration
	}
	return d
}

// arrivals calls arrive for each arrival with its time from the beginning, in order: a Poisson process, as of many
// customers who don't know of each other. It ends early when arrive says so.
func (s schedule) arrivals(random *rand.Rand, arrive func(time.Duration) bool) {
	var begin time.Duration
	for _, part := range s.stretches {
		for at := begin; part.rate > 0; {
			at += time.Duration(random.ExpFloat64() / part.rate * float64(time.Second))
			if at >= begin+part.duration {
				break
			}
			if !arrive(at) {
				return
			}
		}
		begin += part.duration
	}
}

// open sends requests when they arrive. A request's latency counts from its arrival, also while it waits for a
// connection: a service that stalls is not spared the requests that came meanwhile (coordinated omission). Arrivals
// that wait longer than the schedule's patience are counted as not sent.
func open(ctx context.Context, t target, s schedule, next func(*worker)) (result, error) {
	workers := make([]*worker, s.connections)
	for i := range workers {
		w, err := t.worker(ctx, i)
		if err != nil {
			return result{}, err
		}
		defer w.close()
		workers[i] = w
	}
	most := 0.0
	for _, part := range s.stretches {
		most = max(most, part.rate)
	}
	// As many wait as can arrive within their patience, and some: a Poisson process has its moods.
	queue := make(chan time.Time, int(most*s.patience.Seconds()*1.5)+1000)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rec := newRecorder()
	rec.schedule(int((s.duration() + time.Second - 1) / time.Second))
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for intended := range queue {
				now := time.Now()
				if now.Sub(intended) > s.patience {
					rec.leave(intended)
					continue
				}
				next(w)
				if _, err := w.send(ctx, rec, intended, now); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer close(queue)
		runtime.LockOSThread() // naps block it
		defer runtime.UnlockOSThread()
		dispatch(ctx, rec, s, queue)
	})
	wg.Wait()
	if ctx.Err() != nil {
		return result{}, context.Cause(ctx)
	}
	rec.took = time.Since(rec.began)
	return rec.result, nil
}

// pause is the shortest nap: waking up for each of ten thousand arrivals a second would take much of a core from the service. It
// is what a latency can be too high by.
const pause = 500 * time.Microsecond

// dispatch puts arrivals into the queue when their time has come.
func dispatch(ctx context.Context, rec *recorder, s schedule, queue chan<- time.Time) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1)) //nolint:gosec // no secret
	s.arrivals(random, func(at time.Duration) bool {
		intended := rec.began.Add(at)
		for wait := time.Until(intended); wait > 0; wait = time.Until(intended) {
			nap(max(wait, pause))
		}
		select {
		case queue <- intended:
		default:
			rec.leave(intended)
		}
		return ctx.Err() == nil
	})
}

// errNothing is a run in which nobody was served.
var errNothing = errors.New("nothing was answered as it should be")
