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

// TestCX02QueuedOrderThroughTheHost follows a 202 to its order, as a client does, against the document.
func TestCX02QueuedOrderThroughTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	customer := "customer-" + kit.Unique(t)
	ask := call{
		method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, customer), key: uuid.NewString(), prefer: "respond-async",
		body: draft(customer, map[string]int{w.Product(t, 10).String(): 2}),
	}
	accepted := c.do(t, http.StatusAccepted, ask)
	assert.Equal(t, "respond-async", accepted.header.Get("Preference-Applied"))
	var state reply
	require.Eventually(t, func() bool {
		state = c.do(t, http.StatusOK, call{method: http.MethodGet, path: accepted.header.Get("Location"), token: ask.token})
		return member(t, state, "status") != "queued"
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, "placed", member(t, state, "status"), "%s", state.body)
	replay := c.do(t, http.StatusCreated, ask)
	assert.Equal(t, member(t, state, "orderId"), member(t, replay, "id"))
	assert.Equal(t, 1, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
}
