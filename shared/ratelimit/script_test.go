package ratelimit

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

var start = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)

// clocked is a Redis whose clock the test moves.
func clocked(t *testing.T) (*sharedredis.Lane, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	server.SetTime(start)
	return laneTo(t, "redis://"+server.Addr()), server
}

func laneTo(t *testing.T, url string) *sharedredis.Lane {
	t.Helper()
	client, err := sharedredis.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	lane, err := sharedredis.NewLane(client)
	require.NoError(t, err)
	return lane
}

func limit(t require.TestingT, o Options, policies string) *Limit {
	o.Class = "test"
	var err error
	o.Policies, err = Parse(o.Class, policies)
	require.NoError(t, err)
	l, err := New(o)
	require.NoError(t, err)
	return l
}

// RL-07: whenever calls come, no stretch as long as the window admits more than its quota; and a refused call finds
// room when it was told to come back. In Redis and in this process, which is the same ring written twice.
func TestRL07NoWindowAdmitsMoreThanItsQuota(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	for name, in := range map[string]*sharedredis.Lane{"redis": lane, "local": nil} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				now := start
				move := func(d time.Duration) {
					now = now.Add(d)
					server.SetTime(now)
				}
				l := limit(t, Options{Lane: in, Now: func() time.Time { return now }}, "7/10s,20/1m")
				caller := uuid.New()
				gaps := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(0, 4000), rapid.IntRange(9000, 70000)), 1, 120).Draw(t, "gaps")
				var admitted []time.Time
				for _, gap := range gaps {
					move(time.Duration(gap) * time.Millisecond)
					c := l.Open(caller)
					err := c.One(t.Context())
					if err == nil {
						admitted = append(admitted, now)
						continue
					}
					var refused *RefusedError
					require.ErrorAs(t, err, &refused)
					require.NotEmpty(t, refused.Policies)
					if refused.Wait <= 7*time.Second { // the rest would make the run long
						move(refused.Wait)
						require.NoError(t, l.Open(caller).One(t.Context()), "came back after %s", refused.Wait)
						admitted = append(admitted, now)
					}
				}
				for i, first := range admitted {
					for _, p := range l.Policies {
						n := 0
						for _, at := range admitted[i:] {
							if at.Sub(first) <= p.Window {
								n++
							}
						}
						require.LessOrEqual(t, n, p.Quota, "from %s for %s", first, p.Window)
					}
				}
			})
		})
	}
}

// What was used comes back a tenth of the window late at most: a caller is not refused who used less than the quota in
// the last window and a tenth.
func TestQuotaComesBackATenthLateAtMost(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	l := limit(t, Options{Lane: lane}, "5/10s")
	caller := uuid.New()
	for range 5 {
		require.NoError(t, l.Open(caller).One(t.Context()))
	}
	c := l.Open(caller)
	var refused *RefusedError
	require.ErrorAs(t, c.One(t.Context()), &refused)
	assert.Equal(t, []string{"test"}, refused.Policies)
	assert.LessOrEqual(t, refused.Wait, 11*time.Second)
	server.SetTime(start.Add(10 * time.Second))
	require.Error(t, l.Open(caller).One(t.Context()), "exactly a window later the first call still counts")
	server.SetTime(start.Add(11 * time.Second))
	require.NoError(t, l.Open(caller).One(t.Context()))
}

// RL-05: refused calls count nothing, in none of several windows.
func TestRL05RefusedCallsCountNothing(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	l := limit(t, Options{Lane: lane}, "2/1s,100/1h")
	caller := uuid.New()
	for range 50 {
		_ = l.Open(caller).One(t.Context())
	}
	server.SetTime(start.Add(2 * time.Second))
	c := l.Open(caller)
	require.NoError(t, c.One(t.Context()))
	assert.Equal(t, 97, c.standings[1].Remaining, "two of fifty counted, and this one")
}

// A server whose clock jumps back keeps counting, and forgets when its key's life ends.
func TestAClockThatJumpsBackLetsNobodyThrough(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	l := limit(t, Options{Lane: lane}, "3/10s")
	caller := uuid.New()
	require.NoError(t, l.Open(caller).One(t.Context()))
	server.SetTime(start.Add(-24 * time.Hour))
	require.NoError(t, l.Open(caller).One(t.Context()))
	require.NoError(t, l.Open(caller).One(t.Context()))
	require.Error(t, l.Open(caller).One(t.Context()))
	server.SetTime(start)
	require.Error(t, l.Open(caller).One(t.Context()), "nor when it jumps forward again")
	server.FastForward(13 * time.Second)
	require.NoError(t, l.Open(caller).One(t.Context()))
}

// The real server runs the script too, in constant memory: a window is one small string however often it counts.
func TestAWindowIsOneSmallStringInRedis(t *testing.T) {
	t.Parallel()
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: run `make test`")
	}
	lane := laneTo(t, url)
	l := limit(t, Options{Lane: lane}, "1000/1h")
	caller := uuid.New()
	for i := range 300 {
		c := l.Open(caller)
		require.NoError(t, c.One(t.Context()))
		require.Equal(t, 999-i, c.standings[0].Remaining)
	}
	client, err := sharedredis.Open(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	ctx, key := context.Background(), tag(caller)+l.quotas[0].suffix
	size, err := client.StrLen(ctx, key).Result()
	require.NoError(t, err)
	assert.EqualValues(t, 8+3*(parts+1), size)
	ttl, err := client.PTTL(ctx, key).Result()
	require.NoError(t, err)
	assert.LessOrEqual(t, ttl, 72*time.Minute, "it goes when it says nothing any more")
	assert.Greater(t, ttl, time.Hour)
	// A value that is not a window is as if there were none.
	require.NoError(t, client.Set(ctx, key, "something else", time.Minute).Err())
	c := l.Open(caller)
	require.NoError(t, c.One(t.Context()))
	assert.Equal(t, 999, c.standings[0].Remaining)
}
