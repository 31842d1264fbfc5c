package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/company/order-catalog-service/tests/load/wire"
)

// hopeless is how many requests of a worker may fail on the wire, one after the other, before it gives up.
const hopeless = 20

// closed keeps connections busy for a time: each worker sends its next request when the last one is answered.
// Requests under way at the end are awaited, so that all that was accepted is counted. next writes a worker's request.
func closed(ctx context.Context, t target, connections int, duration time.Duration, next func(*worker)) (result, error) {
	rec := newRecorder()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
	)
	workers := make([]*worker, connections)
	for i := range workers {
		w, err := t.worker(ctx, i)
		if err != nil {
			return result{}, err
		}
		defer w.close()
		workers[i] = w
	}
	began := time.Now()
	end := began.Add(duration)
	for _, w := range workers {
		wg.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
				next(w)
				sent := now
				var err error
				if now, err = w.send(ctx, rec, sent, sent); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return result{}, err
	}
	rec.took = time.Since(began)
	return rec.result, nil
}

// send sends a worker's request, reads and judges the answer, and says what time it is then. Latency counts from
// intended, the moment when the request should have been sent. An error is that nothing can be sent any more.
func (w *worker) send(ctx context.Context, rec *recorder, intended, now time.Time) (time.Time, error) {
	if w.conn == nil {
		conn, err := wire.Dial(ctx, w.address)
		if err != nil {
			return w.broken(rec, intended, err)
		}
		w.conn = conn
	}
	r, err := w.conn.Do(now, w.request)
	if err != nil {
		w.close()
		w.unsure()
		return w.broken(rec, intended, err)
	}
	w.failures = 0
	done := time.Now()
	v := w.judge(r)
	rec.add(w.kind, v, intended, done.Sub(intended))
	if v == failed {
		rec.fail(fmt.Sprintf("%s: %d %.300s", w.kind, r.Status, r.Body))
	}
	if r.Close {
		w.close()
	}
	return done, nil
}

// broken notes a request that got no answer.
func (w *worker) broken(rec *recorder, intended time.Time, err error) (time.Time, error) {
	rec.add(w.kind, failed, intended, 0)
	rec.fail(fmt.Sprintf("%s: %v", w.kind, err))
	if w.failures++; w.failures < hopeless {
		return time.Now(), nil
	}
	return time.Now(), fmt.Errorf("%d requests in a row got no answer: %w", hopeless, err)
}

func (w *worker) close() {
	if w.conn != nil {
		_ = w.conn.Close() // nothing is lost with it
		w.conn = nil
	}
}
