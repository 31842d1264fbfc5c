package main

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestArrivalsKeepTheirRatesWhateverIsAnswered(t *testing.T) {
	t.Parallel()
	s := schedule{stretches: []stretch{{10 * time.Second, 1000}, {5 * time.Second, 0}, {10 * time.Second, 200}}}
	var counts [3]int
	last := time.Duration(0)
	s.arrivals(rand.New(rand.NewPCG(1, 2)), func(at time.Duration) bool {
		assert.GreaterOrEqual(t, at, last)
		last = at
		switch {
		case at < 10*time.Second:
			counts[0]++
		case at < 15*time.Second:
			counts[1]++
		default:
			counts[2]++
		}
		return true
	})
	// Five standard deviations of a Poisson process.
	assert.InDelta(t, 10_000, counts[0], 500)
	assert.Zero(t, counts[1])
	assert.InDelta(t, 2000, counts[2], 224)
	assert.Less(t, last, s.duration())
	assert.Equal(t, 25*time.Second, s.duration())
}

func TestArrivalsEndWhenTheyAreNotWanted(t *testing.T) {
	t.Parallel()
	n := 0
	schedule{stretches: []stretch{{time.Second, 1000}, {time.Second, 1000}}}.arrivals(rand.New(rand.NewPCG(1, 2)), func(time.Duration) bool {
		n++
		return n < 3
	})
	assert.Equal(t, 3, n)
}

// stalling answers at once, but for one request, which it keeps for so long.
func stalling(t *testing.T, stall time.Duration) target {
	t.Helper()
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { time.Sleep(stall) }) // the stall is what is tested
	}))
	t.Cleanup(server.Close)
	return target{address: server.Listener.Addr().String(), customers: &customers{count: 1, tokens: [][]byte{[]byte("token")}}}
}

func TestLatencyCountsFromTheArrivalAlsoOfRequestsThatCouldNotBeSent(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	// One connection, and the first request stalls: whoever arrives meanwhile has waited, though the server
	// answered each of them at once.
	s := schedule{[]stretch{{stall, 200}}, 1, time.Minute}
	r, err := open(t.Context(), stalling(t, stall), s, oneProduct)
	require.NoError(t, err)
	assert.Zero(t, r.unsent)
	assert.Greater(t, r.all(good), 50)
	assert.GreaterOrEqual(t, at(r.latencies, 50), float64(stall.Milliseconds())/4)
	assert.GreaterOrEqual(t, at(r.latencies, 100), float64(stall.Milliseconds()))
	assert.Equal(t, r.all(good), r.seconds[0].counts[good])
	assert.EqualValues(t, r.all(good), r.byKind[readProduct].TotalCount())
}

func TestArrivalsThatFindNoConnectionInTimeAreCounted(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	s := schedule{[]stretch{{stall, 200}}, 1, 100 * time.Millisecond}
	r, err := open(t.Context(), stalling(t, stall), s, oneProduct)
	require.NoError(t, err)
	assert.Greater(t, r.unsent, 20)
	assert.Equal(t, r.unsent, r.seconds[0].unsent)
	m := mixedRun{result: r}
	assert.InDelta(t, 100*float64(r.unsent)/float64(r.unsent+r.all(good)), m.unserved(), 1e-9, "who was not served is an error")
}

func TestAServerThatIsGoneEndsTheRun(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	to := target{address: server.Listener.Addr().String(), customers: &customers{count: 1, tokens: [][]byte{[]byte("token")}}}
	w, err := to.worker(t.Context(), 1)
	require.NoError(t, err)
	server.Close()
	rec := newRecorder()
	for range hopeless {
		oneProduct(w)
		if _, err = w.send(t.Context(), rec, time.Now(), time.Now()); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "got no answer")
	assert.Equal(t, hopeless, rec.all(failed))
}

// burst is an overload run: each second of the burst places so many orders, and the latency is high for so many
// seconds after it.
func burst(placed, slow int) result {
	rec := newRecorder()
	rec.schedule(int((calmTime + burstTime + afterTime) / time.Second))
	begin, end := int(calmTime/time.Second), int((calmTime+burstTime)/time.Second)
	for i := range rec.seconds {
		s := &rec.seconds[i]
		latency := 10 * time.Millisecond
		s.orders = 500
		if i >= begin && i < end {
			s.orders, s.counts[shed] = placed, 1000
		}
		if i >= begin && i < end+slow {
			latency = 100 * time.Millisecond
		}
		_ = record(s.latencies, latency)
	}
	return rec.result
}

func TestOverloadIsJudgedByItsGoodputAndByWhenItWasOver(t *testing.T) {
	t.Parallel()
	for slow, want := range map[int]int{0: 0, 7: 7, int(afterTime / time.Second): -1} {
		o := judgeOverload(burst(950, slow), 1000)
		assert.InDelta(t, 95, o.share(), 1e-9)
		assert.Equal(t, want, o.recovery, "slow for %d s", slow)
		assert.InDelta(t, 20, o.normal, 0.5)
	}
	for what, spoil := range map[string]func(*second){
		"refused": func(s *second) { s.counts[shed] = 1 }, "over a quota": func(s *second) { s.counts[limited] = 1 },
		"failed": func(s *second) { s.counts[failed] = 1 }, "not sent": func(s *second) { s.unsent = 1 },
	} {
		r := burst(950, 0)
		for i := int((calmTime + burstTime) / time.Second); i < len(r.seconds); i++ {
			spoil(&r.seconds[i])
		}
		assert.Equal(t, -1, judgeOverload(r, 1000).recovery, "while requests are %s it is not over", what)
	}
}

// Of several overload runs the middle one's goodput counts, and the one after which it took longest, or for ever.
func TestOfSeveralOverloadRunsTheMiddleAndTheSlowestCount(t *testing.T) {
	t.Parallel()
	run := func(goodput float64, recovery int) *overloadRun {
		return &overloadRun{peak: 100, goodput: goodput, recovery: recovery}
	}
	b := &bench{}
	assert.Nil(t, b.middle())
	b.overload = []*overloadRun{run(120, 3), run(80, 9), run(95, 1)}
	assert.InDelta(t, 95, b.middle().share(), 1e-9)
	assert.Equal(t, 9, b.slowest().recovery)
	b.overload[2].recovery = -1
	assert.Equal(t, -1, b.slowest().recovery)
}
