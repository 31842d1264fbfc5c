package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/company/order-catalog-service/shared/cache"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

var ctx = context.Background()

// clock is a time that tests move.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) Advance(d time.Duration) { c.now.Add(int64(d)) }

// truth is a database of one value.
type truth struct {
	version atomic.Int64
	loads   atomic.Int64
	err     atomic.Pointer[error]
}

func (v *truth) load(context.Context) (cache.Entry, error) {
	v.loads.Add(1)
	if err := v.err.Load(); err != nil {
		return cache.Entry{}, *err
	}
	n := v.version.Load()
	return cache.Entry{Body: fmt.Append(nil, n), Version: n}, nil
}

func open(t *testing.T, server *miniredis.Miniredis, c *clock) *cache.Cache {
	t.Helper()
	o := cache.Options{Name: "product", Now: c.Now}
	if server != nil {
		o.Redis = dial(t, server)
	}
	made, err := cache.New(o)
	require.NoError(t, err)
	return made
}

func dial(t *testing.T, server *miniredis.Miniredis) *redis.Client {
	t.Helper()
	client, err := sharedredis.Open("redis://" + server.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func get(t *testing.T, c *cache.Cache, v *truth) string {
	t.Helper()
	e, err := c.Get(ctx, "1", v.load)
	require.NoError(t, err)
	return string(e.Body)
}

func TestThousandReadersCauseOneLoad(t *testing.T) {
	t.Parallel()
	c := open(t, nil, newClock())
	release := make(chan struct{})
	var loads atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			e, err := c.Get(ctx, "1", func(context.Context) (cache.Entry, error) {
				loads.Add(1)
				<-release
				return cache.Entry{Body: []byte("x"), Version: 1}, nil
			})
			assert.NoError(t, err)
			assert.Equal(t, "x", string(e.Body))
		})
	}
	require.Eventually(t, func() bool { return loads.Load() == 1 }, 10*time.Second, time.Millisecond)
	close(release)
	wg.Wait()
	assert.EqualValues(t, 1, loads.Load())
}

func TestSecondProcessReadsRedis(t *testing.T) {
	t.Parallel()
	server, now, v := miniredis.RunT(t), newClock(), &truth{}
	first, second := open(t, server, now), open(t, server, now)
	get(t, first, v)
	get(t, second, v)
	assert.EqualValues(t, 1, v.loads.Load())
	assert.True(t, server.Exists("product:1"), "the seed's key")
	assert.EqualValues(t, 1, second.Stats().Redis)
}

func TestInvalidationReachesOtherProcesses(t *testing.T) {
	t.Parallel()
	server, now, v := miniredis.RunT(t), newClock(), &truth{}
	first, second := open(t, server, now), open(t, server, now)
	listening, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { second.Listen(listening) })
	defer wg.Wait()
	defer stop()
	require.Eventually(t, func() bool { return server.PubSubNumPat() == 1 }, 10*time.Second, time.Millisecond)
	now.Advance(time.Second) // the subscription's own flush is past
	require.Equal(t, "0", get(t, second, v))
	v.version.Store(1)
	first.Invalidate(ctx, "1", 1)
	require.Eventually(t, func() bool { return get(t, second, v) == "1" }, 10*time.Second, time.Millisecond)
}

func TestCC09LostMessageIsBoundedBySoftTTL(t *testing.T) {
	t.Parallel()
	server, now, v := miniredis.RunT(t), newClock(), &truth{}
	c := open(t, server, now)
	require.Equal(t, "0", get(t, c, v))
	v.version.Store(1) // and nobody says so
	now.Advance(29 * time.Second)
	require.Equal(t, "0", get(t, c, v), "within the soft TTL")
	now.Advance(2 * time.Second)
	get(t, c, v) // may still be old, and starts the refresh
	require.Eventually(t, func() bool { return get(t, c, v) == "1" }, 10*time.Second, time.Millisecond)

	idle := open(t, server, now) // without a refresh of its own under way
	require.Equal(t, "1", get(t, idle, v))
	v.version.Store(2)
	now.Advance(61 * time.Second)
	require.Equal(t, "2", get(t, idle, v), "after twice the soft TTL nothing old is served")
}

// CX-17: a load that began before a change ends after it. What it read must not come back.
func TestCX17SlowFillerCannotBringBackTheOldValue(t *testing.T) {
	t.Parallel()
	for _, flush := range []bool{false, true} {
		t.Run(fmt.Sprintf("flushed=%v", flush), func(t *testing.T) {
			t.Parallel()
			server, now, v := miniredis.RunT(t), newClock(), &truth{}
			slow, other := open(t, server, now), open(t, server, now)
			reading, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				_, err := slow.Get(ctx, "1", func(context.Context) (cache.Entry, error) {
					close(reading)
					<-release
					if flush {
						now.Advance(3 * time.Second) // it took too long
					}
					return cache.Entry{Body: []byte("0"), Version: 0}, nil
				})
				assert.NoError(t, err)
			}()
			<-reading
			v.version.Store(1)
			other.Invalidate(ctx, "1", 1)
			if flush {
				server.FlushAll()
			}
			close(release)
			<-done
			assert.Equal(t, "1", get(t, other, v), "not from Redis either")
		})
	}
}

func TestWhoAsksAfterAnInvalidationIsNotAnsweredByAnOlderLoad(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	c := open(t, nil, now)
	reading, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, err := c.Get(ctx, "1", func(context.Context) (cache.Entry, error) {
			close(reading)
			<-release
			return cache.Entry{Body: []byte("0"), Version: 0}, nil
		})
		assert.NoError(t, err)
	}()
	<-reading
	v.version.Store(1)
	c.Invalidate(ctx, "1", 1)
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	e, err := c.Get(asking, "1", v.load)
	close(release)
	<-done
	require.NoError(t, err)
	assert.Equal(t, "1", string(e.Body))
	assert.Equal(t, "1", get(t, c, v), "nor does the older load put its value over the newer")
}

func TestRedisThatMissedAnInvalidationIsNotBelieved(t *testing.T) {
	t.Parallel()
	server, now, v := miniredis.RunT(t), newClock(), &truth{}
	c := open(t, server, now)
	require.Equal(t, "0", get(t, c, v))
	old, err := server.Get("product:1")
	require.NoError(t, err)
	v.version.Store(1)
	c.Invalidate(ctx, "1", 1)
	require.NoError(t, server.Set("product:1", old)) // as after a failover that lost the write
	away := errors.New("database away")
	v.err.Store(&away)
	_, err = c.Get(ctx, "1", v.load)
	require.ErrorIs(t, err, away, "not even in place of the database")
	v.err.Store(nil)
	assert.Equal(t, "1", get(t, c, v))
}

func TestDeletionIsRemembered(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	v.version.Store(7)
	c := open(t, nil, now)
	require.Equal(t, "7", get(t, c, v))
	missing := cache.ErrNotFound
	v.err.Store(&missing)
	now.Advance(61 * time.Second)
	for range 3 {
		_, err := c.Get(ctx, "1", v.load)
		require.ErrorIs(t, err, cache.ErrNotFound)
	}
	assert.EqualValues(t, 2, v.loads.Load(), "one for the value, one for its absence")
}

func TestAbsenceIsRemembered(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	c := open(t, nil, now)
	missing := cache.ErrNotFound
	v.err.Store(&missing)
	for range 3 {
		_, err := c.Get(ctx, "1", v.load)
		require.ErrorIs(t, err, cache.ErrNotFound)
	}
	assert.EqualValues(t, 1, v.loads.Load())
	v.err.Store(nil)
	now.Advance(6 * time.Second)
	assert.Equal(t, "0", get(t, c, v))
}

func TestStaleIfErrorAndPanickingLoads(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	c := open(t, nil, now)
	require.Equal(t, "0", get(t, c, v))
	away := errors.New("database away")
	v.err.Store(&away)
	now.Advance(4 * time.Minute)
	assert.Equal(t, "0", get(t, c, v), "the last known value serves on")
	now.Advance(2 * time.Minute)
	_, err := c.Get(ctx, "1", v.load)
	require.ErrorIs(t, err, away)
	_, err = c.Get(ctx, "2", func(context.Context) (cache.Entry, error) { panic("boom") })
	require.ErrorContains(t, err, "panic")
}

func TestRedisAwayCostsNothingButLoads(t *testing.T) {
	t.Parallel()
	server, now, v := miniredis.RunT(t), newClock(), &truth{}
	c := open(t, server, now)
	server.Close()
	assert.Equal(t, "0", get(t, c, v))
	assert.Equal(t, "0", get(t, c, v))
	assert.EqualValues(t, 1, v.loads.Load())
	c.Invalidate(ctx, "1", 1)
	v.version.Store(1)
	assert.Equal(t, "1", get(t, c, v))
}

// looked is a context that tells when somebody begins to wait under it.
type looked struct {
	context.Context
	tell func()
}

// Done implements context.Context.
func (l looked) Done() <-chan struct{} {
	l.tell()
	return l.Context.Done()
}

func TestReaderWhoJoinsAFailingRefreshGetsTheLastKnownValue(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	c := open(t, nil, now)
	require.Equal(t, "0", get(t, c, v))
	reading, release := make(chan struct{}), make(chan struct{})
	now.Advance(31 * time.Second)
	_, err := c.Get(ctx, "1", func(context.Context) (cache.Entry, error) { // serves, and refreshes behind
		close(reading)
		<-release
		return cache.Entry{}, errors.New("database away")
	})
	require.NoError(t, err)
	<-reading
	now.Advance(time.Minute) // too old to be served unasked
	// A caller joins the refresh, then looks at how long it may wait: that look lets the refresh fail.
	e, err := c.Get(looked{ctx, sync.OnceFunc(func() { close(release) })}, "1", v.load)
	assert.NoError(t, err)
	assert.Equal(t, "0", string(e.Body))
	assert.EqualValues(t, 1, v.loads.Load(), "it joined")
}

func TestForeignValueInRedisIsMended(t *testing.T) {
	t.Parallel()
	server, now, v := miniredis.RunT(t), newClock(), &truth{}
	require.NoError(t, server.Set("product:1", "left by somebody else"))
	first, second := open(t, server, now), open(t, server, now)
	require.Equal(t, "0", get(t, first, v))
	require.Equal(t, "0", get(t, second, v))
	assert.EqualValues(t, 1, v.loads.Load())
	assert.Zero(t, first.Stats().RedisErrors)
}

func BenchmarkMemoryHit(b *testing.B) {
	c, err := cache.New(cache.Options{Name: "product"})
	require.NoError(b, err)
	load := func(context.Context) (cache.Entry, error) {
		return cache.Entry{Body: make([]byte, 600), Version: 1}, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(ctx, "1", load); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
