package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// TestColdStart bounds the time from nothing to the first answer. The bound is generous, for a machine that runs all
// other tests at the same time; what was measured is in the log.
func TestColdStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	s := w.start(t, w.AppURL, host.Limits{})
	got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/products", token: w.token(t, "customer-cold")})
	took := time.Since(began)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)
	t.Logf("host start to first answer: %d ms", took.Milliseconds())
	assert.Less(t, took, 15*time.Second)
}

// TestTriggersAreNotPublic sends what only the host may send, and an order without a body, which has no type either.
func TestTriggersAreNotPublic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	got, err := s.send(t.Context(), call{method: http.MethodPost, path: "/housekeeping", body: map[string]any{"Data": map[string]any{"timer": "{}"}}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusNotFound, got.status)
	assert.Empty(t, got.body, "the host's own answer: the handler would have sent a problem document")

	customer := "customer-" + kit.Unique(t)
	got, err = s.send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, customer), key: uuid.NewString()})
	require.NoError(t, err)
	assert.Equal(t, http.StatusUnsupportedMediaType, got.status, "%s", got.body)
	assert.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
	assert.Zero(t, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
}

// CC-01, CC-06, CC-07: who may keep an answer, for how long, what names this state of it, and what else it depends on. What
// is the same for everybody may be shared; what is somebody's own is kept nowhere.
func TestCC06WhoMayKeepWhat(t *testing.T) {
	t.Parallel()
	const shop = "https://shop.example"
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{}, "CORS_ALLOWED_ORIGINS="+shop)
	customer := "customer-" + kit.Unique(t)
	product := w.Product(t, 10).String()
	ask := func(c call) reply {
		c.token = w.token(t, customer)
		req, err := s.request(t.Context(), c)
		require.NoError(t, err)
		req.Header.Set("Origin", shop)
		got, err := answer(req)
		require.NoError(t, err)
		require.Less(t, got.status, 300, "%s %s: %s", c.method, c.path, got.body)
		return got
	}
	placed := ask(call{method: http.MethodPost, path: "/api/v1/orders", key: uuid.NewString(), body: draft(customer, map[string]int{product: 1})})
	order := placed.header.Get("Location")
	require.NotEmpty(t, order)
	cart := ask(call{method: http.MethodPost, path: "/api/v1/carts", key: uuid.NewString(), body: map[string]any{"sessionId": "visit"}}).header.Get("Location")
	require.NotEmpty(t, cart)

	const shared = "public, max-age=60, stale-while-revalidate=30, stale-if-error=300"
	for path, want := range map[string]struct{ keep, tag string }{
		"/api/v1/products/" + product: {shared, `^"[^"]+"$`},
		"/api/v1/products":            {shared, `^(W/)?"[^"]+"$`},
		order:                         {"private, no-store", `^"[^"]+"$`},
		"/api/v1/orders":              {"private, no-store", `^"[^"]+"$`},
		cart:                          {"private, no-store", `^"[^"]+"$`},
	} {
		got := ask(call{method: http.MethodGet, path: path})
		assert.Equal(t, want.keep, got.header.Get("Cache-Control"), path)
		assert.Regexp(t, want.tag, got.header.Get("ETag"), path)
		assert.Equal(t, []string{"Origin"}, got.header.Values("Vary"), "%s depends on nothing else: one language, no other encoding, the version in its address", path)
		assert.Empty(t, got.header.Get("Content-Encoding"), path)
	}
	assert.Equal(t, "no-store", placed.header.Get("Cache-Control"))
	asked := ask(call{method: http.MethodPost, path: "/graphql", body: map[string]any{"query": "{ __typename }"}})
	assert.Equal(t, []string{"Origin", "Accept"}, asked.header.Values("Vary"), "GraphQL's media type is by the caller's wish")

	before := ask(call{method: http.MethodGet, path: order}).header.Get("ETag")
	ask(call{method: http.MethodPatch, path: order + "/cancel", key: uuid.NewString(), body: map[string]any{"reason": "changed my mind"}})
	assert.NotEqual(t, before, ask(call{method: http.MethodGet, path: order}).header.Get("ETag"), "another state has another tag")
}
