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
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// placed is an order as its client knows it.
type placed struct {
	call     call
	units    int
	attempts int
	reply    reply
}

// shoppers place orders, one after the other, and insist on each until it is answered for good.
type shoppers struct {
	service  *service
	all      sync.WaitGroup
	enough   atomic.Bool
	mutex    sync.Mutex
	orders   []placed
	answered chan struct{} // one for each order that somebody waits for
}

// shop has eight clients buy from three products that nobody else does.
func (s *service) shop(ctx context.Context, t *testing.T) *shoppers {
	t.Helper()
	const stock = 1_000_000
	products := []string{s.world.Product(t, stock).String(), s.world.Product(t, stock).String(), s.world.Product(t, stock).String()}
	p := &shoppers{service: s, answered: make(chan struct{})}
	for i := range 8 {
		customer := fmt.Sprintf("customer-%s-%d", kit.Unique(t), i)
		token := s.world.token(t, customer)
		p.all.Go(func() {
			for !p.enough.Load() {
				units := 1 + rand.IntN(3)
				order := placed{units: units, call: call{
					method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(),
					body: draft(customer, map[string]int{products[rand.IntN(len(products))]: units}),
				}}
				var err error
				order.reply, order.attempts, err = s.insist(ctx, order.call)
				if !assert.NoError(t, err) || !assert.Equal(t, http.StatusCreated, order.reply.status, "%s", order.reply.body) {
					return
				}
				p.mutex.Lock()
				p.orders = append(p.orders, order)
				p.mutex.Unlock()
				select {
				case p.answered <- struct{}{}:
				default:
				}
			}
		})
	}
	return p
}

// some waits until up to thirty more orders are answered.
func (p *shoppers) some(ctx context.Context, t *testing.T) {
	t.Helper()
	for range 1 + rand.IntN(30) {
		await(ctx, t, p.answered)
	}
}

// leave ends the shopping and compares what the clients were told with the books: one effect for each key, the same
// answer for who asks again, nothing lost. It returns how many were committed by a handler whose answer nobody got.
func (p *shoppers) leave(ctx context.Context, t *testing.T) (lost int) {
	t.Helper()
	p.enough.Store(true)
	p.all.Wait()
	database := p.service.world.Database
	ids, units := map[string]bool{}, 0
	for _, o := range p.orders {
		var order struct{ ID string }
		require.NoError(t, json.Unmarshal(o.reply.body, &order))
		ids[order.ID] = true
		units += o.units
		if o.attempts > 1 && o.reply.header.Get("Idempotent-Replayed") == "true" {
			lost++
		}
		again, _, err := p.service.insist(ctx, o.call)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, again.status, "%s", again.body)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, string(o.reply.body), string(again.body))
	}
	t.Logf("%d orders of %d units, %d of them committed by a handler whose answer was lost", len(p.orders), units, lost)
	assert.Len(t, ids, len(p.orders), "one order per key")
	assert.Equal(t, len(p.orders), kit.One[int](t, database, `SELECT count(*)::int FROM orders`))
	assert.Equal(t, len(p.orders), kit.One[int](t, database, `SELECT count(*)::int FROM idempotency_keys`))
	assert.Equal(t, len(p.orders), kit.One[int](t, database, `SELECT count(DISTINCT aggregate_id)::int FROM outbox WHERE type = 'order.created.v1'`))
	assert.Equal(t, len(p.orders), kit.One[int](t, database, `SELECT count(*)::int FROM outbox`))
	assert.Equal(t, units, kit.One[int](t, database, `SELECT sum(sold)::int FROM stock_ledger`))
	assert.Zero(t, kit.One[int](t, database, `SELECT count(*)::int FROM stock_ledger WHERE initial <> available + sold`))
	require.Eventually(t, func() bool {
		return kit.One[int](t, database, `SELECT count(*)::int FROM outbox WHERE processed_at IS NULL`) == 0 &&
			kit.One[int](t, database, `SELECT count(*)::int FROM feed`) >= len(p.orders)
	}, 20*time.Second, 50*time.Millisecond, "each event is published")
	assert.Equal(t, len(p.orders), kit.One[int](t, database, `SELECT count(*)::int FROM feed`), "and told once")
	return lost
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

func await(ctx context.Context, t *testing.T, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-ctx.Done():
		require.FailNow(t, "nothing happened in time")
	}
}
