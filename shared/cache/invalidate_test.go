package cache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/cache"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/tests/kit"
)

// slowLoad is a load of id 1 that a test holds up between its question to the database and its answer.
type slowLoad struct {
	asked, answer chan struct{}
	done          chan error
}

// begin starts a load whose answer is already decided: entry or err. It returns when the load has asked.
func begin(c *cache.Cache, entry cache.Entry, err error) *slowLoad {
	l := &slowLoad{asked: make(chan struct{}), answer: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		_, got := c.Get(ctx, "1", func(context.Context) (cache.Entry, error) {
			close(l.asked)
			<-l.answer
			return entry, err
		})
		l.done <- got
	}()
	<-l.asked
	return l
}

// end lets the load answer, and returns what its caller got.
func (l *slowLoad) end() error {
	close(l.answer)
	return <-l.done
}

// patient is a caller who gives up in the end.
func patient(t *testing.T) context.Context {
	t.Helper()
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	t.Cleanup(cancel)
	return asking
}

// listen runs c.Listen until the test ends, and returns when the server knows of it.
func listen(t *testing.T, c *cache.Cache, server *redis.Client) {
	t.Helper()
	listening, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.Listen(listening) })
	t.Cleanup(func() { stop(); wg.Wait() })
	subscribed(t, server)
}

func subscribed(t *testing.T, server *redis.Client) {
	t.Helper()
	require.Eventually(t, func() bool {
		n, err := server.PubSubNumPat(ctx).Result()
		return err == nil && n == 1
	}, 10*time.Second, time.Millisecond)
}

// An older load read the value before it was deleted; a newer one found it gone. The older one ends last.
func TestDeletionIsNotUndoneByAnOlderLoad(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	c := open(t, nil, now)
	older := begin(c, cache.Entry{Body: []byte("7"), Version: 7}, nil)
	now.Advance(time.Second)
	c.Invalidate(ctx, "1", 8)
	missing := cache.ErrNotFound
	v.err.Store(&missing)
	_, err := c.Get(patient(t), "1", v.load)
	gone := older.end()
	require.ErrorIs(t, err, cache.ErrNotFound)
	require.NoError(t, gone)
	_, err = c.Get(ctx, "1", v.load)
	require.ErrorIs(t, err, cache.ErrNotFound, "what is gone stays gone")
	assert.EqualValues(t, 1, v.loads.Load(), "and is remembered")
}

// A load that found nothing ends after the thing was created and somebody read it.
func TestCreationIsNotUndoneByAnOlderLoad(t *testing.T) {
	t.Parallel()
	now, v := newClock(), &truth{}
	v.version.Store(1)
	c := open(t, nil, now)
	older := begin(c, cache.Entry{}, cache.ErrNotFound)
	now.Advance(time.Second)
	c.Invalidate(ctx, "1", 1)
	e, err := c.Get(patient(t), "1", v.load)
	require.ErrorIs(t, older.end(), cache.ErrNotFound, "it asked before")
	require.NoError(t, err)
	require.Equal(t, "1", string(e.Body))
	assert.Equal(t, "1", get(t, c, v))
	assert.EqualValues(t, 1, v.loads.Load())
}

// An absence has no version that an invalidation could be compared with: any drops it.
func TestInvalidationDropsARememberedAbsence(t *testing.T) {
	t.Parallel()
	v := &truth{}
	c := open(t, nil, newClock())
	missing := cache.ErrNotFound
	v.err.Store(&missing)
	_, err := c.Get(ctx, "1", v.load)
	require.ErrorIs(t, err, cache.ErrNotFound)
	v.err.Store(nil)
	c.Invalidate(ctx, "1", 0)
	assert.Equal(t, "0", get(t, c, v))
}

// An operator's message carries no version. Who asks after it is not answered by a load from before it either.
func TestMessageByHandAlsoPartsFromLoadsUnderWay(t *testing.T) {
	t.Parallel()
	url, now, v := kit.NewRedis(t), newClock(), &truth{}
	c, server := at(t, url, now)
	listen(t, c, server)
	now.Advance(time.Second) // the subscription's own flush is past
	other := &truth{}
	other.version.Store(1)
	_, err := c.Get(ctx, "2", other.load)
	require.NoError(t, err)

	older := begin(c, cache.Entry{Body: []byte("0")}, nil)
	v.version.Store(1)
	require.NoError(t, server.Publish(ctx, "invalidate:product:1", "by hand").Err())
	require.NoError(t, server.Publish(ctx, "invalidate:product:2", "2").Err())
	require.Eventually(t, func() bool { // messages come in order: the second heard, the first was
		_, err := c.Get(ctx, "2", other.load)
		return err == nil && other.loads.Load() > 1
	}, 10*time.Second, time.Millisecond)

	e, err := c.Get(patient(t), "1", v.load)
	require.NoError(t, older.end())
	require.NoError(t, err)
	assert.Equal(t, "1", string(e.Body))
}

// The server cuts the subscription: what was said meanwhile is lost, so what is in memory counts as old, and what
// is said afterwards is heard again.
func TestSubscriptionSurvivesACutConnection(t *testing.T) {
	t.Parallel()
	url, now, v := kit.NewRedis(t), newClock(), &truth{}
	c, server := at(t, url, now)
	listen(t, c, server)
	now.Advance(time.Second)
	require.Equal(t, "0", get(t, c, v))

	v.version.Store(1)
	require.NoError(t, server.Del(ctx, "product:1").Err()) // so that only memory holds the old value
	now.Advance(time.Second)
	cut(t, server)
	require.Eventually(t, func() bool { return get(t, c, v) == "1" }, 10*time.Second, time.Millisecond,
		"nobody said that it changed: the cut alone makes memory doubtful")

	subscribed(t, server)
	now.Advance(time.Second)
	require.Equal(t, "1", get(t, c, v))
	v.version.Store(2)
	sibling, _ := at(t, url, now)
	sibling.Invalidate(ctx, "1", 2)
	require.Eventually(t, func() bool { return get(t, c, v) == "2" }, 10*time.Second, time.Millisecond)
}

// at opens a cache on a server of its own, and a client for the test to ask the server with.
func at(t *testing.T, url string, now *clock) (*cache.Cache, *redis.Client) {
	t.Helper()
	client, err := sharedredis.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	c, err := cache.New(cache.Options{Name: "product", Redis: client, Now: now.Now})
	require.NoError(t, err)
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	server := redis.NewClient(options)
	t.Cleanup(func() { _ = server.Close() })
	return c, server
}

// cut ends every subscription's connection from the server's side.
func cut(t *testing.T, server *redis.Client) {
	t.Helper()
	killed, err := server.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Int()
	require.NoError(t, err)
	require.Equal(t, 1, killed)
}
