package e2e

import (
	"encoding/json"
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

// TestOrderThroughTheHostWhileTheDatabaseIsAway: with ORDER_QUEUE_AFTER an order that nobody asked to queue is answered
// 202 while PostgreSQL is away. Its message waits at the trigger, and when the database is back it is placed.
func TestOrderThroughTheHostWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wire := kit.NewWire(t, w.AppURL)
	c := readContract(t, w.start(t, wire.URL, host.Limits{}, "ORDER_QUEUE_AFTER=2s"))
	customer, product := "customer-"+kit.Unique(t), w.Product(t, 10).String()
	ask := func(units int) call {
		return call{
			method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, customer), key: uuid.NewString(),
			body: draft(customer, map[string]int{product: units}),
		}
	}
	c.do(t, http.StatusCreated, ask(1))

	wire.Cut()
	order, tooMany := ask(2), ask(99)
	accepted, sold := c.do(t, http.StatusAccepted, order), c.do(t, http.StatusAccepted, tooMany)
	assert.Empty(t, accepted.header.Get("Preference-Applied"))
	assert.Equal(t, string(accepted.body), string(c.do(t, http.StatusAccepted, order).body))
	read := func(location string) reply {
		return c.do(t, http.StatusOK, call{method: http.MethodGet, path: location, token: order.token})
	}
	assert.Equal(t, "queued", member(t, read(accepted.header.Get("Location")), "status"))

	wire.Mend()
	become := func(location, status string) (state reply) {
		require.Eventually(t, func() bool {
			state = read(location)
			return member(t, state, "status") != "queued"
		}, time.Minute, 50*time.Millisecond)
		require.Equal(t, status, member(t, state, "status"), "%s", state.body)
		return state
	}
	placed := become(accepted.header.Get("Location"), "placed")
	become(sold.header.Get("Location"), "rejected")
	replay := c.do(t, http.StatusCreated, order)
	assert.Equal(t, "true", replay.header.Get("Idempotent-Replayed"))
	assert.Equal(t, member(t, placed, "orderId"), member(t, replay, "id"))
	c.do(t, http.StatusConflict, tooMany)
	assert.Equal(t, 2, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
	assert.Equal(t, 7, kit.One[int](t, w.Database, `SELECT available::int FROM inventory`))
}

// TestGraphQLOrderIsQueuedWhileTheDatabaseIsAway: a mutation says so as REST's 202 does, its request can be followed, and
// its key's repeat gets the order that was made of it.
func TestGraphQLOrderIsQueuedWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wire := kit.NewWire(t, w.AppURL)
	s := w.start(t, wire.URL, host.Limits{}, "ORDER_QUEUE_AFTER=2s")
	customer, product := "customer-"+kit.Unique(t), w.Product(t, 10).String()
	token, key := w.token(t, customer), uuid.NewString()
	send := func(c call) reply {
		t.Helper()
		c.token = token
		r, err := s.send(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		return r
	}
	place := func(key string) (order, request map[string]any) {
		t.Helper()
		r := send(call{method: http.MethodPost, path: "/graphql", key: key, body: map[string]any{
			"query": `mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id totalAmount { amount } } orderRequest { id status } userErrors { code } } }`,
			"variables": map[string]any{"input": map[string]any{
				"shippingAddress": draft("", nil)["shippingAddress"], "lines": []any{map[string]any{"productId": product, "quantity": 3}},
			}},
		}})
		var out struct {
			Data struct {
				CreateOrder struct{ Order, OrderRequest map[string]any }
			}
		}
		require.NoError(t, json.Unmarshal(r.body, &out), "%s", r.body)
		require.NotContains(t, string(r.body), `"errors":[`)
		return out.Data.CreateOrder.Order, out.Data.CreateOrder.OrderRequest
	}
	order, _ := place(uuid.NewString())
	require.NotNil(t, order)

	wire.Cut()
	order, request := place(key)
	require.Nil(t, order)
	require.Equal(t, "queued", request["status"])
	_, again := place(key)
	require.Equal(t, request, again)

	wire.Mend()
	path := "/api/v1/order-requests/" + request["id"].(string)
	var state reply
	require.Eventually(t, func() bool {
		state = send(call{method: http.MethodGet, path: path})
		return member(t, state, "status") != "queued"
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, "placed", member(t, state, "status"), "%s", state.body)
	order, request = place(key)
	require.Nil(t, request)
	require.NotNil(t, order)
	assert.Equal(t, 2, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
	assert.Equal(t, 4, kit.One[int](t, w.Database, `SELECT available::int FROM inventory`))
}
