package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The load of the seed's fleet at its peak, and what its users could bear.
const (
	fleetRate     = 127_000.0 / 60
	fleetP95      = 87.0  // ms
	fleetP99      = 234.0 // ms
	fleetErrors   = 0.003 // percent
	fleetHits     = 94.0  // percent
	repeatPerMill = 5     // of a thousand orders, that are asked for again
	mixedProducts = 1000
	skew          = 1.1 // of the products' popularity: the exponent of Zipf's law
)

// mixed draws a request of the fleet's profile: 80 % catalog, 10 % carts, 10 % orders.
func mixed(w *worker) {
	if w.popular == nil {
		w.popular = rand.NewZipf(w.rand, skew, 10, mixedProducts-1)
	}
	switch n := w.rand.IntN(100); {
	case n < 70:
		w.readProduct(w.anyProduct())
	case n < 76:
		w.listProducts()
	case n < 80:
		w.searchProducts()
	case n < 82:
		w.createCart()
	case n < 86:
		w.setItem(w.anyProduct())
	case n < 90:
		w.readCart()
	default:
		if w.placed > 0 && w.rand.IntN(1000) < repeatPerMill {
			w.repeatOrder()
			return
		}
		w.popularOrder()
	}
}

// anyProduct draws a product by its popularity.
func (w *worker) anyProduct() int { return 1 + int(w.popular.Uint64()) } //nolint:gosec // below a thousand

// popularOrder orders two products that differ.
func (w *worker) popularOrder() {
	first := w.anyProduct()
	second := w.anyProduct()
	if first == second {
		w.placeOrder(first)
		return
	}
	w.placeOrder(first, second)
}

// mixedRun is what the mixed run saw.
type mixedRun struct {
	result
	rate float64 // arrivals a second
	hits float64 // percent of catalog reads that a cache answered
}

// unserved is the part of arrivals that were not answered as they should be, in percent: refused and unsent ones too.
func (m *mixedRun) unserved() float64 {
	bad := m.all(shed) + m.all(limited) + m.all(failed) + m.unsent
	return 100 * float64(bad) / float64(max(1, bad+m.all(good)))
}

// measureMixed runs the fleet's load through the stand-in for the Functions host.
func (b *bench) measureMixed(ctx context.Context) error {
	s, err := b.start(ctx, settings{name: "hosted", products: mixedProducts, redis: 1, hosted: true})
	if err != nil {
		return err
	}
	b.hosted = s
	if err := b.customers.sign(); err != nil {
		return err
	}
	b.say("mixed run: %.0f arrivals a second for %s through the local host", fleetRate, b.mixedTime)
	warm := schedule{[]stretch{{5 * time.Second, fleetRate / 2}}, b.openConnections, time.Second}
	if _, err := open(ctx, s.target(), warm, mixed); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	if _, err := s.findHandler(); err != nil {
		return err
	}
	hits, misses, err := cacheReads(ctx, s.address)
	if err != nil {
		return err
	}
	stop, err := b.profiled(ctx, "mixed", s, 0)
	if err != nil {
		return err
	}
	plan := schedule{[]stretch{{b.mixedTime, fleetRate}}, b.openConnections, 10 * time.Second}
	r, err := metered(s.parts, func() (result, error) { return open(ctx, s.target(), plan, mixed) })
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	hitsThen, missesThen, err := cacheReads(ctx, s.address)
	if err != nil {
		return err
	}
	hit, miss := hitsThen-hits, missesThen-misses
	b.mixed = &mixedRun{result: r, rate: fleetRate, hits: 100 * hit / max(1, hit+miss)}
	b.tell("mixed", &r)
	if r.all(good) == 0 {
		return errNothing
	}
	if err := s.rest(ctx); err != nil {
		return err
	}
	if same, err := s.findHandler(); err != nil || !same {
		return errors.Join(err, errors.New("the handler ended during the run and the host started another one"))
	}
	return nil
}

// cacheReads are the catalog's reads that a cache answered, and those that it didn't, since the handler's start.
func cacheReads(ctx context.Context, address string) (hits, misses float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the metrics: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or failed already
	if res.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("reading the metrics: %s", res.Status)
	}
	if hits, misses, err = sumCounters(res.Body); err == nil && hits+misses == 0 {
		err = fmt.Errorf("the metrics have no redis_cache_hits_total and no redis_cache_misses_total")
	}
	return hits, misses, err
}

// sumCounters adds up the counters of the catalog's caches on a Prometheus page.
func sumCounters(page io.Reader) (hits, misses float64, err error) {
	lines := bufio.NewScanner(page)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		sum := &hits
		switch {
		case strings.Contains(line, `cache="order_list"`):
			continue
		case strings.HasPrefix(line, "redis_cache_hits_total{"):
		case strings.HasPrefix(line, "redis_cache_misses_total{"):
			sum = &misses
		default:
			continue
		}
		_, value, _ := strings.Cut(line, "} ")
		value, _, _ = strings.Cut(value, " ") // a time may follow
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading the metrics: line %q: %w", line, err)
		}
		*sum += n
	}
	if err := lines.Err(); err != nil {
		return 0, 0, fmt.Errorf("reading the metrics: %w", err)
	}
	return hits, misses, nil
}
