package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Charge is one call's bill. A nil Charge is of a call that is not limited: its methods do nothing.
type Charge struct {
	limit     *Limit
	caller    uuid.UUID
	counted   bool // by one budget or the other, or refused by it
	standings [maxPolicies]Standing
	n         int  // of the standings
	free      bool // counted as no call of the quota: refused, or a replay
	away      bool // refused as Redis is away
	paid      payment
	ends      time.Time // of the lease that paid
}

// ErrAway says that Redis is away, and that calls of this class are then refused.
var ErrAway = errors.New("the rate limit is kept by a store that is away")

// Standing is what a caller has left of a policy.
type Standing struct {
	Policy    string
	Remaining int
	Reset     time.Duration // until more comes back
}

// RefusedError says that a caller has used up what they may.
type RefusedError struct {
	Policies []string      // whose quota is used up
	Wait     time.Duration // until each has room again
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("rate limit used up: %s", strings.Join(e.Policies, ", "))
}

// Windows is how many windows of each kind the call is charged to.
func (c *Charge) Windows() int {
	if c == nil {
		return 0
	}
	return len(c.limit.quotas)
}

// Keys appends what Script gets as keys: the quotas' windows, then the replays'.
func (c *Charge) Keys(words []any) []any {
	if c == nil {
		return words
	}
	of := tag(c.caller)
	for i := range c.limit.quotas {
		words = append(words, of+c.limit.quotas[i].suffix)
	}
	for i := range c.limit.replays {
		words = append(words, of+c.limit.replays[i].suffix)
	}
	return words
}

// Args appends what Script gets as arguments for the windows of Keys: three for each.
func (c *Charge) Args(words []any) []any {
	if c == nil {
		return words
	}
	for i := range c.limit.quotas {
		words = append(words, c.limit.quotas[i].args[:]...)
	}
	for i := range c.limit.replays {
		words = append(words, c.limit.replays[i].args[:]...)
	}
	return words
}

// Counted notes what Script counted, or refused to count, for a new call or for a replay. The error is a
// *RefusedError.
func (c *Charge) Counted(ctx context.Context, granted bool, standings string, replay bool) error {
	if c == nil {
		return nil
	}
	c.read(standings, replay)
	return c.done(ctx, 1, granted, replay)
}

// read takes in the standings as Script writes them. What can't be read is left out: it only informs.
func (c *Charge) read(standings string, replay bool) {
	windows := c.limit.quotas
	if replay {
		windows = c.limit.replays
	}
	c.n = 0
	for i := range windows {
		var left, back string
		left, standings, _ = strings.Cut(standings, " ")
		back, standings, _ = strings.Cut(standings, " ")
		remaining, _ := strconv.Atoi(left)
		ms, err := strconv.Atoi(back)
		if err != nil {
			return
		}
		w := &windows[i]
		c.standings[i] = Standing{
			Policy: w.Name, Remaining: min(max(0, remaining), w.Quota),
			Reset: min(max(0, time.Duration(ms)*time.Millisecond), w.slot*time.Duration(w.slots)),
		}
		c.n++
	}
}

// done ends the bill: nil, or why the call is refused.
func (c *Charge) done(ctx context.Context, calls int, granted, replay bool) error {
	c.counted, c.free = true, replay || !granted
	if c.away {
		return ErrAway
	}
	if granted {
		return nil
	}
	budget := c.limit.metrics.calls
	if replay {
		budget = c.limit.metrics.repeats
	}
	c.limit.metrics.refused.Add(ctx, 1, budget)
	refused := &RefusedError{Wait: time.Second}
	for _, s := range c.standings[:c.n] {
		if s.Remaining < calls {
			refused.Policies = append(refused.Policies, s.Policy)
			refused.Wait = max(refused.Wait, s.Reset)
		}
	}
	return refused
}

// Alone charges the call in this process, as Redis does not answer. The error is a *RefusedError, or ErrAway where the class
// is closed then.
func (c *Charge) Alone(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.limit.metrics.alone.Add(ctx, 1, c.limit.metrics.nobody)
	if c.limit.shut() {
		c.away = true
		return c.done(ctx, 1, false, false)
	}
	return c.alone(ctx, false)
}

// Replay charges a replay that Redis has not seen to this process's own budget of them. The error is a *RefusedError.
func (c *Charge) Replay(ctx context.Context) error {
	if c == nil {
		return nil
	}
	return c.alone(ctx, true)
}

func (c *Charge) alone(ctx context.Context, replay bool) error {
	e := c.limit.callers.of(c.caller, c.limit)
	e.mu.Lock()
	granted := c.count(e, 1, replay)
	e.mu.Unlock()
	return c.done(ctx, 1, granted, replay)
}

// Left is how many calls the caller has left, by the tightest policy; ok is false while nothing is known of it.
func (c *Charge) Left() (calls int, ok bool) {
	if c == nil || c.n == 0 {
		return 0, false
	}
	calls = c.standings[0].Remaining
	for _, s := range c.standings[1:c.n] {
		calls = min(calls, s.Remaining)
	}
	return calls, true
}

// count charges one of the caller's budgets in this process. e.mu is held.
func (c *Charge) count(e *entry, calls int, replay bool) (granted bool) {
	n := len(c.limit.quotas)
	counts, windows := e.counts[:n], c.limit.quotas
	if replay {
		counts, windows = e.counts[n:], c.limit.replays
	}
	c.standings, granted = charge(counts, windows, calls, c.limit.local, c.limit.Now())
	c.n = n
	return granted
}

// Returned gives back what Alone has charged: the call was a replay after all.
func (c *Charge) Returned() {
	if c == nil {
		return
	}
	e := c.limit.callers.of(c.caller, c.limit)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uncount(len(c.limit.quotas))
}

// Mistake charges a call that was answered before anybody counted it, such as one with a body that is not valid. It is
// counted in this process only, and the next ones are refused by Enter.
func (c *Charge) Mistake() {
	if c == nil || c.counted {
		return
	}
	e := c.limit.callers.of(c.caller, c.limit)
	e.mu.Lock()
	defer e.mu.Unlock()
	c.count(e, 1, false)
	c.n = 0 // what this process knows of itself is not what the caller has left
}

// Enter refuses a caller who has used up what this process counted by itself. It counts nothing. The error is a
// *RefusedError.
func (c *Charge) Enter(ctx context.Context) error {
	if c == nil {
		return nil
	}
	e := c.limit.callers.known(c.caller)
	if e == nil {
		return nil
	}
	e.mu.Lock()
	now, full := c.limit.Now(), false
	for i := range c.limit.quotas {
		w := &c.limit.quotas[i]
		used, back := e.counts[i].look(w, now)
		c.standings[i] = Standing{Policy: w.Name, Remaining: max(0, c.limit.local(w)-used), Reset: back}
		full = full || c.standings[i].Remaining == 0
	}
	e.mu.Unlock()
	if !full {
		return nil
	}
	c.n = len(c.limit.quotas)
	return c.done(ctx, 1, false, false)
}
