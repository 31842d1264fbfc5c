package idempotency_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/idempotency"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/tests/kit"
)

var ctx = context.Background()

func clientsOf(t *testing.T, nodes []*miniredis.Miniredis) []*redis.Client {
	t.Helper()
	clients := make([]*redis.Client, len(nodes))
	for i, node := range nodes {
		client, err := sharedredis.Open("redis://" + node.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		clients[i] = client
	}
	return clients
}

// process is a store with a RedLock over the nodes and no other Redis, as one process has it.
func process(t *testing.T, d *kit.Database, nodes []*miniredis.Miniredis) *idempotency.Store {
	t.Helper()
	store, err := idempotency.New(idempotency.Options{Pools: d.Open(t), LockNodes: clientsOf(t, nodes), Timeout: 10 * time.Second})
	require.NoError(t, err)
	return store
}

// locks counts the nodes that hold a lock.
func locks(nodes []*miniredis.Miniredis) (n int) {
	for _, node := range nodes {
		for _, key := range node.Keys() {
			if strings.HasPrefix(key, "redlock:") {
				n++
			}
		}
	}
	return n
}

// Two processes meet one key. While a majority of the nodes answers, the second is told at once that the first is
// at it; without a majority the row alone decides. Either way there is one effect, and the lock is given back.
func TestRedLockLosesNodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		down  []int // nodes that are away
		locks int   // nodes that hold the lock while the first works
	}{
		"all up":   {nil, 3},
		"one down": {[]int{1}, 2},
		"two down": {[]int{0, 2}, 0},
		"all down": {[]int{0, 1, 2}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := kit.NewDatabase(t)
			d.Exec(t, `CREATE TABLE effects (n int)`)
			nodes := []*miniredis.Miniredis{miniredis.RunT(t), miniredis.RunT(t), miniredis.RunT(t)}
			first, second := process(t, d, nodes), process(t, d, nodes)
			for _, i := range c.down {
				nodes[i].Close()
			}
			up := make([]*miniredis.Miniredis, 0, 3)
			for i, node := range nodes {
				if !slices.Contains(c.down, i) {
					up = append(up, node)
				}
			}
			req := idempotency.Request{Caller: uuid.New(), Operation: "op", Key: "k"}
			write := func(ctx context.Context, tx pgx.Tx) (idempotency.Answer, error) {
				_, err := tx.Exec(ctx, `INSERT INTO effects VALUES (1)`)
				return idempotency.Answer{Status: 201, Body: []byte("done")}, err
			}
			working, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := first.Do(ctx, req, func(ctx context.Context, tx pgx.Tx) (idempotency.Answer, error) {
					close(working)
					<-finish
					return write(ctx, tx)
				})
				done <- err
			}()
			<-working
			assert.Equal(t, c.locks, locks(up))
			entered := make(chan struct{})
			other := make(chan error, 1)
			var replay idempotency.Answer
			go func() {
				var err error
				replay, err = second.Do(ctx, req, func(ctx context.Context, tx pgx.Tx) (idempotency.Answer, error) {
					close(entered)
					return write(ctx, tx)
				})
				other <- err
			}()
			if c.locks > 0 {
				assert.ErrorIs(t, <-other, idempotency.ErrInFlight, "and does not work in vain")
				close(finish)
			} else {
				<-entered // both work; the row lets one of them commit
				close(finish)
				assert.NoError(t, <-other)
				assert.Equal(t, "done", string(replay.Body))
			}
			require.NoError(t, <-done)
			assert.Equal(t, 1, kit.One[int](t, d, `SELECT count(*) FROM effects`))
			assert.Zero(t, locks(up), "given back, by who could not get it too")

			again, err := second.Do(ctx, req, write)
			require.NoError(t, err)
			assert.True(t, again.Replayed)
			assert.Equal(t, "done", string(again.Body))
		})
	}
}

// Who is answered or refused already needs no lock, and gets none: the lock must not turn a no into a yes.
func TestCX16TheLockIsForNewCallsOnly(t *testing.T) {
	t.Parallel()
	d, nodes := effects(t), []*miniredis.Miniredis{miniredis.RunT(t), miniredis.RunT(t), miniredis.RunT(t)}
	p := newLimited(t, d, kit.NewRedis(t), "1/1h", clientsOf(t, nodes)...)
	caller := uuid.New()
	_, err := p.write(t.Context(), caller, "a")
	require.NoError(t, err)
	asked := nodes[0].CommandCount()
	require.Positive(t, asked)
	require.Eventually(t, func() bool { return locks(nodes) == 0 }, 10*time.Second, time.Millisecond)
	asked = nodes[0].CommandCount()
	again, err := p.write(t.Context(), caller, "a")
	require.NoError(t, err)
	assert.True(t, again.Replayed)
	_, err = p.write(t.Context(), caller, "b")
	refused(t, err, "checkout")
	assert.Equal(t, asked, nodes[0].CommandCount())
	assert.Equal(t, 1, count(t, d))
}
