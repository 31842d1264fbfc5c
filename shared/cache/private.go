package cache

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Private keeps what one caller reads again and again and changes by what they do: in Redis and in no process's memory, as
// the next request of theirs may reach any process. A Cache would have to tell all processes of every change.
//
// What a caller was answered they find in what they read next, whichever process answers:
//
//   - Before a write begins, its claim puts a hold in the value's place (idempotency.Request.Hold), in the round trip that it
//     makes anyway. The hold stays until the write must have been answered, and while it does nobody puts a value there. So
//     it doesn't matter whether anything arrives that is sent to Redis after the commit: nothing is.
//   - Who fills leases the place first, and stores only while the lease is still there. A hold takes it away, so that a slow
//     fill can't bring back what was read before the write. No version is needed, which every write would have to count.
//   - A write whose hold did not reach Redis says so (Lost): its process then asks nobody but the database for as long as an
//     older value may be believed. Other processes may show that one for as long, which is Unasked.
//
// A value is believed unasked for Unasked after the read that it came from began, by Redis' clock. After that it is compared
// with the database first, by a mark that costs less than the value. It never stands in for a database that is away.
type Private struct {
	o     PrivateOptions
	alone atomic.Int64 // until when this process asks the database
	stats stats
}

// PrivateOptions of a Private; zero durations take the defaults in brackets.
type PrivateOptions struct {
	Name    string        // labels its metrics
	Redis   *redis.Client // nil: the database is always asked
	TTL     time.Duration // in Redis, jittered (15 min)
	Unasked time.Duration // how long a value is believed (30 s)
	Write   time.Duration // the longest that a write takes from its hold to its answer (10 s)
	// Timeline names the history of the database. A value of another one is not believed.
	Timeline func() string
	Now      func() time.Time
}

// Source is where a value comes from.
type Source struct {
	// Load reads the value and its mark, which is another one whenever the value is. Both must be of one snapshot.
	Load func(context.Context) (Entry, string, error)
	// Mark reads the mark alone.
	Mark func(context.Context) (string, error)
}

const (
	// lease is longer than any fill that is kept.
	lease = 5 * time.Second
	// maxPrivate is the longest value in bytes: a page of orders with many lines each is rather read again than sent around.
	maxPrivate = 128 << 10
	// skew is what the clocks of this process and of Redis may differ in the length of a minute, and the latter's fractions
	// of a second, which it doesn't tell.
	skew = 2 * time.Second

	tokenSize, stampSize = 26, 10 // rand.Text, and seconds since 1970
)

// In Redis a key holds one of
//
//	L token                a lease
//	V token stamp value    a value; the stamp says since when it can be believed, in seconds of Redis' clock
//	H                      a hold
//
// and every script has one key, so that any clustering policy works.

// readScript answers `L now` with a lease for the token ARGV[1], which lives for ARGV[2] milliseconds, or `V now token stamp
// value`, or B for what can be neither read nor leased.
var readScript = redis.NewScript(`
local now = redis.call('TIME')[1]
local known = redis.call('GET', KEYS[1])
if not known then
  redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
  return 'L' .. now
end
if string.sub(known, 1, 1) == 'V' then return 'V' .. now .. string.sub(known, 2) end
return 'B'`)

// fillScript stores stamp and value, ARGV[2], for ARGV[3] milliseconds, where the lease is still the token's.
var fillScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'V' .. ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1`)

// confirmScript gives the token's value a new stamp, or takes it away where there is none in ARGV[2].
var confirmScript = redis.NewScript(`
local known = redis.call('GET', KEYS[1])
if not known or string.sub(known, 1, 1 + #ARGV[1]) ~= 'V' .. ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SETRANGE', KEYS[1], 1 + #ARGV[1], ARGV[2])
return 1`)

// forgetScript takes away a value or a lease, and leaves a hold.
var forgetScript = redis.NewScript(`
local known = redis.call('GET', KEYS[1])
if not known or string.sub(known, 1, 1) == 'H' then return 0 end
return redis.call('DEL', KEYS[1])`)

// NewPrivate makes a Private.
func NewPrivate(o PrivateOptions) *Private {
	defaults(&o.TTL, 15*time.Minute)
	defaults(&o.Unasked, 30*time.Second)
	defaults(&o.Write, 10*time.Second)
	if o.Timeline == nil {
		o.Timeline = func() string { return "" }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Private{o: o}
}

// Get returns the value of a key. The key must have its owner in a hash tag, and nobody else's values.
func (p *Private) Get(ctx context.Context, key string, from Source) (Entry, error) {
	if p.o.Redis == nil || p.o.Now().UnixNano() < p.alone.Load() {
		return p.load(ctx, from)
	}
	token := rand.Text()
	said, err := readScript.Run(ctx, p.o.Redis, []string{key}, token, lease.Milliseconds()).Text()
	switch {
	case err != nil:
		p.stats.redisErrors.Add(1)
	case len(said) == 1+stampSize && said[0] == 'L':
		return p.fill(ctx, key, token, said[1:], from)
	case said != "" && said[0] == 'V':
		v, ok := p.parse(said[1:])
		if ok {
			ok, err = p.stillTrue(ctx, key, v, from)
		}
		if err != nil {
			return Entry{}, err
		}
		if ok {
			return v.Entry, nil
		}
		p.tell(ctx, confirmScript, key, v.token, "") // the next one fills
	}
	return p.load(ctx, from)
}

// load asks the database and keeps nothing.
func (p *Private) load(ctx context.Context, from Source) (Entry, error) {
	entry, _, err := p.ask(ctx, from)
	return entry, err
}

func (p *Private) ask(ctx context.Context, from Source) (Entry, string, error) {
	p.stats.misses.Add(1)
	p.stats.loads.Add(1)
	entry, mark, err := from.Load(ctx)
	if err != nil {
		p.stats.loadErrors.Add(1)
	}
	return entry, mark, err
}

// fill asks the database under a lease.
func (p *Private) fill(ctx context.Context, key, token, now string, from Source) (Entry, error) {
	timeline := p.o.Timeline() // before: a value of the new one under the old one's name is only read again
	entry, mark, err := p.ask(ctx, from)
	if err == nil && len(entry.Body) <= maxPrivate {
		value := strings.Join([]string{now + timeline, mark, entry.ETag, entry.Link, string(entry.Body)}, "\n")
		p.tell(ctx, fillScript, key, token, value, jittered(p.o.TTL).Milliseconds())
	}
	return entry, err
}

// value is what Redis had.
type value struct {
	Entry
	token, timeline, mark string
	now, stamp            int64
}

// parse reads `now token stamp value`.
func (p *Private) parse(text string) (v value, ok bool) {
	if len(text) < stampSize+tokenSize+stampSize {
		return v, false
	}
	now, text := text[:stampSize], text[stampSize:]
	v.token, text = text[:tokenSize], text[tokenSize:]
	stamp, text := text[:stampSize], text[stampSize:]
	lines := strings.SplitN(text, "\n", 5)
	if len(lines) != 5 {
		return v, false
	}
	v.timeline, v.mark = lines[0], lines[1]
	v.ETag, v.Link, v.Body = lines[2], lines[3], []byte(lines[4])
	var errs [2]error
	v.now, errs[0] = strconv.ParseInt(now, 10, 64)
	v.stamp, errs[1] = strconv.ParseInt(stamp, 10, 64)
	return v, errs[0] == nil && errs[1] == nil && v.timeline == p.o.Timeline()
}

// stillTrue tells whether a value may be shown: because it is young, or because the database says so.
func (p *Private) stillTrue(ctx context.Context, key string, v value, from Source) (bool, error) {
	if time.Duration(v.now-v.stamp)*time.Second < p.o.Unasked {
		p.stats.redis.Add(1)
		return true, nil
	}
	mark, err := from.Mark(ctx)
	if err != nil {
		p.stats.loadErrors.Add(1)
		return false, err
	}
	if mark != v.mark {
		return false, nil
	}
	p.stats.checked.Add(1)
	p.tell(ctx, confirmScript, key, v.token, strconv.FormatInt(v.now, 10))
	return true, nil
}

// tell runs a script. What is lost when it fails is a value, never a change of one.
func (p *Private) tell(ctx context.Context, script *redis.Script, key string, args ...any) bool {
	err := script.Run(ctx, p.o.Redis, []string{key}, args...).Err()
	if err != nil {
		p.stats.redisErrors.Add(1)
	}
	return err == nil
}

// Lost says that the hold of a write may not have reached Redis.
func (p *Private) Lost() {
	p.stats.lost.Add(1)
	until := p.o.Now().Add(p.o.Write + p.o.Unasked + skew).UnixNano()
	for {
		old := p.alone.Load()
		if old >= until || p.alone.CompareAndSwap(old, until) {
			return
		}
	}
}

// Forget drops a value that somebody else than its owner has changed, after the commit and before the answer. It leaves a
// hold, which is its owner's.
func (p *Private) Forget(ctx context.Context, key string) {
	if p.o.Redis != nil && !p.tell(context.WithoutCancel(ctx), forgetScript, key) { // the change is done, whoever waits for its answer
		p.Lost()
	}
}

// Stats returns the counts.
func (p *Private) Stats() Stats { return p.stats.read() }

// Watch shows the counts as a Cache's.
func (p *Private) Watch() error { return watch(p.o.Name, p.Stats) }
