package resilience

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrRefused says that there is no room. Nothing was done.
var ErrRefused = errors.New("more requests than can be worked on")

// How many waiters are enough in overload: in percent of the limit, and at least.
const (
	enoughWait = 50
	fewest     = 4
)

// reason is why a request was refused.
type reason uint8

const (
	late    reason = iota // its budget was over
	gone                  // its client left, or had no time left
	crowded               // there was no place in the queue
	shed                  // an operator has switched its class off
	reasons = 4
)

var (
	reasonNames = [reasons]string{"late", "gone", "crowded", "shed"}
	// Made once: under overload, refusing is the work.
	refusals = [reasons]error{
		fmt.Errorf("%w: no permit within the budget", ErrRefused),
		fmt.Errorf("%w: the client has left", ErrRefused),
		fmt.Errorf("%w: too many wait", ErrRefused),
		fmt.Errorf("%w: the class is switched off", ErrRefused),
	}
)

// waiter is a request without a permit.
type waiter struct {
	came time.Time
	turn chan struct{} // closed when there is a verdict; what follows is set before, under the limiter's lock
	err  error
}

// enqueue lets one more of a class wait.
func (l *Limiter) enqueue(c Class) *list.Element {
	l.saturated = true
	now := time.Now()
	at := l.waiting[c].PushBack(&waiter{came: now, turn: make(chan struct{})})
	l.mark(c, now)
	return at
}

// mark looks at a class's queue, whenever it may have changed. A queue in which somebody has stood for long is not a burst
// but overload, and it stays one for a while: work that is done in batches empties the queue again and again. In overload
// it needs just enough waiters that each permit finds one: more of them would only cost a wait each, and end refused.
func (l *Limiter) mark(c Class, now time.Time) {
	queue := l.waiting[c]
	if queue.Len() > 0 && now.Sub(queue.Front().Value.(*waiter).came) > l.options.Budget/4 {
		l.stood[c] = now
	}
	enough := max(fewest, share(l.limit, enoughWait))
	l.full[c].Store(queue.Len() >= l.options.Max || (queue.Len() >= enough && l.overload(c, now)))
}

// overload tells whether somebody has stood in a class's queue for long, not long ago.
func (l *Limiter) overload(c Class, now time.Time) bool {
	return now.Sub(l.stood[c]) < l.options.Budget
}

// tell ends a wait.
func (l *Limiter) tell(queue *list.List, at *list.Element, verdict error) {
	w := queue.Remove(at).(*waiter)
	w.err = verdict
	close(w.turn)
}

// hand gives free permits to those who wait, the most important class first. So nobody of a class waits while the
// class is open, and who comes then passes nobody.
func (l *Limiter) hand(now time.Time) {
	for c := Checkout; c < classes; c++ {
		queue := l.waiting[c]
		l.mark(c, now)
		for queue.Len() > 0 && l.open(c) {
			next := queue.Front()
			// Where the oldest has stood for half of its time, all of the queue would get in just before, or after, their
			// time is over; newest first, most get in fresh.
			if now.Sub(next.Value.(*waiter).came) > l.options.Budget/2 {
				next = queue.Back()
			}
			l.take(c)
			l.tell(queue, next, nil)
			l.mark(c, now)
		}
	}
}

// await waits for the verdict, for as long as the budget and the client allow. It is called with the lock held and
// lets go of it.
func (l *Limiter) await(ctx context.Context, c Class, at *list.Element) error {
	l.mu.Unlock()
	w := at.Value.(*waiter)
	timer := time.NewTimer(l.options.Budget)
	defer timer.Stop()
	why := late
	select {
	case <-w.turn:
	case <-timer.C:
	case <-ctx.Done():
		why = gone
	}
	l.mu.Lock()
	select {
	case <-w.turn: // perhaps in the same moment as the end of the wait
		if w.err == nil && ctx.Err() != nil {
			l.inFlight[c]--
			l.hand(time.Now())
			w.err = refusals[gone]
			l.refused[c][gone]++
		}
	default:
		l.waiting[c].Remove(at)
		l.mark(c, time.Now())
		w.err = refusals[why]
		l.refused[c][why]++
	}
	l.mu.Unlock()
	if l.wait != nil {
		l.wait.Record(ctx, time.Since(w.came).Seconds(), labels[c])
	}
	return w.err
}
