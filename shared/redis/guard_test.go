package redis

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

func newGuard() *guard { return &guard{breaker: dependency.NewBreaker(dependency.Redis)} }

// through makes one command end with err.
func (g *guard) through(ctx context.Context, err error) error {
	hook := g.ProcessHook(func(context.Context, redis.Cmder) error { return err })
	return hook(ctx, redis.NewStatusCmd(ctx, "ping"))
}

// The first command's reply came and the connection broke before the second's.
func TestTheBreakerSeesWhatBrokeInsideOfAPipeline(t *testing.T) {
	t.Parallel()
	g := newGuard()
	ctx := t.Context()
	hook := g.ProcessPipelineHook(func(_ context.Context, cmds []redis.Cmder) error {
		cmds[0].SetErr(redis.Nil)
		cmds[1].SetErr(io.ErrUnexpectedEOF)
		return redis.Nil
	})
	cmds := []redis.Cmder{redis.NewStatusCmd(ctx, "a"), redis.NewStatusCmd(ctx, "b")}
	_ = hook(ctx, cmds)
	assert.Equal(t, dependency.Open, g.breaker.State())
	require.ErrorIs(t, hook(ctx, cmds), ErrDown)
	require.ErrorIs(t, cmds[1].Err(), ErrDown, "each has its error")
}

func TestWhatIsNotRedissFaultOpensNothing(t *testing.T) {
	t.Parallel()
	g := newGuard()
	for range 10 {
		for _, err := range []error{nil, redis.Nil, redis.ErrNoScript, redis.ErrPoolTimeout, redis.ErrClosed} {
			_ = g.through(t.Context(), err)
		}
		left, leave := context.WithCancel(t.Context())
		leave()
		_ = g.through(left, context.Canceled)
		late, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		<-late.Done()
		_ = g.through(late, context.DeadlineExceeded)
		cancel()
	}
	assert.Equal(t, dependency.Closed, g.breaker.State())
	_ = g.through(t.Context(), io.EOF)
	assert.Equal(t, dependency.Open, g.breaker.State(), "and this one is")
}

// While Redis hangs, one command after each pause waits for it; all the others fail at once. When it goes on the next one
// finds out.
func TestHalfOpenOneCommandFindsOut(t *testing.T) {
	t.Parallel()
	_, client, watch := open(t, func() {})
	ctx := t.Context()
	require.NoError(t, client.Ping(ctx).Err())
	console := another(t, client)
	require.NoError(t, console.Do(ctx, "client", "pause", 4000, "all").Err())
	require.Error(t, client.Ping(ctx).Err())
	before, refused := watch.trips.Load(), atomic.Int64{}
	began := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for time.Since(began) < 3*time.Second {
				asked := time.Now()
				if err := client.Get(ctx, "k").Err(); errors.Is(err, ErrDown) {
					refused.Add(1)
					assert.Less(t, time.Since(asked), 250*time.Millisecond)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	all.Wait()
	trips := watch.trips.Load() - before
	t.Logf("%d commands waited, %d failed at once", trips, refused.Load())
	assert.Positive(t, trips)
	assert.LessOrEqual(t, trips, int64(4), "one a second, give or take")
	require.Eventually(t, func() bool { return client.Ping(ctx).Err() == nil }, patience, 5*time.Millisecond)
}

// another is a client of the same server, past all hooks.
func another(t *testing.T, client *redis.Client) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL("redis://" + client.Options().Addr)
	require.NoError(t, err)
	console := redis.NewClient(options)
	t.Cleanup(func() { _ = console.Close() })
	return console
}

// The server was killed: the probe needs a new connection, and what the client says on it by itself is part of the probe.
func TestAProbeMayHaveToConnect(t *testing.T) {
	t.Parallel()
	_, client, _ := open(t, func() {})
	ctx := t.Context()
	require.NoError(t, client.Ping(ctx).Err())
	require.NoError(t, another(t, client).Do(ctx, "client", "kill", "type", "normal", "skipme", "yes").Err())
	g, _ := guards.Load(client)
	permit, err := g.(*guard).breaker.Acquire()
	require.NoError(t, err)
	g.(*guard).breaker.Settle(permit, dependency.Failed)
	require.ErrorIs(t, client.Ping(ctx).Err(), ErrDown)
	require.Eventually(t, func() bool { return client.Ping(ctx).Err() == nil }, patience, 5*time.Millisecond)
}

// However many pages are asked of Redis at the same moment, what an order asks gets its connection.
func TestOthersLeaveConnectionsForTheLane(t *testing.T) {
	t.Parallel()
	lane, client, _ := open(t, func() {})
	ctx := t.Context()
	g, _ := guards.Load(client)
	underWay := &g.(*guard).underWay
	var all sync.WaitGroup
	for range others { // each holds its connection for as long as nothing is pushed
		all.Go(func() { assert.NoError(t, client.BLPop(ctx, patience, "list").Err()) })
	}
	require.Eventually(t, func() bool { return underWay.Load() == others }, patience, time.Millisecond)
	began := time.Now()
	for range 20 {
		require.ErrorIs(t, client.Ping(ctx).Err(), ErrBusy)
		require.NoError(t, lane.Do(ctx, redis.NewStatusCmd(ctx, "ping")))
	}
	assert.Less(t, time.Since(began), 5*time.Second, "nobody waits")
	for range others {
		require.NoError(t, lane.Do(ctx, redis.NewIntCmd(ctx, "rpush", "list", "go")))
	}
	all.Wait()
	assert.Zero(t, underWay.Load())
	require.NoError(t, client.Ping(ctx).Err(), "there is room again")
}

// What the guard costs a command.
func TestTheGuardAllocatesNothing(t *testing.T) {
	g := newGuard()
	cmd := redis.NewStatusCmd(inLane, "ping")
	hook := g.ProcessHook(func(context.Context, redis.Cmder) error { return nil })
	for _, ctx := range []context.Context{inLane, t.Context()} {
		assert.Zero(t, testing.AllocsPerRun(1000, func() { _ = hook(ctx, cmd) }))
	}
}

func BenchmarkGuard(b *testing.B) {
	g := newGuard()
	cmd := redis.NewStatusCmd(inLane, "ping")
	hook := g.ProcessHook(func(context.Context, redis.Cmder) error { return nil })
	b.ReportAllocs()
	for b.Loop() {
		_ = hook(inLane, cmd)
	}
}
