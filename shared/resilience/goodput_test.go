package resilience

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The simulated world: a server that does a thousand requests a second and never more, in the order they came, and
// clients that come whether it answers or not and leave after half a second.
const (
	workers  = 10
	service  = 10 * time.Millisecond
	capacity = int(time.Second/service) * workers
	patience = 500 * time.Millisecond

	calm, burst, after = 10, 20, 40 // seconds
	calmLoad           = capacity / 2
	burstLoad          = 3 * capacity
)

// second is what became of the requests of one second.
type second struct {
	good [classes]int    // answered in time
	took []time.Duration // from arrival to answer
}

func (s *second) p99() time.Duration {
	slices.Sort(s.took)
	return s.took[len(s.took)*99/100]
}

// simulate runs calm, burst and calm again. checkout is its share of the requests in percent; five are of the rest.
func simulate(t *testing.T, l *Limiter, checkout int) []second {
	t.Helper()
	var (
		mu     sync.Mutex
		all    = make([]second, calm+burst+after)
		random = rand.New(rand.NewPCG(1, 2)) // the same load in each run
		server = make(chan struct{}, workers)
		wg     sync.WaitGroup
	)
	request := func(at int, c Class, need time.Duration) {
		came := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if l != nil {
			if l.Enter(ctx, c) != nil {
				return
			}
		}
		began := time.Now()
		server <- struct{}{}
		time.Sleep(need)
		<-server
		if l != nil {
			l.Leave(c, time.Since(began))
		}
		mu.Lock()
		defer mu.Unlock()
		took := time.Since(came)
		all[at].took = append(all[at].took, took)
		if took <= patience {
			all[at].good[c]++
		}
	}
	for at := range all {
		load := calmLoad
		if at >= calm && at < calm+burst {
			load = burstLoad
		}
		for range load {
			c := Browse
			if n := random.IntN(100); n < checkout {
				c = Checkout
			} else if n >= 95 {
				c = Rest
			}
			need := service/2 + time.Duration(random.Int64N(int64(service)))
			wg.Go(func() { request(at, c, need) })
			time.Sleep(time.Second / time.Duration(load))
		}
	}
	wg.Wait()
	return all
}

// outcome sums a simulation up: good answers per second of the burst, and the seconds after it until the latency was
// normal for good.
func outcome(all []second) (checkout, total, recovery int) {
	normal := 2 * all[calm-1].p99()
	for _, s := range all[calm : calm+burst] {
		checkout += s.good[Checkout]
		total += s.good[Checkout] + s.good[Browse] + s.good[Rest]
	}
	for i, s := range all[calm+burst:] {
		if s.p99() > normal {
			recovery = i + 1
		}
	}
	return checkout / burst, total / burst, recovery
}

func TestGoodputAtThreeTimesTheCapacity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		checkout, peak int // percent of the requests; the most of them that can be served in a second
	}{
		{"a crowd of readers", 20, burstLoad * 20 / 100},
		{"a crowd of buyers", 60, capacity},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := limiter(t, 16, 1000, 1000) // ten times too high: it has to find out
				checkout, total, recovery := outcome(simulate(t, l, c.checkout))
				t.Logf("checkout %d/s of %d, all %d/s of %d, normal after %d s, limit %d", checkout, c.peak, total, capacity, recovery, l.limit)
				assert.GreaterOrEqual(t, checkout, c.peak*90/100)
				assert.GreaterOrEqual(t, total, capacity*90/100)
				assert.Less(t, recovery, 30)
				assert.Zero(t, l.total(), "a permit was lost")
			})
			// The same load without a limit fails on every count: else the test would prove nothing.
			synctest.Test(t, func(t *testing.T) {
				checkout, total, recovery := outcome(simulate(t, nil, c.checkout))
				t.Logf("without a limit: checkout %d/s, all %d/s, normal after %d s", checkout, total, recovery)
				require.Less(t, checkout, c.peak*90/100)
				require.Less(t, total, capacity*90/100)
				require.GreaterOrEqual(t, recovery, 30)
			})
		})
	}
}

// Refusals are work too: here one costs a fifth of what an order costs, as it does in the benchmark. The clients share connections,
// and whoever finds none free for two seconds leaves.
func refusing(t *testing.T, hold time.Duration) (good int) {
	t.Helper()
	const (
		connections = 300
		refusal     = service / 5
	)
	l, err := New(Options{Min: 16, Max: 1000, Start: 100, Target: target, Budget: budget, Hold: hold, Held: connections})
	require.NoError(t, err)
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		server = make(chan struct{}, workers)
		free   = make(chan struct{}, connections)
		start  = time.Now()
	)
	work := func(need time.Duration) {
		server <- struct{}{}
		time.Sleep(need)
		<-server
	}
	request := func() {
		leave := time.NewTimer(2 * time.Second)
		defer leave.Stop()
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		case <-leave.C:
			return
		}
		if l.TurnAway(t.Context(), Checkout) || l.Enter(t.Context(), Checkout) != nil {
			work(refusal)
			return
		}
		began := time.Now()
		work(service)
		l.Leave(Checkout, time.Since(began))
		mu.Lock()
		defer mu.Unlock()
		if time.Since(start) <= burst*time.Second {
			good++
		}
	}
	for range burst * burstLoad {
		wg.Go(request)
		time.Sleep(time.Second / time.Duration(burstLoad))
	}
	wg.Wait()
	return good / burst
}

func TestRefusalsDontEatTheGoodput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept, once := refusing(t, time.Second), refusing(t, 0)
		t.Logf("%d/s of %d; when refusals are told at once %d/s", kept, capacity, once)
		assert.GreaterOrEqual(t, kept, capacity*90/100)
		assert.Less(t, once, capacity*75/100, "else this proves nothing")
	})
}
