package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/redisserver"
)

const patience = 20 * time.Second // for a machine that is busy with other tests

// newServer starts a Redis for the test alone and is its URL.
func newServer(t testing.TB) string {
	t.Helper()
	if redisserver.Installed() == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is not on PATH")
		}
		t.Skip("redis-server is not on PATH")
	}
	port, err := child.FreePort()
	require.NoError(t, err)
	server, err := redisserver.Start(context.Background(), t.TempDir(), port)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server.URL()
}

// watch is a hook that counts round trips and can hold one back.
type watch struct {
	trips atomic.Int64
	hold  func() // called in each round trip
}

func (w *watch) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w *watch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.see(cmd)
		return next(ctx, cmd)
	}
}

func (w *watch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		w.see(cmds[0])
		return next(ctx, cmds)
	}
}

// see leaves out what the client says by itself on a new connection.
func (w *watch) see(first redis.Cmder) {
	if first.Name() != "hello" && first.Name() != "client" {
		w.trips.Add(1)
		w.hold()
	}
}

// open makes a lane to a server of the test's own; hold is called in each of its round trips.
func open(t *testing.T, hold func()) (*Lane, *redis.Client, *watch) {
	t.Helper()
	client, err := Open(newServer(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	w := &watch{hold: hold}
	client.AddHook(w)
	lane, err := NewLane(client)
	require.NoError(t, err)
	return lane, client, w
}

// held lets the first round trip wait until it is let go.
func held() (hold func(), first <-chan struct{}, letGo func()) {
	begun, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	return func() {
		once.Do(func() { close(begun); <-end })
	}, begun, sync.OnceFunc(func() { close(end) })
}

func (l *Lane) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

func TestWhatWaitsTogetherSharesARoundTrip(t *testing.T) {
	t.Parallel()
	hold, first, letGo := held()
	lane, _, watch := open(t, hold)
	defer letGo()
	var all sync.WaitGroup
	ask := func(i int) {
		all.Go(func() {
			cmd := redis.NewStringCmd(t.Context(), "echo", strconv.Itoa(i))
			assert.NoError(t, lane.Do(t.Context(), cmd))
			assert.Equal(t, strconv.Itoa(i), cmd.Val(), "each has its own reply")
		})
	}
	ask(0)
	<-first
	for i := range 2 * maxBatch {
		ask(i)
	}
	require.Eventually(t, func() bool { return lane.waiting() == 2*maxBatch }, patience, time.Millisecond)
	letGo()
	all.Wait()
	assert.EqualValues(t, 3, watch.trips.Load(), "the one that was alone, and two full ones")
}

func TestPostedWritesAreBoundedAndArriveInOrder(t *testing.T) {
	t.Parallel()
	hold, first, letGo := held()
	lane, _, _ := open(t, hold)
	defer letGo()
	ctx := t.Context()
	require.True(t, lane.Post(ctx, redis.NewIntCmd(ctx, "rpush", "list", "first")))
	<-first
	for i := range maxPosted {
		require.True(t, lane.Post(ctx, redis.NewIntCmd(ctx, "rpush", "list", i)))
	}
	require.False(t, lane.Post(ctx, redis.NewIntCmd(ctx, "rpush", "list", "too many")))
	letGo()
	list := redis.NewStringSliceCmd(ctx, "lrange", "list", 0, -1)
	require.NoError(t, lane.Do(ctx, list), "who waits is not bounded, and comes after what was posted before")
	require.Len(t, list.Val(), maxPosted+1)
	for i, item := range list.Val()[1:] {
		require.Equal(t, strconv.Itoa(i), item)
	}
	require.True(t, lane.Post(ctx, redis.NewIntCmd(ctx, "rpush", "list", "there is room again")))
}

// What a process posted is there for whoever asks after it, on any goroutine.
func TestALaneKeepsTheOrderOfOneProcess(t *testing.T) {
	t.Parallel()
	lane, _, _ := open(t, func() {})
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			ctx := t.Context()
			for i := range 200 {
				key := fmt.Sprint(worker, "-", i)
				assert.True(t, lane.Post(ctx, redis.NewStatusCmd(ctx, "set", key, "here")))
				cmd := redis.NewStringCmd(ctx, "get", key)
				if !assert.NoError(t, lane.Do(ctx, cmd)) {
					return
				}
			}
		})
	}
	all.Wait()
}

// A server that hangs costs each waiter a moment, once: then the breaker is open for the lane's commands too. When the
// server is back so is the lane.
func TestAServerThatHangsCostsOneWait(t *testing.T) {
	t.Parallel()
	lane, client, watch := open(t, func() {})
	ctx := t.Context()
	require.NoError(t, lane.Do(ctx, redis.NewStatusCmd(ctx, "ping")))
	require.NoError(t, another(t, client).Do(ctx, "client", "pause", 5000, "all").Err())
	var all sync.WaitGroup
	began := time.Now()
	for range 100 {
		all.Go(func() { assert.Error(t, lane.Do(ctx, redis.NewStatusCmd(ctx, "ping"))) })
	}
	all.Wait()
	assert.Less(t, time.Since(began), 5*time.Second, "two timeouts of 150 ms at most, on a slow machine")
	before := watch.trips.Load()
	require.ErrorIs(t, lane.Do(ctx, redis.NewStatusCmd(ctx, "ping")), ErrDown)
	assert.Equal(t, before, watch.trips.Load(), "not asked")
	require.Eventually(t, func() bool { return lane.Do(ctx, redis.NewStatusCmd(ctx, "ping")) == nil }, patience, 10*time.Millisecond)
}

func TestAPanicInsideOfARoundTripHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	lane, _, _ := open(t, func() {
		if broken.Load() {
			panic("a hook's own fault")
		}
	})
	ctx := t.Context()
	broken.Store(true)
	require.ErrorIs(t, lane.Do(ctx, redis.NewStatusCmd(ctx, "ping")), ErrDown)
	broken.Store(false)
	require.NoError(t, lane.Do(ctx, redis.NewStatusCmd(ctx, "ping")))
}

func TestWhoLeavesDoesNotWait(t *testing.T) {
	t.Parallel()
	hold, first, letGo := held()
	lane, _, _ := open(t, hold)
	defer letGo()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- lane.Do(ctx, redis.NewStatusCmd(ctx, "set", "k", "v")) }()
	<-first
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	letGo()
	cmd := redis.NewStringCmd(t.Context(), "get", "k")
	require.NoError(t, lane.Do(t.Context(), cmd))
	assert.Equal(t, "v", cmd.Val(), "the command was on its way")
}

// A server that was started anew, or flushed, does not know the scripts.
func TestAScriptIsSentWholeToAServerThatForgotIt(t *testing.T) {
	t.Parallel()
	lane, client, _ := open(t, func() {})
	script := NewScript(`return KEYS[1] .. ARGV[1]`)
	for range 3 {
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		for range 2 {
			said, err := script.Run(t.Context(), lane, append(script.Words(1, 2), "a", "b"))
			require.NoError(t, err)
			assert.Equal(t, "ab", said)
		}
	}
	_, err := NewScript(`return redis.call('NOTHING')`).Run(t.Context(), lane, script.Words(0, 0))
	var answer redis.Error
	require.ErrorAs(t, err, &answer)
	require.NoError(t, lane.Do(t.Context(), redis.NewStatusCmd(t.Context(), "ping")), "an error of the script is not the connection's")
}

// A round trip of its own for each command, the lane, and the library's own pipelining; for a crowd and for one alone.
func BenchmarkLane(b *testing.B) {
	client, err := Open(newServer(b))
	require.NoError(b, err)
	defer func() { _ = client.Close() }()
	lane, err := NewLane(client)
	require.NoError(b, err)
	auto, err := client.AutoPipeline()
	require.NoError(b, err)
	get := func(do func(context.Context, redis.Cmder) error) {
		if err := do(b.Context(), redis.NewStringCmd(b.Context(), "get", "nothing")); err != nil && !errors.Is(err, redis.Nil) {
			b.Error(err)
		}
	}
	for _, way := range []struct {
		name string
		do   func(context.Context, redis.Cmder) error
	}{{"plain", client.Process}, {"lane", lane.Do}, {"autopipeline", auto.Process}} {
		b.Run(way.name+"/alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				get(way.do)
			}
		})
		b.Run(way.name+"/crowd", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					get(way.do)
				}
			})
		})
	}
}
