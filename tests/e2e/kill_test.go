package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// placed is an order as its client knows it.
type placed struct {
	call     call
	units    int
	attempts int
	reply    reply
}

// TestKill9BetweenCommitAndAnswer is promise P1 at its worst: orders are being placed while the handler gets SIGKILL,
// four times just after a commit that it has not heard of, and twice at whatever moment it is.
func TestKill9BetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGate(t, w.AppURL)
	// Six crashes would end a host with the real one's patience. A dead handler's claims in Redis outlive it by its
	// request timeout, and so long its clients hear 409: shorter than by default, to keep the test short.
	s := w.start(t, g.url, host.Limits{CrashWindow: time.Nanosecond}, "REQUEST_TIMEOUT=2s")
	const stock = 1_000_000
	products := []string{w.Product(t, stock).String(), w.Product(t, stock).String(), w.Product(t, stock).String()}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var (
		clients  sync.WaitGroup
		enough   atomic.Bool
		mutex    sync.Mutex
		orders   []placed
		answered = make(chan struct{})
	)
	for i := range 8 {
		customer := fmt.Sprintf("customer-%s-%d", kit.Unique(t), i)
		token := w.token(t, customer)
		clients.Go(func() {
			for !enough.Load() {
				units := 1 + rand.IntN(3)
				p := placed{units: units, call: call{
					method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(),
					body: draft(customer, map[string]int{products[rand.IntN(len(products))]: units}),
				}}
				var err error
				p.reply, p.attempts, err = s.insist(ctx, p.call)
				if !assert.NoError(t, err) || !assert.Equal(t, http.StatusCreated, p.reply.status, "%s", p.reply.body) {
					return
				}
				mutex.Lock()
				orders = append(orders, p)
				mutex.Unlock()
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
	}

	for range 4 {
		g.armed.Store(true)
		await(ctx, t, g.held)
		s.kill(t)
		await(ctx, t, answered)
	}
	for range 2 {
		for range 1 + rand.IntN(30) {
			await(ctx, t, answered)
		}
		s.kill(t)
		await(ctx, t, answered)
	}
	enough.Store(true)
	clients.Wait()

	ids, units, lost := map[string]bool{}, 0, 0
	for _, p := range orders {
		var order struct{ ID string }
		require.NoError(t, json.Unmarshal(p.reply.body, &order))
		ids[order.ID] = true
		units += p.units
		if p.attempts > 1 && p.reply.header.Get("Idempotent-Replayed") == "true" {
			lost++
		}
		again, _, err := s.insist(ctx, p.call)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, again.status, "%s", again.body)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, string(p.reply.body), string(again.body))
	}
	t.Logf("%d orders of %d units, %d of them committed by a handler that died before its answer", len(orders), units, lost)
	assert.GreaterOrEqual(t, lost, 4, "commits whose answer was lost")
	assert.Len(t, ids, len(orders), "one order per key")
	assert.Equal(t, len(orders), kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
	assert.Equal(t, len(orders), kit.One[int](t, w.Database, `SELECT count(*)::int FROM idempotency_keys`))
	assert.Equal(t, len(orders), kit.One[int](t, w.Database, `SELECT count(DISTINCT aggregate_id)::int FROM outbox WHERE type = 'order.created.v1'`))
	assert.Equal(t, len(orders), kit.One[int](t, w.Database, `SELECT count(*)::int FROM outbox`))
	assert.Equal(t, units, kit.One[int](t, w.Database, `SELECT sum(sold)::int FROM stock_ledger`))
	assert.Zero(t, kit.One[int](t, w.Database, `SELECT count(*)::int FROM stock_ledger WHERE initial <> available + sold`))
}

// insist sends the call until it is answered for good, as clients are told to: with the same key after no answer,
// a 5xx, or a 409 that says that the key is being worked on.
func (s *service) insist(ctx context.Context, c call) (got reply, attempts int, err error) {
	for {
		attempts++
		got, err = s.send(ctx, c)
		if err == nil && got.status < 500 && !bytes.Contains(got.body, []byte("request-in-flight")) {
			return got, attempts, nil
		}
		select {
		case <-ctx.Done():
			return got, attempts, fmt.Errorf("attempt %d: %d %s: %w", attempts, got.status, got.body, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond): // a client's pause between attempts
		}
	}
}

// kill is kill -9.
func (s *service) kill(t *testing.T) {
	t.Helper()
	pid := s.HandlerPID()
	require.Positive(t, pid, "a handler is running")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

func await(ctx context.Context, t *testing.T, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-ctx.Done():
		require.FailNow(t, "nothing happened in time")
	}
}
