package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/cache"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/tests/kit"
)

const mine = "thing:{ada}:list"

// ledger is a database of one number, whose mark it is too.
type ledger struct {
	number       atomic.Int64
	loads, marks atomic.Int64
	away         atomic.Bool
}

var errAway = errors.New("away")

func (l *ledger) source() cache.Source {
	return cache.Source{
		Load: func(context.Context) (cache.Entry, string, error) {
			l.loads.Add(1)
			if l.away.Load() {
				return cache.Entry{}, "", errAway
			}
			n := fmt.Sprint(l.number.Load())
			return cache.Entry{Body: []byte(n + "\nof\nlines"), ETag: `"` + n + `"`, Link: "<" + n + ">"}, "m" + n, nil
		},
		Mark: func(context.Context) (string, error) {
			l.marks.Add(1)
			if l.away.Load() {
				return "", errAway
			}
			return fmt.Sprint("m", l.number.Load()), nil
		},
	}
}

// shelf is one process's Private, and the Redis behind it.
type shelf struct {
	*cache.Private
	client *redis.Client
	clock  *clock
}

// found waits until Redis is asked again, after it was away.
func (s *shelf) found(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return s.client.Ping(ctx).Err() == nil }, 10*time.Second, 10*time.Millisecond)
}

func newShelf(t *testing.T, url string, timeline string) *shelf {
	t.Helper()
	client, err := sharedredis.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	s := &shelf{client: client, clock: newClock()}
	s.Private = cache.NewPrivate(cache.PrivateOptions{Name: "thing", Redis: client, Timeline: func() string { return timeline }, Now: s.clock.Now})
	return s
}

func (s *shelf) get(t *testing.T, l *ledger) string {
	t.Helper()
	e, err := s.Get(ctx, mine, l.source())
	require.NoError(t, err)
	n, rest, _ := strings.Cut(string(e.Body), "\n")
	assert.Equal(t, []string{"of\nlines", `"` + n + `"`, "<" + n + ">"}, []string{rest, e.ETag, e.Link}, "whole, however it came")
	return n
}

// hold is what a claim does (idempotency.Request.Hold).
func (s *shelf) hold(t *testing.T) {
	t.Helper()
	require.NoError(t, s.client.Set(ctx, mine, "H", 11*time.Second).Err())
}

// On the real server too: its Lua is another one.
func TestAPrivateValueIsReadOnceAndIsOfBothProcesses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://" + miniredis.RunT(t).Addr(), kit.NewRedis(t)} {
		a, b, l := newShelf(t, url, "1"), newShelf(t, url, "1"), &ledger{}
		l.number.Store(7)
		for range 3 {
			assert.Equal(t, "7", a.get(t, l))
			assert.Equal(t, "7", b.get(t, l))
		}
		assert.EqualValues(t, 1, l.loads.Load())
		assert.Equal(t, cache.Stats{Misses: 1, Loads: 1, Redis: 2}, a.Stats())
		assert.Equal(t, cache.Stats{Redis: 3}, b.Stats())

		a.hold(t)
		l.number.Store(8)
		assert.Equal(t, "8", a.get(t, l))
		assert.Equal(t, "8", b.get(t, l), "while it is held nobody puts it there")
		assert.EqualValues(t, 3, l.loads.Load())
		a.Forget(ctx, mine)
		assert.Equal(t, "H", a.client.Get(ctx, mine).Val(), "the hold is its owner's")
		require.NoError(t, a.client.Del(ctx, mine).Err()) // it has ended
		a.get(t, l)
		l.number.Store(9)
		b.Forget(ctx, mine)
		assert.Equal(t, "9", a.get(t, l))
		assert.Equal(t, "9", b.get(t, l))
		assert.EqualValues(t, 5, l.loads.Load())
	}
}

// A fill that began before a write and ends after it does not put what it read in the place of what is.
func TestASlowFillBringsNothingBack(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*testing.T, *shelf){
		"held":      func(t *testing.T, s *shelf) { t.Helper(); s.hold(t) },
		"forgotten": func(t *testing.T, s *shelf) { t.Helper(); s.Forget(ctx, mine) },
		"held, and the hold has ended": func(t *testing.T, s *shelf) {
			t.Helper()
			s.hold(t)
			require.NoError(t, s.client.Del(ctx, mine).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := newShelf(t, "redis://"+miniredis.RunT(t).Addr(), "1"), &ledger{}
			asked, answer, done := make(chan struct{}), make(chan struct{}), make(chan cache.Entry, 1)
			go func() {
				e, _ := s.Get(ctx, mine, cache.Source{Load: func(ctx context.Context) (cache.Entry, string, error) {
					e, mark, err := l.source().Load(ctx)
					close(asked)
					<-answer
					return e, mark, err
				}})
				done <- e
			}()
			<-asked
			write(t, s)
			l.number.Store(1)
			close(answer)
			assert.Contains(t, string((<-done).Body), "0\n", "who asked before is told what was before")
			assert.Equal(t, "1", s.get(t, l))
			assert.Equal(t, "1", s.get(t, l))
		})
	}
}

// After half a minute, by Redis' clock, a value is compared with the database, and either believed again or read anew.
func TestAPrivateValueIsCheckedAfterAWhile(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	now := time.Now()
	later := func(d time.Duration) { now = now.Add(d); server.SetTime(now) }
	later(0)
	s, l := newShelf(t, "redis://"+server.Addr(), "1"), &ledger{}
	s.get(t, l)
	later(29 * time.Second)
	s.get(t, l)
	assert.Zero(t, l.marks.Load())
	later(2 * time.Second)
	assert.Equal(t, "0", s.get(t, l))
	assert.Equal(t, []int64{1, 1}, []int64{l.loads.Load(), l.marks.Load()}, "checked, not read")
	later(29 * time.Second)
	s.get(t, l)
	assert.EqualValues(t, 1, l.marks.Load(), "and believed again from there")
	later(2 * time.Second)
	l.number.Store(1) // changed behind everybody's back
	assert.Equal(t, "1", s.get(t, l))
	assert.Equal(t, "1", s.get(t, l), "read")
	assert.Equal(t, "1", s.get(t, l), "and kept")
	assert.Equal(t, []int64{3, 2}, []int64{l.loads.Load(), l.marks.Load()})
	assert.Equal(t, cache.Stats{Misses: 3, Loads: 3, Redis: 3, Checked: 1}, s.Stats())

	later(31 * time.Second)
	l.away.Store(true)
	_, err := s.Get(ctx, mine, l.source())
	require.ErrorIs(t, err, errAway, "it doesn't stand in for the database")
}

// A check that began before a write doesn't renew the value after it.
func TestALateConfirmationRenewsNothing(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	now := time.Now()
	server.SetTime(now)
	s, l := newShelf(t, "redis://"+server.Addr(), "1"), &ledger{}
	s.get(t, l)
	server.SetTime(now.Add(31 * time.Second))
	from := l.source()
	mark := from.Mark
	from.Mark = func(ctx context.Context) (string, error) {
		m, err := mark(ctx)
		s.hold(t) // a write begins, is done and answered
		l.number.Store(1)
		require.NoError(t, s.client.Del(ctx, mine).Err())
		assert.Equal(t, "1", s.get(t, l), "somebody fills")
		return m, err
	}
	_, err := s.Get(ctx, mine, from)
	require.NoError(t, err)
	assert.Equal(t, "1", s.get(t, l))
}

// While Redis is away the database is asked, and after a write whose hold was lost for as long as an older value may be there.
func TestALostHoldIsRememberedByItsProcess(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	s, l := newShelf(t, "redis://"+server.Addr(), "1"), &ledger{}
	s.get(t, l)
	server.Close()
	l.number.Store(1)
	s.Lost() // the claim could not reach it
	assert.Equal(t, "1", s.get(t, l))
	require.NoError(t, server.Restart())
	s.found(t)
	kept, err := server.Get(mine)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(kept, "V"), "the old value is still there")
	s.clock.Advance(40 * time.Second) // a write's ten seconds and a value's thirty
	assert.Equal(t, "1", s.get(t, l))
	s.clock.Advance(3 * time.Second)
	server.SetTime(time.Now().Add(43 * time.Second))
	assert.Equal(t, "1", s.get(t, l), "by then it is checked")
	assert.Equal(t, "1", s.get(t, l))

	server.Close()
	l.number.Store(2)
	s.Forget(ctx, mine)
	require.NoError(t, server.Restart())
	s.found(t)
	assert.Equal(t, "2", s.get(t, l), "a change of somebody else's that could not be told is as a lost hold")
}

// A value of another history of the database, one that is none of ours, and one that is too long: as if there were none.
func TestAPrivateValueThatCannotBeBelieved(t *testing.T) {
	t.Parallel()
	url := "redis://" + miniredis.RunT(t).Addr()
	old, s, l := newShelf(t, url, "1"), newShelf(t, url, "2"), &ledger{}
	old.get(t, l)
	l.number.Store(1)
	assert.Equal(t, "1", s.get(t, l), "a standby has taken over: another timeline")
	s.get(t, l)
	assert.Equal(t, "1", s.get(t, l))
	assert.EqualValues(t, 3, l.loads.Load())
	for _, junk := range []string{"", "V", "V" + strings.Repeat("x", 60), "{}", "V" + strings.Repeat("1", 80) + "\n\n\n"} {
		require.NoError(t, s.client.Set(ctx, mine, junk, 0).Err())
		assert.Equal(t, "1", s.get(t, l), "%q", junk)
	}
	require.NoError(t, s.client.Del(ctx, mine).Err())
	require.NoError(t, s.client.HSet(ctx, mine, "a", "b").Err())
	assert.Equal(t, "1", s.get(t, l), "a key of another type")
	require.NoError(t, s.client.Del(ctx, mine).Err())
	for range 2 {
		e, err := s.Get(ctx, mine, cache.Source{Load: func(context.Context) (cache.Entry, string, error) {
			return cache.Entry{Body: make([]byte, 129<<10)}, "", nil
		}})
		require.NoError(t, err)
		assert.Len(t, e.Body, 129<<10)
	}
	require.False(t, strings.HasPrefix(s.client.Get(ctx, mine).Val(), "V"))
}
