package resilience

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Options are a Limiter's bounds.
type Options struct {
	// The limit starts at Start and stays between Min and Max. Min is what a machine manages on its worst day: below
	// it there would be too little in flight to see that the day is over.
	Min, Max, Start int
	// Target is how long work may take on average, without the wait for a permit.
	Target time.Duration
	// Budget is the longest wait for a permit.
	Budget time.Duration
	// Hold is how long a request that finds no room is kept before it hears so, and Held how many are kept at once. See TurnAway.
	Hold time.Duration
	Held int
}

// Check says what is wrong with the bounds.
func (o Options) Check() error {
	switch {
	case o.Min < 4: // so that each class has a permit
		return errors.New("the lowest limit must be at least 4")
	case o.Start < o.Min || o.Max < o.Start:
		return errors.New("the first limit must lie between the lowest and the highest")
	case o.Target <= 0 || o.Budget <= 0:
		return errors.New("target and budget must be longer than 0")
	case o.Hold < 0 || o.Held < 0:
		return errors.New("hold and held can't be negative")
	}
	return nil
}

// The loop that moves the limit: it decides once per window, on enough answers to mean something. A slow system gives
// few answers, so that it decides on fewer when the window has become long.
const (
	window     = 100 * time.Millisecond
	longWindow = time.Second
	enough     = 10
)

// Limiter is an adaptive limit of what is in flight (AIMD on latency). The measure is a fixed target instead of a
// gradient to the best latency seen: here latencies differ a hundredfold between a cached page and an order in the
// commit lane, so that "slower than before" mostly means that the mix of requests has changed.
type Limiter struct {
	options Options

	shed [classes]atomic.Bool // by hand

	mu       sync.Mutex
	limit    int
	inFlight [classes]int
	waiting  [classes]*list.List // of *waiter, oldest first
	refused  [classes][reasons]int64

	stood [classes]time.Time    // when last somebody had stood in the queue for long, see mark
	full  [classes]atomic.Bool  // see TurnAway
	away  [classes]atomic.Int64 // how many were turned away, besides the refused
	held  atomic.Int64          // how many are kept, see TurnAway

	// The current window.
	began     time.Time
	lowered   time.Time // what started earlier says nothing about the limit of now
	sum       [classes]time.Duration
	count     [classes]int
	saturated bool // at least half of the limit was in use

	wait metric.Float64Histogram // nil: nobody watches
}

// New makes a limiter.
func New(o Options) (*Limiter, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("making the admission limit: %w", err)
	}
	l := &Limiter{options: o, limit: o.Start, began: time.Now()}
	for c := range l.waiting {
		l.waiting[c] = list.New()
	}
	return l, nil
}

// Enter takes a permit, and may wait for it. The error is ErrRefused, always: whoever has entered must Leave.
func (l *Limiter) Enter(ctx context.Context, c Class) error {
	if l.shed[c].Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused[c][shed]++
		return refusals[shed]
	}
	l.mu.Lock()
	if err := ctx.Err(); err != nil { // nobody waits for the answer
		l.refused[c][gone]++
		l.mu.Unlock()
		return refusals[gone]
	}
	if l.open(c) {
		l.take(c)
		l.mu.Unlock()
		return nil
	}
	if l.full[c].Load() {
		l.refused[c][crowded]++
		l.mu.Unlock()
		return refusals[crowded]
	}
	return l.await(ctx, c, l.enqueue(c)) // unlocks
}

// TurnAway tells whether a request of a class must be refused without a look at it: others have stood in its queue for long,
// and are enough to take the next permits. It counts that refusal. It is asked before anything else and takes no lock.
//
// It takes its time to say so. A refusal costs little, but it is the whole of what a request costs that is sent again
// at once: under overload refusing became half of the work, and was lost to those who are served. So whoever is turned away
// is kept for Options.Hold first. Callers come through a bounded number of connections, those of a gateway or of the
// host, so that what is kept here can't ask again meanwhile; the queue is then on their side, where it costs nothing. When
// Options.Held are kept the next hears at once. Who finds room after all when the time is over is not refused.
func (l *Limiter) TurnAway(ctx context.Context, c Class) bool {
	if !l.full[c].Load() {
		return false
	}
	l.keep(ctx)
	if ctx.Err() == nil && !l.full[c].Load() {
		return false
	}
	l.away[c].Add(1)
	return true
}

// keep waits for Options.Hold, or until it is known that nobody waits for the answer any more: of a request whose body is
// unread the server does not notice.
func (l *Limiter) keep(ctx context.Context) {
	defer l.held.Add(-1)
	if l.held.Add(1) > int64(l.options.Held) {
		return
	}
	timer := time.NewTimer(l.options.Hold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Shed refuses all of a class, or no longer: an operator's last means, before the limit would get to it by itself.
func (l *Limiter) Shed(c Class, on bool) { l.shed[c].Store(on) }

// Leave gives the permit back. took is how long the work was, 0 when there was none. The time in which a client sent its
// body is no part of it, or slow clients would close the shop for all.
func (l *Limiter) Leave(c Class, took time.Duration) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight[c]--
	if took > 0 && !now.Add(-took).Before(l.lowered) {
		l.sum[c] += took
		l.count[c]++
	}
	l.decide(now)
	l.hand(now)
}

func (l *Limiter) total() int { return l.inFlight[Checkout] + l.inFlight[Browse] + l.inFlight[Rest] }

// open tells whether there is room for one more of a class.
func (l *Limiter) open(c Class) bool {
	checkout, browse, rest := l.inFlight[Checkout], l.inFlight[Browse], l.inFlight[Rest]
	return checkout+browse+rest < l.limit &&
		(c == Checkout || browse+rest < share(l.limit, browseAndRest)) &&
		(c == Browse || checkout+rest < share(l.limit, checkoutAndRest)) &&
		(c != Rest || rest < share(l.limit, restAlone))
}

func (l *Limiter) take(c Class) {
	l.inFlight[c]++
	if 2*l.total() >= l.limit {
		l.saturated = true
	}
}

// decide moves the limit at the end of a window. The slowest class counts: an average over all would hide ten slow
// orders among a thousand cached pages.
func (l *Limiter) decide(now time.Time) {
	answers := l.count[Checkout] + l.count[Browse] + l.count[Rest]
	age := now.Sub(l.began)
	if answers == 0 || age < window || (answers < enough && age < longWindow) {
		return
	}
	var slowest time.Duration
	for c, n := range l.count {
		if n > 0 {
			slowest = max(slowest, l.sum[c]/time.Duration(n))
		}
	}
	target := l.options.Target
	switch {
	case slowest > target:
		// By Little's law latency falls with what is in flight, so that this is nearly the limit sought; halved at
		// most, as one strange window must not close the shop.
		ratio := min(max(float64(target)/float64(slowest), 0.5), 0.95)
		l.limit = max(l.options.Min, int(float64(l.limit)*ratio))
		l.lowered = now
	case slowest <= target*9/10 && l.saturated: // between the two the limit stands still
		l.limit = min(l.options.Max, l.limit+max(1, l.limit/20))
	}
	l.began, l.saturated = now, false
	l.sum, l.count = [classes]time.Duration{}, [classes]int{}
}
