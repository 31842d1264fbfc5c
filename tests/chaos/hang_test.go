package chaos

import (
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
	"github.com/company/order-catalog-service/tests/history"
)

// atOnce is how long a refusal takes for want of the database.
const atOnce = 250 * time.Millisecond

// cached reads a product from each host, once it is in their caches, and demands that it is there. Nobody buys or changes
// it: what the clients do to theirs drops it from the caches, now and then in the moment before the database goes.
func (sc *scene) cached() func() {
	t := sc.t
	t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	require.NoError(t, sc.client.shop.stock(t.Context(), []string{id}))
	read := func() {
		for _, n := range sc.hosts {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/api/v1/products/%s", n.port, id), nil)
			require.NoError(t, err)
			require.NoError(t, sc.client.authorize(req))
			res, err := sc.client.http.Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusOK, res.StatusCode, "a cached product")
		}
	}
	read()
	return read
}

// write makes a cart: the smallest thing that needs the database.
func (sc *scene) write() (*http.Response, time.Duration) {
	sc.t.Helper()
	began := time.Now()
	res, _, err := sc.client.send(sc.t.Context(), sc.client.key(), request{method: http.MethodPost, path: "/api/v1/carts", body: map[string]string{"sessionId": "x"}})
	require.NoError(sc.t, err)
	return res, time.Since(began)
}

// refused demands for a while that writes are refused at once with the time to come back, while cached pages go on.
func (sc *scene) refused(d time.Duration, read func()) {
	t := sc.t
	t.Helper()
	var took []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // a client's pace
		res, one := sc.write()
		took = append(took, one)
		require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		read()
	}
	slices.Sort(took)
	p95, slowest := took[len(took)*95/100], took[len(took)-1]
	t.Logf("%d writes were refused: p95 %s, the slowest %s", len(took), p95.Round(time.Millisecond), slowest.Round(time.Millisecond))
	assert.Less(t, p95, atOnce)
	assert.Less(t, slowest, 4*atOnce, "on a machine that is busy with other things")
}

// PostgreSQL stops, without a connection ended or a word said: what a dead disk or a lost network looks like. The first
// writes wait for it; then it is known, and it costs nobody anything until it goes on.
func TestPostgresHangsUnderLoad(t *testing.T) {
	s := open(t, options{})
	sc := busy(t, s)
	time.Sleep(3 * time.Second) // the usual
	read := sc.cached()
	stopped := family(s.postgres.PID())
	signal := func(what syscall.Signal) {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, what)
		}
	}
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	signal(syscall.SIGSTOP)
	hung := time.Now()
	for quick := 0; quick < 8; { // both hosts know, each by itself
		require.Less(t, time.Since(hung), 20*time.Second, "every write waits for its whole timeout")
		res, took := sc.write()
		if quick++; res.StatusCode != http.StatusServiceUnavailable || took > atOnce {
			quick = 0
		}
	}
	known := time.Since(hung)
	sc.refused(away(t), read)
	signal(syscall.SIGCONT)
	back := sc.log.Now()
	require.Eventually(t, func() bool { res, _ := sc.write(); return res.StatusCode == http.StatusCreated }, 30*time.Second, 20*time.Millisecond)
	found := sc.log.Now() - back
	assert.Less(t, found, 5*time.Second)
	time.Sleep(3 * time.Second) // and after
	h := sc.end(s.truth)
	orders := 0
	for _, a := range between(h, back, back+time.Minute) {
		if a.Op == history.Place && a.Status == http.StatusCreated {
			orders++
		}
	}
	assert.Positive(t, orders, "orders go on")
	t.Logf("PostgreSQL hung: known after %s, found back %s after it went on", known.Round(time.Millisecond), found.Round(time.Millisecond))
}

// Redis answers, 200 ms late, which is longer than anybody waits for it: an order now and then pays for one attempt, and the
// others go without.
func TestASlowRedisCostsAnOrderOneTimeout(t *testing.T) {
	s := open(t, options{})
	sc := busy(t, s)
	time.Sleep(4 * time.Second) // the usual
	slow := sc.log.Now()
	for _, n := range s.hosts {
		require.NoError(t, n.poison("redis", "latency", "downstream", map[string]any{"latency": 200}))
	}
	time.Sleep(away(t))
	fast := sc.log.Now()
	for _, n := range s.hosts {
		n.heal("redis")
	}
	h := sc.end(s.truth)
	before, during := p99(between(h, 0, slow)), p99(between(h, slow, fast))
	t.Logf("orders: p99 %s before, %s while Redis was 200 ms late", before.Round(time.Millisecond), during.Round(time.Millisecond))
	require.NotZero(t, during)
	// A round trip through the lane, or two where the first one was to ask for a script, and what the machine itself varies by.
	assert.Less(t, during, before+2*dependency.Redis.Call+200*time.Millisecond)
}
