package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/redisserver"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/ratelimit"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/tests/kit"
)

// limited is one process: a store and a rate limit on one lane.
type limited struct {
	*idempotency.Store
	limit  *ratelimit.Limit
	client *redis.Client
}

// newLimited makes a process; url "" is one without Redis. With nodes it has a RedLock.
func newLimited(t *testing.T, d *kit.Database, url, policies string, nodes ...*redis.Client) limited {
	t.Helper()
	var (
		p    limited
		lane *sharedredis.Lane
		err  error
	)
	if url != "" {
		p.client, err = sharedredis.Open(url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = p.client.Close() })
		lane, err = sharedredis.NewLane(p.client)
		require.NoError(t, err)
	}
	list, err := ratelimit.Parse("checkout", policies)
	require.NoError(t, err)
	p.limit, err = ratelimit.New(ratelimit.Options{Class: "checkout", Policies: list, Lane: lane})
	require.NoError(t, err)
	pools := d.Open(t)
	require.NoError(t, pools.Orders.Ping(t.Context())) // keys in Redis carry what the first connection tells
	p.Store, err = idempotency.New(idempotency.Options{Pools: pools, Lane: lane, LockNodes: nodes, Timeout: 10 * time.Second})
	require.NoError(t, err)
	return p
}

func effects(t *testing.T) *kit.Database {
	t.Helper()
	d := kit.NewDatabase(t)
	d.Exec(t, `CREATE TABLE effects (key text)`)
	d.Exec(t, `GRANT ALL ON effects TO PUBLIC`)
	return d
}

func count(t *testing.T, d *kit.Database) int {
	t.Helper()
	return kit.One[int](t, d, `SELECT count(*) FROM effects`)
}

// write is a keyed write with one effect, charged as the edge does.
func (p limited) write(ctx context.Context, caller uuid.UUID, key string) (idempotency.Answer, error) {
	return p.writeIn(ctx, caller, key, func() error { return nil })
}

// writeIn calls meanwhile in its transaction.
func (p limited) writeIn(ctx context.Context, caller uuid.UUID, key string, meanwhile func() error) (idempotency.Answer, error) {
	req := idempotency.Request{Caller: caller, Operation: "op", Key: key, Charge: p.limit.Open(caller)}
	return p.Do(ctx, req, func(ctx context.Context, tx pgx.Tx) (idempotency.Answer, error) {
		if _, err := tx.Exec(ctx, `INSERT INTO effects VALUES ($1)`, key); err != nil {
			return idempotency.Answer{}, err
		}
		return idempotency.Answer{Status: 201, ContentType: "application/json", Location: "/" + key, ETag: `"e"`, Body: []byte(key)}, meanwhile()
	})
}

func refused(t *testing.T, err error, policy string) {
	t.Helper()
	var r *ratelimit.RefusedError
	require.ErrorAs(t, err, &r)
	require.Equal(t, []string{policy}, r.Policies)
}

// claims are the keys of Redis that are not rate windows.
func claims(t *testing.T, client *redis.Client) (list []string) {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		if strings.Contains(key, ":idem:") {
			list = append(list, key)
		}
	}
	return list
}

// CX-16: a refused request does nothing, claims nothing and counts nothing: once there is room its key is free.
func TestCX16ARefusedRequestNeverClaims(t *testing.T) {
	t.Parallel()
	d, server := effects(t), miniredis.RunT(t)
	start := time.Now()
	server.SetTime(start)
	p := newLimited(t, d, "redis://"+server.Addr(), "2/1m")
	caller := uuid.New()
	for _, key := range []string{"a", "b"} {
		_, err := p.write(t.Context(), caller, key)
		require.NoError(t, err)
	}
	for range 20 {
		_, err := p.write(t.Context(), caller, "c")
		refused(t, err, "checkout")
	}
	assert.Len(t, claims(t, p.client), 2)
	assert.Equal(t, 2, count(t, d))
	server.SetTime(start.Add(66 * time.Second))
	_, err := p.write(t.Context(), caller, "c")
	require.NoError(t, err)
	_, err = p.write(t.Context(), uuid.New(), "c")
	require.NoError(t, err, "another caller has a quota of their own")
	assert.Equal(t, 4, count(t, d))
}

// CX-16: repeats of an answered key cost nothing of the quota, and are not free: ten times the quota, over all
// processes.
func TestCX16RepeatsHaveABudgetOfTheirOwn(t *testing.T) {
	t.Parallel()
	d, url := effects(t), kit.NewRedis(t)
	first, second := newLimited(t, d, url, "2/1h"), newLimited(t, d, url, "2/1h")
	caller := uuid.New()
	_, err := first.write(t.Context(), caller, "a")
	require.NoError(t, err)
	_, err = first.write(t.Context(), caller, "a") // so that what was posted has arrived
	require.NoError(t, err)
	for i := range 19 {
		answer, err := []limited{first, second}[i%2].write(t.Context(), caller, "a")
		require.NoError(t, err)
		require.Equal(t, idempotency.Answer{
			Status: 201, ContentType: "application/json", Location: "/a", ETag: `"e"`, Body: []byte("a"), Replayed: true,
		}, answer)
	}
	_, err = second.write(t.Context(), caller, "a")
	refused(t, err, "checkout-replays")
	_, err = second.write(t.Context(), caller, "b")
	require.NoError(t, err, "the quota has one left")
	_, err = second.write(t.Context(), caller, "c")
	refused(t, err, "checkout")
	assert.Equal(t, 2, count(t, d))
}

// Polling a key that is in flight asks the database each time, so it is charged as a repeat too.
func TestCX16PollingAKeyInFlightIsNotFree(t *testing.T) {
	t.Parallel()
	d, url := effects(t), kit.NewRedis(t)
	for name, same := range map[string]bool{"the same process": true, "another process": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := newLimited(t, d, url, "1/1h")
			second := first
			if !same {
				second = newLimited(t, d, url, "1/1h")
			}
			caller, working, finish := uuid.New(), make(chan struct{}), make(chan struct{})
			done := make(chan error, 1)
			go func() {
				_, err := first.writeIn(context.WithoutCancel(t.Context()), caller, "a", func() error { close(working); <-finish; return nil })
				done <- err
			}()
			<-working
			letGo := sync.OnceFunc(func() { close(finish) })
			defer letGo()
			for range 10 {
				_, err := second.write(t.Context(), caller, "a")
				require.ErrorIs(t, err, idempotency.ErrInFlight)
			}
			_, err := second.write(t.Context(), caller, "a")
			refused(t, err, "checkout-replays")
			letGo()
			require.NoError(t, <-done)
		})
	}
}

// CX-16: what failed gives its claim back, so a repeat need not wait for the claim to end.
func TestCX16AFailureReleasesItsClaim(t *testing.T) {
	t.Parallel()
	d, url := effects(t), kit.NewRedis(t)
	first, second := newLimited(t, d, url, "10/1h"), newLimited(t, d, url, "10/1h")
	caller, broken := uuid.New(), errors.New("the database is away")
	for range 3 {
		_, err := first.writeIn(t.Context(), caller, "a", func() error { return broken })
		require.ErrorIs(t, err, broken)
		require.Empty(t, claims(t, first.client))
	}
	answer, err := second.write(t.Context(), caller, "a")
	require.NoError(t, err)
	assert.False(t, answer.Replayed)
	assert.Equal(t, 1, count(t, d))
}

// late is a hook that keeps answers from being written, as when their owner was killed before.
type late struct{}

func (late) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (late) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "set" {
			return nil
		}
		return next(ctx, cmd)
	}
}

func (late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return next(ctx, slices.DeleteFunc(slices.Clone(cmds), func(cmd redis.Cmder) bool { return cmd.Name() == "set" }))
	}
}

// CX-16: a repeat that comes after the commit and before the answer is in Redis meets the claim. The row has the answer.
func TestCX16ARepeatBetweenCommitAndAnswerGetsTheAnswer(t *testing.T) {
	t.Parallel()
	d, url := effects(t), kit.NewRedis(t)
	first, second := newLimited(t, d, url, "10/1h"), newLimited(t, d, url, "10/1h")
	first.client.AddHook(late{})
	caller := uuid.New()
	_, err := first.write(t.Context(), caller, "a")
	require.NoError(t, err)
	for _, p := range []limited{first, second} {
		answer, err := p.write(t.Context(), caller, "a")
		require.NoError(t, err)
		assert.True(t, answer.Replayed)
		assert.Equal(t, "a", string(answer.Body))
	}
	list := claims(t, second.client)
	require.Len(t, list, 1)
	value, err := second.client.Get(t.Context(), list[0]).Result()
	require.NoError(t, err)
	assert.Equal(t, "C", value[:1], "it was the claim that they met")
	ttl, err := second.client.PTTL(t.Context(), list[0]).Result()
	require.NoError(t, err)
	assert.LessOrEqual(t, ttl, 11*time.Second, "the deadline and a second")
}

// Without Redis a process counts by itself: new keys against the quota, repeats against their budget, and what is beyond
// both never reaches the database.
func TestCX16WithoutRedisRepeatsAreStillAnsweredAndBounded(t *testing.T) {
	t.Parallel()
	d := effects(t)
	p := newLimited(t, d, "", "2/1h")
	caller := uuid.New()
	for _, key := range []string{"a", "b"} {
		_, err := p.write(t.Context(), caller, key)
		require.NoError(t, err)
	}
	_, err := p.write(t.Context(), caller, "c")
	refused(t, err, "checkout")
	for range 19 { // looking for c was one of twenty
		answer, err := p.write(t.Context(), caller, "a")
		require.NoError(t, err)
		require.True(t, answer.Replayed)
	}
	_, err = p.write(t.Context(), caller, "a")
	refused(t, err, "checkout")
	assert.Equal(t, 2, count(t, d))

	other := uuid.New()
	_, err = p.write(t.Context(), other, "x")
	require.NoError(t, err)
	for range 5 {
		_, err = p.write(t.Context(), other, "x")
		require.NoError(t, err)
	}
	_, err = p.write(t.Context(), other, "y")
	require.NoError(t, err, "the repeats took nothing of the quota")
}

// IK-15: a real server is killed, started empty and flushed while two processes write and repeat.
func TestIK15RedisKilledAndFlushedUnderTwoProcesses(t *testing.T) {
	t.Parallel()
	if redisserver.Installed() == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is not on PATH")
		}
		t.Skip("redis-server is not on PATH")
	}
	port, err := child.FreePort()
	require.NoError(t, err)
	begin := func() *redisserver.Server {
		server, err := redisserver.Start(context.Background(), t.TempDir(), port)
		require.NoError(t, err)
		return server
	}
	server := begin()
	defer func() { server.Stop() }()
	d := effects(t)
	processes := []limited{newLimited(t, d, server.URL(), "100000/1m"), newLimited(t, d, server.URL(), "100000/1m")}
	caller := uuid.New()
	const keys = 60
	for i := range keys {
		switch i {
		case 10, 50:
			// By a client of its own: the process's one doesn't ask for a second after a failure.
			options, err := redis.ParseURL(server.URL())
			require.NoError(t, err)
			operator := redis.NewClient(options)
			require.NoError(t, operator.FlushAll(t.Context()).Err())
			require.NoError(t, operator.Close())
		case 20:
			server.Stop()
		case 40:
			server = begin()
		}
		key := fmt.Sprint("key-", i)
		var all sync.WaitGroup
		for range 3 {
			for _, p := range processes {
				all.Go(func() {
					for end := time.Now().Add(time.Minute); time.Now().Before(end); {
						answer, err := p.write(context.WithoutCancel(t.Context()), caller, key)
						if errors.Is(err, idempotency.ErrInFlight) {
							time.Sleep(time.Millisecond) // as a client would; without a pause it uses up the budget of repeats
							continue
						}
						assert.NoError(t, err)
						assert.Equal(t, key, string(answer.Body))
						return
					}
					assert.Fail(t, "in flight for ever")
				})
			}
		}
		all.Wait()
	}
	assert.Equal(t, keys, count(t, d))
	assert.Equal(t, keys, kit.One[int](t, d, `SELECT count(DISTINCT key) FROM effects`))
}

// trips counts what a process asks of Redis.
type trips struct {
	mu    sync.Mutex
	names [][]string
}

func (w *trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.saw(cmd)
		return next(ctx, cmd)
	}
}

func (w *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		w.saw(cmds...)
		return next(ctx, cmds)
	}
}

func (w *trips) saw(cmds ...redis.Cmder) {
	var names []string
	for _, cmd := range cmds {
		if cmd.Name() == "hello" || cmd.Name() == "client" {
			return // the pool greets the server on a new connection
		}
		names = append(names, cmd.Name())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = append(w.names, names)
}

// A keyed write is one round trip on the way in, and a write on the way out that shares the next one's.
func TestAKeyedWriteIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	d, url := effects(t), kit.NewRedis(t)
	p := newLimited(t, d, url, "100/1m,1000/1h")
	caller := uuid.New()
	_, err := p.write(t.Context(), caller, "a") // the script is new to the server
	require.NoError(t, err)
	_, err = p.write(t.Context(), caller, "a")
	require.NoError(t, err)
	w := &trips{}
	p.client.AddHook(w)
	for _, key := range []string{"b", "b"} {
		_, err = p.write(t.Context(), caller, key)
		require.NoError(t, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var flat []string
	for _, names := range w.names {
		flat = append(flat, names...)
	}
	assert.Equal(t, []string{"evalsha", "set", "evalsha"}, flat)
}
