// Package cache keeps finished bytes in two levels: this process's memory, and Redis for all processes.
//
// It is allowed to be late, within a bound, and never to go backwards:
//
//   - A changed value is dropped everywhere at once (Invalidate: Redis, then a message to every process). Should
//     the message or Redis be lost, an entry is believed for SoftTTL after it was read from the database; then it
//     is served at most for as long again while one background load replaces it. So staleness is bounded by twice
//     SoftTTL plus one load (a minute, as set up), with every message lost.
//   - Entries carry a version that only grows. A slow load can't put an old value over a newer one: in memory and
//     in Redis a fill below the known version is dropped, and a load that took over two seconds is not kept.
//   - When database and Redis are away, the last known value serves on for StaleIfError.
//
// One load per key and process runs at a time, however many wait for it, and belongs to none of them: a caller
// who leaves does not abort it. Only an invalidation starts another beside it, as who asks after a change must not
// be answered by a load from before. Nothing that decides an order is ever read from here.
//
// private.go has another kind, for what is one caller's own.
package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// ErrNotFound is what a load returns for what does not exist; it is remembered for NegativeTTL.
var ErrNotFound = errors.New("not found")

// Entry is a value with what validates it.
type Entry struct {
	Body    []byte
	ETag    string
	Link    string // the Link header that belongs to it, for pages
	Version int64
	// Value is what Body says, or stands in its place, for who needs it decoded. It stays in this process, as long as
	// Weight bytes of memory are had for it, and must not be changed.
	Value  any
	Weight int
}

// Options of a cache; zero durations take the defaults in brackets.
type Options struct {
	Name         string        // begins its Redis keys and channels: name:{id}, invalidate:name:{id}
	Redis        *redis.Client // nil: memory only
	TTL          time.Duration // in Redis, jittered (1 h)
	SoftTTL      time.Duration // how long an entry is believed unasked (30 s)
	NegativeTTL  time.Duration // how long an absence is believed (5 s)
	StaleIfError time.Duration // how long an entry may stand in for a database that is away (5 min)
	MaxBytes     uint64        // of memory (64 MiB)
	Now          func() time.Time
}

const (
	slowLoad    = 2 * time.Second
	loadTimeout = 5 * time.Second
	tombstone   = 5 * time.Second // longer than any load that is kept
)

// Cache is safe for concurrent use.
type Cache struct {
	o      Options
	memory *otter.Cache[string, *item]
	flight singleflight.Group
	// flushed is when the subscription was last interrupted: entries older than that missed messages.
	flushed atomic.Int64
	// generation moves with everything that was changed or may have been missed.
	generation atomic.Int64
	stats      stats
}

// item is an entry in memory. A dropped one stays as a tombstone that carries the version it was dropped for.
type item struct {
	Entry
	missing bool
	dropped bool
	at      time.Time // when the database was asked
}

// New makes a cache.
func New(o Options) (*Cache, error) {
	defaults(&o.TTL, time.Hour)
	defaults(&o.SoftTTL, 30*time.Second)
	defaults(&o.NegativeTTL, 5*time.Second)
	defaults(&o.StaleIfError, 5*time.Minute)
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	memory, err := otter.New(&otter.Options[string, *item]{
		MaximumWeight: o.MaxBytes,
		Weigher:       func(key string, i *item) uint32 { return uint32(len(key) + len(i.Body) + i.Weight + 160) }, //nolint:gosec // entries are kilobytes
	})
	if err != nil {
		return nil, fmt.Errorf("making the %s cache: %w", o.Name, err)
	}
	return &Cache{o: o, memory: memory}, nil
}

func defaults(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Get returns the entry of id, loading it when needed. load reads the truth, and returns ErrNotFound for nothing.
func (c *Cache) Get(ctx context.Context, id string, load func(context.Context) (Entry, error)) (Entry, error) {
	now := c.o.Now()
	if i, ok := c.memory.GetIfPresent(id); ok && !i.dropped {
		switch age := now.Sub(i.at); {
		case i.at.UnixNano() <= c.flushed.Load():
		case i.missing && age < c.o.NegativeTTL:
			c.stats.negative.Add(1)
			return Entry{}, ErrNotFound
		case !i.missing && age < c.o.SoftTTL:
			c.stats.memory.Add(1)
			return i.Entry, nil
		case !i.missing && age < 2*c.o.SoftTTL:
			c.stats.memory.Add(1)
			c.flight.DoChan(id, background.Catch(c.o.Name, func() (any, error) { return c.refresh(context.Background(), id, load) }))
			return i.Entry, nil
		}
	}
	// Whoever comes first has the load in its trace; that one may leave, and the load goes on for the others.
	traced := telemetry.Current(ctx).Under(context.Background())
	select {
	case res := <-c.flight.DoChan(id, background.Catch(c.o.Name, func() (any, error) { return c.fill(traced, id, load) })):
		if res.Err != nil {
			return Entry{}, res.Err
		}
		return res.Val.(Entry), nil
	case <-ctx.Done():
		return Entry{}, ctx.Err()
	}
}

// fill asks Redis, then the database.
func (c *Cache) fill(traced context.Context, id string, load func(context.Context) (Entry, error)) (Entry, error) {
	ctx, cancel := context.WithTimeout(traced, loadTimeout)
	defer cancel()
	here, found := c.memory.GetIfPresent(id)
	if found && c.believed(here) { // another flight landed since the caller looked
		if here.missing {
			c.stats.negative.Add(1)
			return Entry{}, ErrNotFound
		}
		c.stats.memory.Add(1)
		return here.Entry, nil
	}
	known, at, ok := c.fetch(ctx, id)
	if found && known.Version < here.Version {
		ok = false // Redis missed an invalidation that this process knows of
	}
	if ok && c.o.Now().Sub(at) < c.o.SoftTTL {
		c.stats.redis.Add(1)
		c.keep(id, &item{Entry: known, at: at})
		return known, nil
	}
	c.stats.misses.Add(1)
	entry, err := c.refresh(traced, id, load)
	if err == nil || errors.Is(err, ErrNotFound) {
		return entry, err
	}
	if ok && c.o.Now().Sub(at) < c.o.StaleIfError {
		c.stats.stale.Add(1)
		return known, nil
	}
	return Entry{}, err
}

// believed says whether an item answers without asking anybody.
func (c *Cache) believed(i *item) bool {
	limit := c.o.SoftTTL
	if i.missing {
		limit = c.o.NegativeTTL
	}
	return !i.dropped && i.at.UnixNano() > c.flushed.Load() && c.o.Now().Sub(i.at) < limit
}

// refresh loads, and falls back on memory when the database is away.
func (c *Cache) refresh(traced context.Context, id string, load func(context.Context) (Entry, error)) (Entry, error) {
	entry, err := c.load(traced, id, load)
	if err == nil || errors.Is(err, ErrNotFound) {
		return entry, err
	}
	if i, ok := c.memory.GetIfPresent(id); ok && !i.dropped && !i.missing && c.o.Now().Sub(i.at) < c.o.StaleIfError {
		c.stats.stale.Add(1)
		return i.Entry, nil
	}
	return Entry{}, err
}

// load reads the truth and keeps it, unless that took so long that it may be history.
func (c *Cache) load(traced context.Context, id string, load func(context.Context) (Entry, error)) (entry Entry, err error) {
	ctx, cancel := context.WithTimeout(traced, loadTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // on its own goroutine, where nobody else would
			err = fmt.Errorf("loading %s %s: panic: %v", c.o.Name, id, p)
		}
	}()
	c.stats.loads.Add(1)
	at := c.o.Now()
	entry, err = load(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
		c.keep(id, &item{missing: true, at: at})
		return Entry{}, ErrNotFound
	case err != nil:
		c.stats.loadErrors.Add(1)
		return Entry{}, err
	}
	if c.o.Now().Sub(at) < slowLoad {
		c.keep(id, &item{Entry: entry, at: at})
		c.store(ctx, id, entry, at)
	}
	return entry, nil
}

// keep puts an item into memory unless a newer one is known there. An absence has no version: there the later
// question counts.
func (c *Cache) keep(id string, fresh *item) {
	c.memory.Compute(id, func(old *item, found bool) (*item, otter.ComputeOp) {
		if found && (fresh.missing || old.missing) {
			if fresh.at.Before(old.at) {
				return nil, otter.CancelOp
			}
			return fresh, otter.WriteOp
		}
		if found && fresh.Version < old.Version && !(old.dropped && c.o.Now().Sub(old.at) > tombstone) {
			return nil, otter.CancelOp
		}
		return fresh, otter.WriteOp
	})
}

// Generation moves whenever an entry is dropped or a message may have been lost. Pages that are made of many entries
// carry it in their key: what changes one of them makes all of them new.
func (c *Cache) Generation() int64 { return c.generation.Load() }

// drop makes the entry of id unusable here, and anything older than version unable to come back. A load under way
// may have read the old value: those who wait for it get it, those who come now start their own.
func (c *Cache) drop(id string, version int64) {
	c.memory.Compute(id, func(old *item, found bool) (*item, otter.ComputeOp) {
		if found && old.Version >= version && !old.missing {
			return nil, otter.CancelOp
		}
		return &item{Entry: Entry{Version: version}, dropped: true, at: c.o.Now()}, otter.WriteOp
	})
	c.flight.Forget(id)
	c.generation.Add(1)
}

// jittered spreads expiries, so that what was filled together does not expire together.
func jittered(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/10+1)) //nolint:gosec // not a secret
}
