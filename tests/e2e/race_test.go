package e2e

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// TestTwoHandlersNeverOversell is promise P2 across processes: 500 orders of one to three units at once against 100
// units, half of them at each of two handlers.
func TestTwoHandlersNeverOversell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hosts := []*service{w.start(t, w.AppURL, host.Limits{}), w.start(t, w.AppURL, host.Limits{})}
	const stock, clients = 100, 500
	product, customer := w.Product(t, stock).String(), "customer-"+kit.Unique(t)
	token := w.token(t, customer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var (
		racing  sync.WaitGroup
		start   = make(chan struct{})
		replies [clients]reply
	)
	units := func(i int) int { return 1 + i/2%3 }
	for i := range clients {
		racing.Go(func() {
			<-start
			var err error
			replies[i], _, err = hosts[i%2].insist(ctx, call{
				method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(),
				body: draft(customer, map[string]int{product: units(i)}),
			})
			assert.NoError(t, err)
		})
	}
	close(start)
	racing.Wait()

	var sold int
	var took [2]int
	left := kit.One[int](t, w.Database, `SELECT available::int FROM inventory`)
	for i, got := range replies {
		switch got.status {
		case http.StatusCreated:
			sold += units(i)
			took[i%2]++
		case http.StatusConflict:
			require.Contains(t, string(got.body), "/docs/problems/sold-out")
			assert.Greater(t, units(i), left, "an order was refused that could have been served")
		default:
			require.Failf(t, "an answer that is neither yes nor no", "%d %s", got.status, got.body)
		}
	}
	t.Logf("%d and %d orders accepted, %d units left", took[0], took[1], left)
	assert.Equal(t, stock, sold+left)
	assert.Equal(t, sold, kit.One[int](t, w.Database, `SELECT sold::int FROM stock_ledger`))
	assert.Equal(t, took[0]+took[1], kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
	assert.Equal(t, took[0]+took[1], kit.One[int](t, w.Database, `SELECT count(DISTINCT aggregate_id)::int FROM outbox WHERE type = 'order.created.v1'`))
}
