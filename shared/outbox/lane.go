package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lanes         = 2
	shardsPerLane = Shards / lanes
	// pace is the least time between two passes of a lane while it is busy: passes then carry hundreds of events for
	// the price of thirty, and an event waits for at most this and one pass.
	pace = 60 * time.Millisecond
)

// lane drains half of the shards, one pass at a time.
type lane struct {
	drain *Drain
	mask  uint32
	alarm *alarm

	due  atomic.Uint32 // shards to look at
	busy sync.Mutex    // held during a pass
}

// ring has the lane look at shards.
func (l *lane) ring(shards uint32) {
	l.due.Or(shards & l.mask)
	l.alarm.ring()
}

// run passes when there is something to look at, until ctx ends.
func (l *lane) run(ctx context.Context) {
	var pause backoff
	for l.alarm.wait(ctx) {
		shards := l.due.Swap(0)
		if shards == 0 {
			continue
		}
		res, err := l.pass(ctx, shards)
		switch {
		case err != nil:
			// What was not sent stays due; the broker or the database needs time more than questions.
			if pause.tries == 0 {
				l.drain.logger.WarnContext(ctx, "events wait to be sent", "error", err)
			}
			l.ring(shards)
			sleep(ctx, 10*pause.next())
		case res.again != 0:
			// Look again before letting go: what was committed during the pass met a held lock elsewhere.
			pause = backoff{}
			l.ring(res.again | res.held)
			sleep(ctx, pace)
		case res.held != 0:
			l.ring(res.held)
			sleep(ctx, pause.next())
		default:
			pause = backoff{}
		}
	}
}

// sweep passes over all shards of the lane until nothing is left in those it can have.
func (l *lane) sweep(ctx context.Context) error {
	for shards := l.mask; shards != 0; {
		res, err := l.pass(ctx, shards)
		if err != nil {
			return err
		}
		shards = res.again
	}
	return ctx.Err()
}

// pass is one look. A panic in it is an error: it runs on goroutines of its own, where it would end the process.
func (l *lane) pass(ctx context.Context, shards uint32) (res result, err error) {
	l.busy.Lock()
	defer l.busy.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("draining the outbox: panic: %v", p)
		}
	}()
	res, err = l.drain.pass(ctx, shards)
	if res.sent > 0 {
		l.drain.feed.ring()
	}
	return res, err
}

// alarm wakes one waiter, however often it is rung meanwhile.
type alarm struct{ c chan struct{} }

func newAlarm() *alarm { return &alarm{make(chan struct{}, 1)} }

func (a *alarm) ring() {
	select {
	case a.c <- struct{}{}:
	default:
	}
}

// wait returns true when the alarm rang, false when ctx ended.
func (a *alarm) wait(ctx context.Context) bool {
	select {
	case <-a.c:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// backoff counts tries: 5 ms, then twice as long each time, up to 250 ms.
type backoff struct{ tries int }

func (b *backoff) next() time.Duration {
	b.tries++
	return min(5*time.Millisecond<<min(b.tries-1, 8), 250*time.Millisecond)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
