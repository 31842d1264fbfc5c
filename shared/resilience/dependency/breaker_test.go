package dependency

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var policy = Policy{Name: "test", Failures: 3, Pause: time.Second, Retries: 1, Backoff: 100 * time.Millisecond}

// longest is the longest pause of a policy: a fifth more than it says.
func longest(p Policy) time.Duration { return p.Pause*6/5 + time.Millisecond }

// end makes a call that must be let through.
func end(t *testing.T, b *Breaker, o Outcome) {
	t.Helper()
	permit, err := b.Acquire()
	require.NoError(t, err)
	b.Settle(permit, o)
}

// opened is a breaker that has just opened.
func opened(t *testing.T) *Breaker {
	t.Helper()
	b := NewBreaker(policy)
	for range policy.Failures {
		end(t, b, Failed)
	}
	require.Equal(t, Open, b.State())
	return b
}

func TestFailuresInARowOpenABreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(policy)
		for range 20 { // two in a row never were enough
			end(t, b, Failed)
			end(t, b, Failed)
			end(t, b, Answered)
		}
		for range 50 { // who leaves says nothing
			end(t, b, Undecided)
		}
		require.Equal(t, Closed, b.State())
		require.NoError(t, b.Check())

		b = opened(t)
		_, err := b.Acquire()
		require.ErrorIs(t, err, ErrOpen)
		require.ErrorIs(t, b.Check(), ErrOpen)
		time.Sleep(policy.Pause*4/5 - time.Millisecond)
		_, err = b.Acquire()
		require.ErrorIs(t, err, ErrOpen, "not before the pause is over")
		assert.EqualValues(t, 3, b.refused.Load())
		assert.EqualValues(t, 1, b.opened.Load())
	})
}

// Of a crowd that waited for the pause to be over one goes through. Its failure costs nobody else a wait, its success lets
// in all.
func TestHalfOpenLetsOneThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		for round := range 5 {
			time.Sleep(longest(policy))
			var probes atomic.Int64
			var probe Permit
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if permit, err := b.Acquire(); err == nil {
						probes.Add(1)
						probe = permit
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 1, probes.Load())
			require.Equal(t, HalfOpen, b.State())
			require.ErrorIs(t, b.Check(), ErrOpen, "nor who makes no probes")
			if round < 4 {
				b.Settle(probe, Failed)
				require.Equal(t, Open, b.State())
				continue
			}
			b.Settle(probe, Answered)
		}
		require.Equal(t, Closed, b.State())
		for range 100 {
			_, err := b.Acquire()
			require.NoError(t, err)
		}
		end(t, b, Failed)
		end(t, b, Failed)
		assert.Equal(t, Closed, b.State(), "what failed before it opened is forgotten")
	})
}

// The client of a probe left before it had an answer. The breaker must neither close by it nor stay shut for ever.
func TestAProbeThatSaysNothingIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(longest(policy))
		for range 3 {
			end(t, b, Undecided)
			require.Equal(t, HalfOpen, b.State())
		}
		end(t, b, Answered)
		require.Equal(t, Closed, b.State())
	})
}

// Calls take long when a dependency hangs: what they say when they end is about then and not about now.
func TestWhatBeganBeforeSaysNothingAboutNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(policy)
		old := make([]Permit, 20)
		for i := range old {
			old[i], _ = b.Acquire()
		}
		for range policy.Failures {
			end(t, b, Failed)
		}
		b.Settle(old[0], Answered)
		require.Equal(t, Open, b.State(), "no late answer closes it")
		time.Sleep(longest(policy))
		probe, err := b.Acquire()
		require.NoError(t, err)
		b.Settle(old[1], Failed)
		require.Equal(t, HalfOpen, b.State(), "no late failure is the probe's")
		b.Settle(probe, Answered)
		for _, late := range old[2:] {
			b.Settle(late, Failed)
		}
		require.Equal(t, Closed, b.State(), "late failures don't open it again")
	})
}

// What every call pays while all is well.
func TestACallThatGoesWellAllocatesNothing(t *testing.T) {
	b := NewBreaker(policy)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		if permit, err := b.Acquire(); err == nil {
			b.Settle(permit, Answered)
		}
	}))
}

func BenchmarkAcquireAndSettle(b *testing.B) {
	breaker := NewBreaker(policy)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if permit, err := breaker.Acquire(); err == nil {
				breaker.Settle(permit, Answered)
			}
		}
	})
}
