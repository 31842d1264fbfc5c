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
