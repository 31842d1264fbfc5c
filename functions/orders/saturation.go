package orders

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
)

// What happens to an order that can't be placed now, where Options.QueueAfter says so: it is kept in the queue and
// answered 202, as if the client had asked for that (queue.go). While the database is away its clock and its ticket
// come from here.

// errLongWait says that an order would wait in the lane for longer than it may.
var errLongWait = fmt.Errorf("%w: the wait is too long", postgres.ErrUnavailable)

// ticketLife is how long a ticket in Redis is kept: as long as the order may still be placed, and read about.
const ticketLife = 24 * time.Hour

// saturated tells whether an order that failed with err is queued instead of refused.
func (o *Orders) saturated(err error) bool {
	return o.QueueAfter > 0 && errors.Is(err, postgres.ErrUnavailable)
}

// databaseClock is the database's clock while it can't be asked: what it last showed, and the time since then by the
// monotonic clock, never by this instance's time of day (CX-19). It runs late by the way of an answer and by what a
// suspended machine slept: an order expires that much too early, never too late (CX-04).
type databaseClock struct{ last atomic.Pointer[sighting] }

type sighting struct{ shown, at time.Time }

// saw is called with what the clock showed, when the answer is here.
func (c *databaseClock) saw(shown time.Time) { c.last.Store(&sighting{shown, time.Now()}) }

// now is false when the clock was never seen.
func (c *databaseClock) now() (time.Time, bool) {
	s := c.last.Load()
	if s == nil {
		return time.Time{}, false
	}
	return s.shown.Add(time.Since(s.at)), true
}

// acceptBlindly is the time of acceptance of an order while the database is away. Its key may be known there: placed
// by key, it will be a replay. Without Redis there would be no ticket, so nothing must be sent.
func (o *Orders) acceptBlindly(ctx context.Context) (time.Time, error) {
	now, ok := o.clock.now()
	if !ok || o.Redis == nil {
		return now, fmt.Errorf("%w: nor can its clock or a ticket be had", postgres.ErrUnavailable)
	}
	if err := o.Redis.Ping(ctx).Err(); err != nil {
		return now, fmt.Errorf("%w: nor is Redis there: %w", postgres.ErrUnavailable, err)
	}
	return now, nil
}

// remember keeps a ticket in Redis.
func (o *Orders) remember(ctx context.Context, key idempotency.Request) error {
	if o.Redis == nil {
		return fmt.Errorf("%w: there is no place for a ticket", postgres.ErrUnavailable)
	}
	if err := o.Redis.Set(ctx, ticketKey(key.Caller, key.ID()), Queued, ticketLife).Err(); err != nil {
		return fmt.Errorf("%w: keeping a ticket: %w", postgres.ErrUnavailable, err)
	}
	return nil
}

// remembers tells whether Redis has a caller's ticket.
func (o *Orders) remembers(ctx context.Context, caller, id uuid.UUID) (bool, error) {
	if o.Redis == nil {
		return false, nil
	}
	err := o.Redis.Get(ctx, ticketKey(caller, id)).Err()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, redis.Nil):
		return false, nil
	}
	return false, fmt.Errorf("%w: looking for a ticket: %w", postgres.ErrUnavailable, err)
}

func ticketKey(caller, id uuid.UUID) string {
	return "{" + hex.EncodeToString(caller[:]) + "}:ticket:" + id.String()
}
