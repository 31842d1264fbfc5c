package ratelimit

import (
	"context"
	"strconv"
	"strings"
	"time"

	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

// creditPart of a quota is what a process lets a caller use before it asks Redis, once per window, and what it leases
// then at a time.
const creditPart = 50

var take = sharedredis.NewScript(takeScript)

// lease is what a process may admit of a caller's quota without asking.
type lease struct {
	left     int
	ends     time.Time
	credit   int       // of calls before the first lease
	debt     int       // calls that Redis has not been told of
	spent    time.Time // when the last of the credit was used
	refused  time.Time // until when there is nothing to be had
	standing [maxPolicies]Standing
	asked    time.Time // when standing was true
}

// Take charges a call that has no key: against a lease, so that most calls cost no round trip. The error is a
// *RefusedError, or ErrAway.
//
// A caller's first calls in a window, a fiftieth of the quota, are on credit: who looks around a little costs Redis
// nothing. The next one pays for these and leases as many again. A lease ends a slot after it was counted, and is
// counted for a slot longer than other calls; what is left of it then is lost. So a window of the policy's length
// admits at most the quota and, for each process, the credit.
func (c *Charge) Take(ctx context.Context) error { return c.TakeAll(ctx, 1) }

// TakeAll charges a request that counts for several calls, all of them or none. One that counts for more than the whole
// quota is always refused.
func (c *Charge) TakeAll(ctx context.Context, calls int) error {
	if c == nil {
		return nil
	}
	e := c.limit.callers.of(c.caller, c.limit)
	e.mu.Lock()
	granted := c.take(ctx, e, calls)
	e.mu.Unlock()
	return c.done(ctx, calls, granted, false)
}

// take is Take. e.mu is held: calls of one caller that need a new lease wait for one.
func (c *Charge) take(ctx context.Context, e *entry, calls int) (granted bool) {
	l, now := &e.lease, c.limit.Now()
	if c.limit.Lane == nil {
		c.paid = paidAlone
		return c.count(e, calls, false)
	}
	if now.Before(l.refused) {
		c.show(l, now)
		return false
	}
	if l.left >= calls && now.Before(l.ends) {
		l.left -= calls
		c.paid, c.ends = paidByLease, l.ends
		c.show(l, now)
		return true
	}
	if now.Sub(l.spent) >= c.limit.longest {
		*l = lease{credit: c.limit.credit, asked: now}
		for i := range c.limit.quotas {
			w := &c.limit.quotas[i]
			l.standing[i] = Standing{Policy: w.Name, Remaining: w.Quota, Reset: w.slot * time.Duration(w.slots)}
		}
	}
	if l.credit >= calls {
		l.credit -= calls
		l.debt += calls
		c.paid = paidOnCredit
		l.spent = now
		c.show(l, now)
		return true
	}
	// What is left of a lease that is too small for these calls is lost, as at its end.
	got, standings, err := c.ask(ctx, l.debt+max(calls, c.limit.credit))
	if err != nil {
		c.limit.metrics.alone.Add(ctx, 1, c.limit.metrics.nobody)
		if c.limit.shut() {
			c.away = true
			return false
		}
		c.paid = paidAlone
		return c.count(e, calls, false)
	}
	c.read(standings, false)
	l.standing, l.asked = c.standings, now
	paid := min(got, l.debt)
	l.debt -= paid
	if l.left = got - paid; l.left == 0 {
		for _, s := range c.standings[:c.n] {
			if s.Remaining == 0 {
				l.refused = now.Add(s.Reset)
			}
		}
		return false
	}
	l.ends = now.Add(c.limit.shortest) // from before it was counted
	if granted = l.left >= calls; granted {
		l.left -= calls
		c.paid, c.ends = paidByLease, l.ends
	}
	c.show(l, now)
	return granted
}

// show says what the caller has left as far as this process knows.
func (c *Charge) show(l *lease, now time.Time) {
	c.standings, c.n = l.standing, len(c.limit.quotas)
	for i := range c.standings[:c.n] {
		s := &c.standings[i]
		s.Remaining = max(0, s.Remaining-l.debt) + l.left
		s.Reset = max(0, s.Reset-now.Sub(l.asked))
	}
}

// ask counts up to units in Redis.
func (c *Charge) ask(ctx context.Context, units int) (got int, standings string, err error) {
	n := len(c.limit.quotas)
	words := take.Words(n, 1+4*n)
	of := tag(c.caller)
	for i := range c.limit.quotas {
		words = append(words, of+c.limit.quotas[i].suffix)
	}
	words = append(words, units)
	for i := range c.limit.quotas {
		words = append(words, c.limit.quotas[i].args[:]...)
	}
	reply, err := take.Run(ctx, c.limit.Lane, words)
	if err != nil {
		return 0, "", err
	}
	granted, standings, _ := strings.Cut(reply, " ")
	got, err = strconv.Atoi(granted)
	return got, standings, err
}

// One charges a single call in Redis: for a write that has no claim to be counted with. The error is a *RefusedError.
func (c *Charge) One(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if c.limit.Lane == nil {
		return c.alone(ctx, false)
	}
	got, standings, err := c.ask(ctx, 1)
	if err != nil {
		return c.Alone(ctx)
	}
	c.read(standings, false)
	return c.done(ctx, 1, got > 0, false)
}
