package resilience

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	target = 100 * time.Millisecond
	budget = 200 * time.Millisecond
)

func limiter(t testing.TB, low, high, start int) *Limiter {
	t.Helper()
	l, err := New(Options{Min: low, Max: high, Start: start, Target: target, Budget: budget})
	require.NoError(t, err)
	return l
}

// fill takes n permits that must be free.
func fill(t *testing.T, l *Limiter, c Class, n int) {
	t.Helper()
	for range n {
		require.True(t, l.open(c), "%s", c)
		require.NoError(t, l.Enter(t.Context(), c))
	}
}

// work lets rounds of all permits of a class pass, each round taking as long as took.
func work(t *testing.T, l *Limiter, rounds int, took time.Duration) {
	t.Helper()
	for range rounds {
		n := most(Checkout, l.limit)
		fill(t, l, Checkout, n)
		time.Sleep(took)
		for range n {
			l.Leave(Checkout, took)
		}
	}
}

func TestTheLimitGrowsWhileWorkIsFastAndTheLimitInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 10, 100, 40)
		for range 30 { // fast, and a fifth of the limit in use: more room would prove nothing
			fill(t, l, Checkout, 8)
			time.Sleep(50 * time.Millisecond)
			for range 8 {
				l.Leave(Checkout, 50*time.Millisecond)
			}
		}
		assert.Equal(t, 40, l.limit)
		work(t, l, 10, 50*time.Millisecond)
		assert.Greater(t, l.limit, 40)
		work(t, l, 200, 50*time.Millisecond)
		assert.Equal(t, 100, l.limit, "not above its bound")
	})
}

func TestTheLimitShrinksWhenWorkSlowsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 10, 100, 100)
		work(t, l, 1, 125*time.Millisecond)
		assert.InDelta(t, 80, l.limit, 1, "a quarter too slow, a fifth fewer")
		work(t, l, 1, 95*time.Millisecond)
		assert.InDelta(t, 80, l.limit, 1, "near the target it stands still")
		work(t, l, 1, 10*time.Second)
		assert.InDelta(t, 40, l.limit, 1, "halved at most")
		work(t, l, 20, time.Second)
		assert.Equal(t, 10, l.limit, "not below its bound")
	})
}

func TestWhatBeganUnderTheOldLimitDoesNotLowerTheNewOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 10, 100, 100)
		fill(t, l, Checkout, 90)
		time.Sleep(200 * time.Millisecond)
		for range 20 {
			l.Leave(Checkout, 200*time.Millisecond)
		}
		lowered := l.limit
		require.Less(t, lowered, 100)
		time.Sleep(200 * time.Millisecond)
		for range 70 {
			l.Leave(Checkout, 400*time.Millisecond)
		}
		assert.Equal(t, lowered, l.limit)
	})
}

func TestFewSlowOrdersAmongManyFastPagesAreSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 10, 100, 100)
		fill(t, l, Checkout, 5)
		time.Sleep(500 * time.Millisecond)
		for range 1000 {
			l.count[Browse]++
			l.sum[Browse] += time.Millisecond
		}
		l.Leave(Checkout, 500*time.Millisecond)
		assert.Equal(t, 50, l.limit)
	})
}

func TestBrowseIsRefusedBeforeCheckout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 10, 100, 100)
		fill(t, l, Rest, 25)
		require.ErrorIs(t, l.Enter(t.Context(), Rest), ErrRefused, "a quarter is for the rest")
		fill(t, l, Browse, 45)
		began := time.Now()
		require.ErrorIs(t, l.Enter(t.Context(), Browse), ErrRefused)
		assert.Equal(t, budget, time.Since(began), "it waits as long as its budget, and no longer")
		require.ErrorIs(t, l.Enter(t.Context(), Rest), ErrRefused)
		fill(t, l, Checkout, 30)
		require.ErrorIs(t, l.Enter(t.Context(), Checkout), ErrRefused, "what is full is full")
		assert.Equal(t, 100, l.total())
	})
}

// While the database hangs, what needs it holds all it can get; cached pages still go out.
func TestHangingCheckoutsLeaveRoomForBrowse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 16, 100, 16)
		fill(t, l, Rest, 4)
		fill(t, l, Checkout, 11)
		require.ErrorIs(t, l.Enter(t.Context(), Checkout), ErrRefused)
		require.ErrorIs(t, l.Enter(t.Context(), Rest), ErrRefused)
		fill(t, l, Browse, 1)
	})
}

// queue lets n requests of a class wait, a pause after each, and returns where they tell their number when let in.
func queue(ctx context.Context, l *Limiter, c Class, n int, pause time.Duration) chan int {
	in := make(chan int, n)
	for i := range n {
		go func() {
			if l.Enter(ctx, c) == nil {
				in <- i
			}
		}()
		synctest.Wait()
		time.Sleep(pause)
	}
	return in
}

func TestWhoIsNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		pause time.Duration
		want  []int
	}{
		{"first come, first served", time.Millisecond, []int{0, 1, 2, 3}},
		{"half of the time is over: the newest, who has most time left", 30 * time.Millisecond, []int{3, 2, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := limiter(t, 4, 4, 4)
				fill(t, l, Checkout, 3)
				in := queue(t.Context(), l, Checkout, 4, c.pause)
				var got []int
				for range 4 {
					l.Leave(Checkout, 0)
					synctest.Wait()
					got = append(got, <-in)
				}
				assert.Equal(t, c.want, got)
			})
		})
	}
}

func TestCheckoutIsServedBeforeWhoCameEarlier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 10, 10, 10)
		fill(t, l, Browse, 7)
		fill(t, l, Checkout, 3)
		rest, browse := queue(t.Context(), l, Rest, 1, 0), queue(t.Context(), l, Browse, 1, 0)
		checkout := queue(t.Context(), l, Checkout, 1, 0)
		for _, next := range []chan int{checkout, browse, rest} {
			l.Leave(Browse, 0)
			synctest.Wait()
			require.Len(t, next, 1)
			<-next
		}
	})
}

func TestAClientThatLeavesLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 4, 4, 4)
		fill(t, l, Checkout, 3)
		ctx, leave := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(20*time.Millisecond, leave)
		require.ErrorIs(t, l.Enter(ctx, Checkout), ErrRefused)
		assert.Equal(t, 20*time.Millisecond, time.Since(began), "it does not wait on")
		assert.Zero(t, l.waiting[Checkout].Len())
		l.Leave(Checkout, 0)
		require.ErrorIs(t, l.Enter(ctx, Checkout), ErrRefused, "there is room, and nobody who waits for the answer")
		assert.Equal(t, 2, l.total())
		assert.EqualValues(t, 2, l.refused[Checkout][gone])

		// A permit that is handed over in the moment in which its client leaves goes on to the next.
		fill(t, l, Checkout, 1)
		ctx, leave = context.WithCancel(t.Context())
		first := make(chan error)
		go func() { first <- l.Enter(ctx, Checkout) }()
		synctest.Wait()
		second := queue(t.Context(), l, Checkout, 1, 0)
		l.mu.Lock()
		leave()
		l.inFlight[Checkout]--
		l.hand(time.Now())
		l.mu.Unlock()
		require.ErrorIs(t, <-first, ErrRefused)
		assert.Equal(t, 0, <-second)
		assert.Equal(t, 3, l.total())
	})
}

func TestAFullQueueTakesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 4, 4, 4)
		fill(t, l, Checkout, 3)
		in := queue(t.Context(), l, Checkout, 5, time.Millisecond)
		assert.Equal(t, 4, l.waiting[Checkout].Len())
		assert.EqualValues(t, 1, l.refused[Checkout][crowded])
		assert.True(t, l.TurnAway(t.Context(), Checkout))
		l.Leave(Checkout, 0)
		assert.Equal(t, 0, <-in)
		assert.False(t, l.TurnAway(t.Context(), Checkout))
		time.Sleep(budget)
		synctest.Wait()
		assert.Zero(t, l.waiting[Checkout].Len(), "the others' time is over")
		assert.EqualValues(t, 3, l.refused[Checkout][late])
	})
}

// A crowd is no reason to turn anybody away while it is only a burst; once some of it have stood there for long, there is
// no use in waiting behind enough others, and again one as soon as there is room.
func TestWhoIsTurnedAwayAndUntilWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 20, 20, 20)
		fill(t, l, Checkout, 19)
		in := queue(t.Context(), l, Checkout, 10, time.Millisecond)
		assert.False(t, l.TurnAway(t.Context(), Checkout), "a burst")
		time.Sleep(budget / 4)
		more := queue(t.Context(), l, Checkout, 1, 0) // the last that may wait: now it shows how long the others have
		require.True(t, l.TurnAway(t.Context(), Checkout))
		assert.False(t, l.TurnAway(t.Context(), Browse), "each class for itself")
		began := time.Now()
		require.ErrorIs(t, l.Enter(t.Context(), Checkout), ErrRefused)
		assert.Equal(t, began, time.Now(), "who comes in between doesn't wait either")
		assert.EqualValues(t, 1, l.away[Checkout].Load())

		for range 3 { // the first get in: none has stood for half of the time
			l.Leave(Checkout, 0)
			synctest.Wait()
		}
		assert.Empty(t, more)
		assert.Len(t, in, 3)
		assert.False(t, l.TurnAway(t.Context(), Checkout), "so few wait that a permit might find nobody")
		time.Sleep(budget)
		synctest.Wait()
		assert.Zero(t, l.waiting[Checkout].Len())
		assert.False(t, l.TurnAway(t.Context(), Checkout), "whatever becomes of those at work")
	})
}

// Who is turned away is kept for a while, not too many are, and who finds room then is let in.
func TestWhoIsTurnedAwayIsKept(t *testing.T) {
	t.Parallel()
	const hold = time.Second
	crowded := func(t *testing.T) *Limiter {
		t.Helper()
		l, err := New(Options{Min: 4, Max: 4, Start: 4, Target: target, Budget: budget, Hold: hold, Held: 2})
		require.NoError(t, err)
		l.full[Checkout].Store(true)
		return l
	}
	ask := func(ctx context.Context, l *Limiter) <-chan time.Duration { // how long it took to be turned away; -1: let in
		said, began := make(chan time.Duration, 1), time.Now()
		go func() {
			if l.TurnAway(ctx, Checkout) {
				said <- time.Since(began)
			} else {
				said <- -1
			}
		}()
		synctest.Wait()
		return said
	}
	synctest.Test(t, func(t *testing.T) {
		l := crowded(t)
		first, second, third := ask(t.Context(), l), ask(t.Context(), l), ask(t.Context(), l)
		assert.Equal(t, time.Duration(0), <-third, "two are kept, as many as may be")
		assert.Equal(t, hold, <-first)
		assert.Equal(t, hold, <-second)
		assert.EqualValues(t, 3, l.away[Checkout].Load())
		assert.Zero(t, l.held.Load())
	})
	synctest.Test(t, func(t *testing.T) {
		l := crowded(t)
		ctx, leave := context.WithCancel(t.Context())
		gone := ask(ctx, l)
		time.Sleep(hold / 4)
		leave()
		assert.Equal(t, hold/4, <-gone, "nobody waits for the answer")
		stays := ask(t.Context(), l)
		l.full[Checkout].Store(false)
		assert.EqualValues(t, -1, <-stays, "there is room")
		assert.EqualValues(t, 1, l.away[Checkout].Load())
		assert.Zero(t, l.held.Load())
	})
}

func TestBoundsAreChecked(t *testing.T) {
	t.Parallel()
	good := Options{Min: 4, Max: 9, Start: 5, Target: 1, Budget: 1}
	require.NoError(t, good.Check())
	for _, change := range []func(*Options){
		func(o *Options) { o.Min = 3 },
		func(o *Options) { o.Start = 3 },
		func(o *Options) { o.Max = 4 },
		func(o *Options) { o.Target = 0 },
		func(o *Options) { o.Budget = 0 },
		func(o *Options) { o.Hold = -1 },
		func(o *Options) { o.Held = -1 },
	} {
		bad := good
		change(&bad)
		_, err := New(bad)
		require.Error(t, err)
	}
}

// What every request pays while there is room: no allocation.
func TestEnteringAllocatesNothing(t *testing.T) {
	l := limiter(t, 16, 1000, 200)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		if l.Enter(ctx, Browse) == nil {
			l.Leave(Browse, time.Millisecond)
		}
	}))
}

func BenchmarkEnterAndLeave(b *testing.B) {
	l := limiter(b, 16, 1000, 200)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if l.Enter(ctx, Browse) == nil {
				l.Leave(Browse, time.Millisecond)
			}
		}
	})
}
