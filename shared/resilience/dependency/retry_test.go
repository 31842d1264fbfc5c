package dependency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errBroke = errors.New("it broke")

func always(error) bool { return true }

// D14: however many callers there are, a dependency at which everything fails is asked a tenth more often than they call,
// and no more but for the floor.
func TestD14WhatAlwaysFailsIsAskedATenthMore(t *testing.T) {
	t.Parallel()
	for name, callers := range map[string]int{"one after the other": 1, "at the same time": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const calls = 5000
				r := NewRetrier(policy)
				var asked atomic.Int64
				var all sync.WaitGroup
				began := time.Now()
				for range callers {
					all.Go(func() {
						for range calls / callers {
							err := r.Do(t.Context(), func() error { asked.Add(1); return errBroke }, always)
							assert.ErrorIs(t, err, errBroke)
						}
					})
				}
				all.Wait()
				windows := 1 + int64(time.Since(began)/window)
				assert.LessOrEqual(t, asked.Load(), calls*11/10+floor*windows)
				assert.GreaterOrEqual(t, asked.Load(), int64(calls*109/100), "and the tenth is used")
				assert.Equal(t, asked.Load()-calls, r.made.Load())
				assert.Equal(t, int64(calls), r.made.Load()+r.denied.Load())
			})
		})
	}
}

// A process that makes a call now and then may repeat one, and not more of them than that.
func TestAQuietProcessMayRetryAFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRetrier(policy)
		asked := 0
		call := func() { _ = r.Do(t.Context(), func() error { asked++; return errBroke }, always) }
		for range 9 {
			call()
		}
		assert.Equal(t, 9+floor, asked)
		time.Sleep(window)
		asked = 0
		call()
		assert.Equal(t, 2, asked)
	})
}

// What was saved in good times is a burst's and not a day's.
func TestGoodTimesSaveNoMoreThanABurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRetrier(policy)
		for range 100_000 {
			require.NoError(t, r.Do(t.Context(), func() error { return nil }, always))
		}
		asked := 0
		for range 100 {
			_ = r.Do(t.Context(), func() error { asked++; return errBroke }, always)
		}
		assert.InDelta(t, 100+saved/price+100/price+floor, asked, 1)
	})
}

func TestWhatIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRetrier(policy)
		asked := 0
		count := func(ctx context.Context, outcomes ...error) (int, error) {
			asked = 0
			err := r.Do(ctx, func() error { asked++; return outcomes[asked-1] }, func(err error) bool { return errors.Is(err, errBroke) })
			return asked, err
		}
		n, err := count(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		n, err = count(t.Context(), errBroke, nil)
		require.NoError(t, err)
		assert.Equal(t, 2, n, "this one is")
		n, err = count(t.Context(), context.Canceled)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 1, n, "not what says that it is of no use")
		n, err = count(t.Context(), errBroke, errBroke)
		require.ErrorIs(t, err, errBroke)
		assert.Equal(t, 2, n, "once")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n, _ = count(ctx, errBroke)
		assert.Equal(t, 1, n, "nobody waits for the answer")
	})
}

// Those that failed together come back apart, anywhere between at once and the whole pause.
func TestPausesAreDrawnFromNothingToAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		early, late := 0, 0
		for range 200 {
			r := NewRetrier(policy)
			began := time.Now()
			_ = r.Do(t.Context(), func() error { return errBroke }, always)
			took := time.Since(began)
			require.Less(t, took, policy.Backoff)
			if took < policy.Backoff/4 {
				early++
			}
			if took > policy.Backoff*3/4 {
				late++
			}
		}
		assert.Greater(t, early, 20)
		assert.Greater(t, late, 20)
	})
}
