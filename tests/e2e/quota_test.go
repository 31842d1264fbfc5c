package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// Two instances share one quota and one budget of replays: a customer who has used it up is refused by both, did not
// take anything with what was refused, still gets the answers to what was done, and stands in nobody else's way.
func TestAQuotaHoldsOverInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const quota = 5
	limits := []string{"RATE_LIMIT_CHECKOUT=5/1h", "RATE_LIMIT_BROWSE=100/1h"}
	services := []*service{w.start(t, w.AppURL, host.Limits{}, limits...), w.start(t, w.AppURL, host.Limits{}, limits...)}
	product := w.Product(t, 100).String()
	customer := "customer-" + kit.Unique(t)
	token, body := w.token(t, customer), draft(customer, map[string]int{product: 1})
	place := func(i int, key string) reply {
		t.Helper()
		r, err := services[i%2].send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: token, key: key, body: body})
		require.NoError(t, err)
		return r
	}
	for i := range quota {
		r := place(i, fmt.Sprint("key-", i))
		require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
		require.Contains(t, r.header.Get("RateLimit"), fmt.Sprintf(`"checkout";r=%d;t=`, quota-1-i))
	}
	for i := range 6 {
		r := place(i, uuid.NewString())
		require.Equal(t, http.StatusTooManyRequests, r.status, "%s", r.body)
		require.Contains(t, string(r.body), `"violated-policies":["checkout"]`)
		after, err := strconv.Atoi(r.header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, after)
	}
	for i := range quota {
		r := place(i+1, fmt.Sprint("key-", i))
		require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
		require.Equal(t, "true", r.header.Get("Idempotent-Replayed"))
	}
	assert.Equal(t, quota, kit.One[int](t, w.Database, `SELECT count(*) FROM orders`))
	assert.Equal(t, 100-quota, kit.One[int](t, w.Database, `SELECT available FROM inventory`))
	r, err := services[0].send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders", token: token})
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, r.status, "reading is not ordering")
	other := "customer-" + kit.Unique(t)
	r, err = services[0].send(t.Context(), call{
		method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, other), key: "k", body: draft(other, map[string]int{product: 1}),
	})
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, r.status, "%s", r.body)
}

// An application's quota is one for all its customers, over REST and GraphQL together.
func TestAnApplicationsQuotaIsSharedByItsCustomersAndBothAPIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{}, "RATE_LIMIT_CLIENTS=10/1h")
	query := map[string]any{"query": `{ products(first: 1) { nodes { id } } }`}
	var last reply
	count := map[int]int{}
	for i := range 20 {
		c := call{method: http.MethodGet, path: "/api/v1/products", token: w.token(t, fmt.Sprint("customer-", i))}
		if i%2 == 0 {
			c.method, c.path, c.body = http.MethodPost, "/graphql", query
		}
		r, err := s.send(t.Context(), c)
		require.NoError(t, err)
		count[r.status]++
		last = r
		if r.status == http.StatusTooManyRequests {
			assert.Contains(t, string(r.body), `"violated-policies":["client"]`, "%s %s", c.method, c.path)
			assert.NotEmpty(t, r.header.Get("Retry-After"))
		}
	}
	assert.Equal(t, http.StatusTooManyRequests, last.status)
	// A process grants a call on credit before it leases.
	assert.GreaterOrEqual(t, count[http.StatusOK], 10)
	assert.LessOrEqual(t, count[http.StatusOK], 11)
	assert.Equal(t, 20, count[http.StatusOK]+count[http.StatusTooManyRequests], "%v", count)
}
