package storage

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// Orders change a row of inventory each. Nine of ten changes and more stay on the row's page and touch no index, for one
// hot product as for a catalog that sells all over.
func TestSalesLeaveTheIndexOfInventoryAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ orders, lines int }{
		"one hot product": {150, 1},
		// One sale of each product, for which its page has room whatever an open snapshot keeps from being cleaned up.
		"all over the catalog": {50, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			products := s.catalog(t, 1000)
			indexes := kit.One[int64](t, s.Database, `SELECT pg_indexes_size('inventory')`)
			token := s.Token(t, "ada", kit.Everything)
			sold := 0
			for n := range c.orders {
				var lines []map[string]any
				for i := range c.lines {
					product := products[0]
					if c.lines > 1 {
						product = products[n*c.lines+i]
					}
					lines = append(lines, map[string]any{"productId": product, "quantity": 1})
					sold++
				}
				placed := s.Do(t, kit.Call{
					Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: fmt.Sprint("k", n),
					Body: map[string]any{"customerId": "ada", "lines": lines, "shippingAddress": map[string]string{
						"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US",
					}},
				})
				require.Equal(t, http.StatusCreated, placed.Status, "%s", placed.Body)
			}
			var updates, hot int
			require.Eventually(t, func() bool { // a connection reports what it counted a second later at most
				counts := kit.One[[]int](t, s.Database, `SELECT ARRAY[n_tup_upd, n_tup_hot_upd] FROM pg_stat_user_tables WHERE relname = 'inventory'`)
				updates, hot = counts[0], counts[1]
				return updates == sold
			}, 30*time.Second, 50*time.Millisecond, "%d updates, all counted", sold)
			assert.Greater(t, float64(hot)/float64(updates), 0.9, "%d of %d updates are heap-only", hot, updates)
			assert.Equal(t, indexes, kit.One[int64](t, s.Database, `SELECT pg_indexes_size('inventory')`), "bytes of index")
		})
	}
}

type shop struct{ *kit.API }

func open(t *testing.T) *shop {
	t.Helper()
	s := &shop{kit.NewAPI(t)}
	_, err := orders.New(orders.Options{
		API: s.REST, Pools: s.Pools, Keys: s.Keys, Cursors: s.Cursors,
		AvailabilityChanged: func(context.Context, map[uuid.UUID]int64) {}, Nudge: func(...uuid.UUID) {},
		Send:   func(context.Context, []servicebus.Message) (int, error) { return 0, nil },
		Poison: func(context.Context, servicebus.Received, error) error { return nil },
	})
	require.NoError(t, err)
	return s
}

// catalog makes n products at once, as an import does.
func (s *shop) catalog(t *testing.T, n int) (ids []uuid.UUID) {
	t.Helper()
	for range n {
		ids = append(ids, uuid.Must(uuid.NewV7()))
	}
	s.Exec(t, `INSERT INTO products (id, sku, name, category, price_minor, currency)
		SELECT id, id::text, 'Thing', 'Things', 1999, 'USD' FROM unnest($1::uuid[]) id`, ids)
	s.Exec(t, `INSERT INTO inventory (product_id, initial, available) SELECT id, 1000, 1000 FROM unnest($1::uuid[]) id`, ids)
	return ids
}
