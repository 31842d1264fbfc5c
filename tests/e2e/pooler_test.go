package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// describing is what DATABASE_URL says when a pooler in transaction mode is in between: no statement is to have a name,
// since names live on the server's connection and the next transaction may get another one.
const describing = "&default_query_exec_mode=cache_describe"

// Two processes with 22 connections each share four of the server's, whose every transaction may be another one's.
// Carts, catalog, orders, cancellations, the drain and the webhooks' feed go through the pooler; migrations don't.
func TestServiceWorksBehindAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pooled := kit.NewPooler(t, w.AppURL, 4) + describing
	services := []*service{w.start(t, pooled, host.Limits{}), w.start(t, pooled, host.Limits{})}
	const stock, customers, each = 1_000_000, 24, 6
	products := []string{w.Product(t, stock).String(), w.Product(t, stock).String(), w.Product(t, stock).String()}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var clients sync.WaitGroup
	for i := range customers {
		customer := fmt.Sprintf("customer-%s-%d", kit.Unique(t), i)
		token := w.token(t, customer)
		s := services[i%len(services)]
		ask := func(want int, c call) reply {
			c.token = token
			if c.method != http.MethodGet {
				c.key = uuid.NewString()
			}
			got, err := s.send(ctx, c)
			assert.NoError(t, err)
			assert.Equal(t, want, got.status, "%s %s: %s", c.method, c.path, got.body)
			return got
		}
		clients.Go(func() {
			cart := ask(http.StatusCreated, call{method: http.MethodPost, path: "/api/v1/carts", body: map[string]any{"sessionId": customer}})
			for n := range each {
				product := products[(i+n)%len(products)]
				ask(http.StatusOK, call{method: http.MethodGet, path: "/api/v1/products/" + product})
				ask(http.StatusOK, call{method: http.MethodGet, path: "/api/v1/products?search=thing&pageSize=" + fmt.Sprint(n+1)})
				ask(http.StatusOK, call{
					method: http.MethodPut, path: cart.header.Get("Location") + "/items",
					body: map[string]any{"productId": product, "quantity": n + 1},
				})
				order := ask(http.StatusCreated, call{
					method: http.MethodPost, path: "/api/v1/orders",
					body: draft(customer, map[string]int{product: 1 + n%3, products[(i+n+1)%len(products)]: 1}),
				})
				ask(http.StatusOK, call{method: http.MethodGet, path: order.header.Get("Location")})
				if n%3 == 0 {
					ask(http.StatusOK, call{method: http.MethodPatch, path: order.header.Get("Location") + "/cancel", body: map[string]any{"reason": "changed my mind"}})
				}
			}
			var page struct{ Items []any }
			assert.NoError(t, json.Unmarshal(ask(http.StatusOK, call{method: http.MethodGet, path: "/api/v1/orders"}).body, &page))
			assert.Len(t, page.Items, each)
		})
	}
	clients.Wait()

	const placed, cancelled = customers * each, customers * each / 3
	assert.Equal(t, placed, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
	assert.Zero(t, kit.One[int](t, w.Database, `SELECT count(*)::int FROM stock_ledger WHERE initial <> available + sold`))
	require.Eventually(t, func() bool {
		return kit.One[int](t, w.Database, `SELECT count(*)::int FROM feed`) == placed+cancelled
	}, time.Minute, 20*time.Millisecond, "the drain sends every event and numbers it for the feed")
	assert.LessOrEqual(t, kit.One[int](t, w.Database, `SELECT count(*)::int FROM pg_stat_activity
		WHERE datname = current_database() AND usename = 'orders_app'`), 4, "the server's connections, whatever the processes hold of the pooler's")
	for _, s := range services {
		ready, err := s.send(ctx, call{method: http.MethodGet, path: "/health/ready"})
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, ready.status, "%s", ready.body)
	}
}

// What a bulk statement needs, in the setting that the pooler asks for: arrays as arguments, several statements in one
// round trip, COPY. Eight clients on two connections do each of them, and count what came.
func TestArraysBatchesAndCopyPassThePooler(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	pools := (&kit.Database{AppURL: kit.NewPooler(t, d.AppURL, 2) + describing}).Open(t)
	const clients, rows = 8, 50
	var ended sync.WaitGroup
	for range clients {
		ended.Go(func() {
			ids, sessions := make([]uuid.UUID, rows), make([]string, rows)
			var copied [][]any
			for i := range ids {
				ids[i], sessions[i] = uuid.New(), "array"
				copied = append(copied, []any{uuid.New(), uuid.New(), "copy"})
			}
			assert.NoError(t, pools.Orders.Tx(context.Background(), func(tx pgx.Tx) error {
				batch := &pgx.Batch{}
				batch.Queue(`INSERT INTO carts (id, customer_key, session_id) SELECT i, i, s FROM unnest($1::uuid[], $2::text[]) AS c (i, s)`, ids, sessions)
				batch.Queue(`DELETE FROM carts WHERE id = ANY ($1)`, ids[:10])
				if err := tx.SendBatch(context.Background(), batch).Close(); err != nil {
					return err
				}
				_, err := tx.CopyFrom(context.Background(), pgx.Identifier{"carts"}, []string{"id", "customer_key", "session_id"}, pgx.CopyFromRows(copied))
				return err
			}))
		})
	}
	ended.Wait()
	assert.Equal(t, clients*(rows-10), kit.One[int](t, d, `SELECT count(*)::int FROM carts WHERE session_id = 'array'`))
	assert.Equal(t, clients*rows, kit.One[int](t, d, `SELECT count(*)::int FROM carts WHERE session_id = 'copy'`))
}

// What the setting is for: with statements prepared under names, which is pgx's default, one transaction meets a
// statement that another client prepared, or misses its own. If this ever passes, the setting has become needless.
func TestNamedStatementsFailBehindAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	pooled := kit.NewPooler(t, d.AppURL, 2)
	failures := func(url string) (messages []string) {
		d := &kit.Database{OwnerURL: d.OwnerURL, AppURL: url}
		pools := d.Open(t)
		var (
			clients sync.WaitGroup
			mutex   sync.Mutex
		)
		for i := range 8 {
			clients.Go(func() {
				for n := range 20 {
					err := pools.Orders.Tx(context.Background(), func(tx pgx.Tx) error {
						var got int
						// Another statement for each n, so that each must be prepared somewhere.
						return tx.QueryRow(context.Background(), fmt.Sprintf("SELECT $1::int + %d, pg_sleep(0.001)::text", n), i).Scan(&got, nil)
					})
					if err != nil {
						mutex.Lock()
						messages = append(messages, err.Error())
						mutex.Unlock()
					}
				}
			})
		}
		clients.Wait()
		return messages
	}
	assert.Empty(t, failures(pooled+describing))
	named := failures(pooled)
	require.NotEmpty(t, named)
	assert.Contains(t, strings.Join(named, "\n"), "prepared statement")
}
