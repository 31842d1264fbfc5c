package ratelimit

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// asked is how many commands the server got.
func asked(server *miniredis.Miniredis) int { return server.CommandCount() }

// RL-07 for calls that are leased, over several processes: no stretch as long as the window admits more than the quota
// and each process's credit.
func TestRL07LeasesAdmitTheQuotaAndEachProcessesCreditAtMost(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	rapid.Check(t, func(t *rapid.T) {
		now := start
		server.SetTime(now)
		clock := func() time.Time { return now }
		const quota = 150
		var processes [3]*Limit
		for i := range processes {
			processes[i] = limit(t, Options{Lane: lane, Leased: true, Now: clock}, "150/10s")
		}
		caller := uuid.New()
		var admitted []time.Time
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range rapid.IntRange(1, 12).Draw(t, "bursts") {
			for range random.IntN(80) {
				if processes[random.IntN(len(processes))].Open(caller).Take(t.Context()) == nil {
					admitted = append(admitted, now)
				}
				now = now.Add(time.Duration(random.IntN(20)) * time.Millisecond)
				server.SetTime(now)
			}
			now = now.Add(time.Duration(random.IntN(4000)) * time.Millisecond)
			server.SetTime(now)
		}
		end := 0
		for first := range admitted {
			for end < len(admitted) && admitted[end].Sub(admitted[first]) <= 10*time.Second {
				end++
			}
			require.LessOrEqual(t, end-first, quota+len(processes)*(quota/creditPart), "from %s", admitted[first])
		}
	})
}

// Who looks around a little costs Redis nothing, who reads a lot a round trip per block, and who is refused nothing
// again until there is room.
func TestMostReadsDoNotAskRedis(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	now := start
	l := limit(t, Options{Lane: lane, Leased: true, Now: func() time.Time { return now }}, "600/1m")
	caller, before := uuid.New(), asked(server)
	for n := range 600 {
		if n == 12 {
			require.Equal(t, before, asked(server), "the credit")
		}
		c := l.Open(caller)
		require.NoError(t, c.Take(t.Context()))
		require.Equal(t, 600-n-1, c.standings[0].Remaining, "what is left is told by each of them")
		require.GreaterOrEqual(t, c.standings[0].Reset, time.Minute)
		require.LessOrEqual(t, c.standings[0].Reset, 72*time.Second)
	}
	trips := asked(server) - before
	assert.LessOrEqual(t, trips, 4*600/12+10, "a lease of twelve at a time, of four commands each, and what a new connection says")
	require.Error(t, l.Open(caller).Take(t.Context()))
	trips = asked(server)
	for range 1000 {
		var refused *RefusedError
		require.ErrorAs(t, l.Open(caller).Take(t.Context()), &refused)
		require.LessOrEqual(t, refused.Wait, 72*time.Second)
	}
	assert.Equal(t, trips, asked(server), "refused without asking")
	now = now.Add(72 * time.Second)
	server.SetTime(now)
	require.NoError(t, l.Open(caller).Take(t.Context()), "what was used comes back a fifth late at most")
}

// A lease that was not used up is lost with its slot.
func TestALeaseEndsWithItsSlot(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	now := start
	l := limit(t, Options{Lane: lane, Leased: true, Now: func() time.Time { return now }}, "600/1m")
	caller := uuid.New()
	var reset time.Duration
	for range 13 {
		c := l.Open(caller)
		require.NoError(t, c.Take(t.Context()))
		reset = c.standings[0].Reset
	}
	before, elapsed := asked(server), 6*time.Second-time.Nanosecond
	now = now.Add(elapsed)
	c := l.Open(caller)
	require.NoError(t, c.Take(t.Context()))
	require.Equal(t, before, asked(server))
	require.Equal(t, reset-elapsed, c.standings[0].Reset, "what Redis said then is told as of now")
	now = now.Add(time.Nanosecond)
	require.NoError(t, l.Open(caller).Take(t.Context()))
	require.Greater(t, asked(server), before, "the old one is over, though ten were left")
}

// RL-08: without Redis each process counts by itself, the whole quota where the class stays open and a share where not,
// and both go on in Redis when it is back.
func TestRL08WithoutRedisEachProcessCountsByItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		when WhenAway
		want int
	}{"open": {Open, 10}, "share": {Share, 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			lane := laneTo(t, "redis://"+server.Addr())
			l := limit(t, Options{Lane: lane, WhenAway: c.when, Processes: 3}, "10/1h")
			caller := uuid.New()
			require.NoError(t, l.Open(caller).One(t.Context()))
			server.Close()
			admitted := 0
			for range 30 {
				if l.Open(caller).One(t.Context()) == nil {
					admitted++
				}
			}
			assert.Equal(t, c.want, admitted)
			require.NoError(t, server.Restart())
			require.Eventually(t, func() bool { return l.Open(caller).One(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
		})
	}
}

// The budget of replays is ten times the quota, in this process too, and apart from it.
func TestReplaysHaveABudgetOfTheirOwn(t *testing.T) {
	t.Parallel()
	l := limit(t, Options{}, "3/1h")
	caller := uuid.New()
	for range 30 {
		require.NoError(t, l.Open(caller).Replay(t.Context()))
	}
	var refused *RefusedError
	require.ErrorAs(t, l.Open(caller).Replay(t.Context()), &refused)
	assert.Equal(t, []string{"test-replays"}, refused.Policies)
	for range 3 {
		require.NoError(t, l.Open(caller).Alone(t.Context()))
	}
	require.Error(t, l.Open(caller).Alone(t.Context()))
}

// Calls that nobody counts, such as bodies that are not valid, are not free: who sends as many as the quota is let in no
// more, and others are.
func TestMistakesAreNotFree(t *testing.T) {
	t.Parallel()
	now := start
	l := limit(t, Options{Now: func() time.Time { return now }}, "5/10s")
	caller := uuid.New()
	for range 5 {
		c := l.Open(caller)
		require.NoError(t, c.Enter(t.Context()))
		c.Mistake()
	}
	c := l.Open(caller)
	require.Error(t, c.Enter(t.Context()))
	c.Mistake() // what was refused is not counted again
	require.NoError(t, l.Open(uuid.New()).Enter(t.Context()))
	now = now.Add(11 * time.Second)
	require.NoError(t, l.Open(caller).Enter(t.Context()))
	counted := l.Open(caller)
	require.NoError(t, counted.Alone(t.Context()))
	counted.Mistake()
	assert.EqualValues(t, 1, l.callers.known(caller).counts[0].slots[0], "what was counted is no mistake")
}

// However many callers there are, this process remembers a bounded number of them, and those who are at it stay.
func TestTheNumberOfCallersIsBounded(t *testing.T) {
	t.Parallel()
	now := start
	l := limit(t, Options{Now: func() time.Time { return now }}, "5/10s")
	remembered := func() (n int) {
		for i := range l.callers.shards {
			n += len(l.callers.shards[i].all)
		}
		return n
	}
	for range shards * perShard {
		l.callers.of(uuid.New(), l)
	}
	now = now.Add(time.Minute)
	active := uuid.New()
	require.NoError(t, l.Open(active).Alone(t.Context()))
	for range shards * perShard / 2 {
		l.callers.of(uuid.New(), l)
	}
	assert.LessOrEqual(t, remembered(), shards*perShard)
	assert.NotNil(t, l.callers.known(active), "idle ones go first")
}

func TestCallsOfOneCallerMayComeTogether(t *testing.T) {
	t.Parallel()
	lane, _ := clocked(t)
	l := limit(t, Options{Lane: lane, Leased: true, Now: func() time.Time { return start }}, "100/1m")
	caller := uuid.New()
	var all sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 8 {
		all.Go(func() {
			for range 40 {
				if l.Open(caller).Take(t.Context()) == nil {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	assert.Equal(t, 100, admitted, "one process: its credit is paid for")
}
