package dependency

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The budget of retries. When everything fails, everybody's retries would double the load at the worst moment; a tenth is
// enough for what breaks by itself.
const (
	price  = 10               // calls that earn a retry
	saved  = 20 * price       // what is earned and not used: no more than a burst's
	floor  = 3                // retries that a process has however few calls it makes
	window = 10 * time.Second // in so much time
)

// Retrier makes calls again that failed, of one dependency. It has a loop and a budget of its own: the library's budget
// counts what is under way at one moment, so that one caller after the other would repeat every call, and it is asked only
// after the pause.
type Retrier struct {
	policy Policy
	earned atomic.Int64

	mu    sync.Mutex
	began time.Time // when the window of the floor did
	given int       // of the floor, since then

	made, denied atomic.Int64
}

// NewRetrier makes the retrier of a policy.
func NewRetrier(p Policy) *Retrier { return &Retrier{policy: p} }

// Do makes a call, and makes it again when it failed in a way that again says may pass: as often as the policy, the
// budget and ctx allow. The call must do no harm when it is made twice.
func (r *Retrier) Do(ctx context.Context, call func() error, again func(error) bool) error {
	if r.earned.Load() < saved {
		r.earned.Add(1)
	}
	err := call()
	for n := int32(0); err != nil && n < r.policy.Retries && again(err); n++ {
		if ctx.Err() != nil || !r.spend(time.Now()) {
			return err
		}
		pause := time.NewTimer(rand.N(r.policy.Backoff << n)) //nolint:gosec // spreads load, hides nothing
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
		err = call()
	}
	return err
}

// spend takes a retry out of the budget, or says that there is none.
func (r *Retrier) spend(now time.Time) bool {
	for earned := r.earned.Load(); earned >= price; earned = r.earned.Load() {
		if r.earned.CompareAndSwap(earned, earned-price) {
			r.made.Add(1)
			return true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.began) >= window {
		r.began, r.given = now, 0
	}
	if r.given >= floor {
		r.denied.Add(1)
		return false
	}
	r.given++
	r.made.Add(1)
	return true
}
