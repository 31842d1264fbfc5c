package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit/collector"
)

// traced starts a service that records every trace.
func (w *world) traced(t *testing.T, c *collector.Collector, settings ...string) *service {
	t.Helper()
	return w.start(t, w.AppURL, host.Limits{}, append([]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_TRACES_SAMPLER_ARG=1", "OTEL_BSP_SCHEDULE_DELAY=100",
		"OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BLRP_SCHEDULE_DELAY=100", "LOG_LEVEL=INFO", "ORDER_QUEUE_AFTER=0s",
	}, settings...)...)
}

// traceparent is a client's, with a trace of its own.
func traceparent(t *testing.T, flags string) (header, traceID string) {
	t.Helper()
	traceID = strings.ReplaceAll(uuid.NewString(), "-", "")
	return "00-" + traceID + "-00f067aa0ba902b7-" + flags, traceID
}

func (s *service) sendTraced(t *testing.T, c call, parent string) reply {
	t.Helper()
	req, err := s.request(t.Context(), c)
	require.NoError(t, err)
	req.Header.Set("Traceparent", parent)
	got, err := answer(req)
	require.NoError(t, err)
	return got
}

// One trace leads from a client's request over the outbox row and both messages to the header that the receiver gets; the
// other walks have their own. What the conventions ask for is on the spans, and nothing of a person's.
func TestATraceGoesFromTheRequestToTheReceiver(t *testing.T) {
	t.Parallel()
	w, seen := newWorld(t), collector.New(t)
	s := w.traced(t, seen)
	receiver := newCustomer(t)
	receiver.register(t, readContract(t, s), w.shopToken(t))
	product := w.Product(t, 10)
	token := w.token(t, "customer-ada")

	// Placed, published, fanned out, delivered.
	parent, traceID := traceparent(t, "00") // that the client doesn't sample says nothing to us
	placed := s.sendTraced(t, call{
		method: http.MethodPost, path: "/api/v1/orders", token: token, key: "the key " + uuid.NewString(), body: draft("customer-ada", map[string]int{product.String(): 1}),
	}, parent)
	require.Equal(t, http.StatusCreated, placed.status, "%s", placed.body)
	told := receiver.next(t, 20*time.Second)
	trace := seen.Trace(t, traceID, "POST /api/v1/orders", "COMMIT", "send order-events", "process order-events", "process webhook-deliveries", "Webhooks.Succeed", "POST")
	t.Logf("\n%s", trace)
	const place = "POST /api/v1/orders > place-order > order.lane"
	for name, path := range map[string]string{
		"validation":                 "POST /api/v1/orders > validation",
		"EVALSHA":                    "POST /api/v1/orders > place-order > idempotency > EVALSHA",
		"Orders.LockStock":           place + " > order.batch > BATCH Orders.LockStock > Orders.LockStock",
		"order.decide":               place + " > order.batch > order.decide",
		"Orders.Insert":              place + " > order.batch > BATCH Orders.TakeStock > Orders.Insert",
		"Outbox.Insert":              place + " > order.batch > BATCH Orders.TakeStock > Outbox.Insert",
		"COMMIT":                     place + " > order.batch > BATCH Orders.TakeStock > COMMIT",
		"send order-events":          place + " > send order-events",
		"Webhooks.FanOut":            place + " > send order-events > process order-events > Webhooks.FanOut",
		"process webhook-deliveries": place + " > send order-events > process order-events > send webhook-deliveries > process webhook-deliveries",
		"POST":                       place + " > send order-events > process order-events > send webhook-deliveries > process webhook-deliveries > webhook.attempt > POST",
		"Webhooks.Succeed":           place + " > send order-events > process order-events > send webhook-deliveries > process webhook-deliveries > webhook.attempt > Webhooks.Succeed",
	} {
		assert.Equal(t, path, trace.Path(name), name)
	}
	assert.Equal(t, "00-"+traceID+"-"+trace.Find("POST").ID+"-01", told.header.Get("Traceparent"), "the receiver goes on with the attempt's span")

	server := trace.Find("POST /api/v1/orders")
	assert.Equal(t, "00f067aa0ba902b7", server.Parent)
	assert.Equal(t, "SERVER", server.Kind)
	assert.False(t, server.Error)
	for name, value := range map[string]any{
		"http.request.method": "POST", "http.route": "/api/v1/orders", "url.path": "/api/v1/orders", "url.scheme": "http",
		"http.response.status_code": int64(201), "faas.trigger": "http", "app.operation": "place-order",
		"app.correlation_id": placed.header.Get("X-Correlation-Id"),
	} {
		assert.Equal(t, value, server.Attributes[name], name)
	}
	assert.NotContains(t, server.Attributes, "error.type")
	assert.NotEmpty(t, server.Attributes["faas.invocation_id"])
	lock := trace.Find("Orders.LockStock")
	assert.Equal(t, map[string]any{"db.system.name": "postgresql", "db.query.summary": "Orders.LockStock", "db.operation.name": "SELECT"}, lock.Attributes)
	assert.Equal(t, "redis", trace.Find("EVALSHA").Attributes["db.system.name"])
	assert.Len(t, trace.Find("EVALSHA").Attributes["db.stored_procedure.name"], 40)
	sent := trace.Find("send order-events")
	assert.Equal(t, "PRODUCER", sent.Kind)
	assert.Equal(t, "servicebus", sent.Attributes["messaging.system"])
	assert.Equal(t, "order-events", sent.Attributes["messaging.destination.name"])
	processed := trace.Find("process order-events")
	assert.Equal(t, "CONSUMER", processed.Kind)
	assert.Equal(t, "pubsub", processed.Attributes["faas.trigger"])
	assert.Equal(t, "webhooks-fanout", processed.Attributes["faas.name"])
	assert.Equal(t, int64(204), trace.Find("POST").Attributes["http.response.status_code"])
	assert.Equal(t, "order-catalog", seen.Resource()["service.name"])
	assert.Equal(t, "e2e", seen.Resource()["service.version"])
	assert.NotEmpty(t, seen.Resource()["service.instance.id"])

	var order struct{ ID string }
	require.NoError(t, json.Unmarshal(placed.body, &order))

	// Cancelled.
	parent, traceID = traceparent(t, "01")
	cancelled := s.sendTraced(t, call{
		method: http.MethodPatch, path: "/api/v1/orders/" + order.ID + "/cancel", token: token, key: uuid.NewString(), body: map[string]any{"reason": "she changed her mind"},
	}, parent)
	require.Equal(t, http.StatusOK, cancelled.status, "%s", cancelled.body)
	trace = seen.Trace(t, traceID, "PATCH /api/v1/orders/{orderId}/cancel", "Orders.Cancel", "POST")
	assert.Equal(t, "PATCH /api/v1/orders/{orderId}/cancel > cancel-order > order.lane > order.batch > BATCH Orders.TakeStock > Orders.Cancel", trace.Path("Orders.Cancel"))
	assert.Equal(t, "PATCH /api/v1/orders/{orderId}/cancel > cancel-order > Orders.Read", trace.Path("Orders.Read"))

	// Queued.
	parent, traceID = traceparent(t, "01")
	queued := s.sendTraced(t, call{
		method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(), prefer: "respond-async", body: draft("customer-ada", map[string]int{product.String(): 1}),
	}, parent)
	require.Equal(t, http.StatusAccepted, queued.status, "%s", queued.body)
	trace = seen.Trace(t, traceID, "POST /api/v1/orders", "place queued order", "Orders.Insert", "POST")
	assert.Equal(t, "POST /api/v1/orders > place-order > send order-requests > process order-requests > place queued order > order.lane > order.batch > BATCH Orders.TakeStock > Orders.Insert", trace.Path("Orders.Insert"))

	// Read: from the database, and then from memory.
	parent, traceID = traceparent(t, "01")
	read := call{method: http.MethodGet, path: "/api/v1/products/" + product.String(), token: token}
	require.Equal(t, http.StatusOK, s.sendTraced(t, read, parent).status)
	trace = seen.Trace(t, traceID, "GET /api/v1/products/{productId}")
	assert.Equal(t, "GET /api/v1/products/{productId} > read-product > Catalog.Read", trace.Path("Catalog.Read"))
	parent, traceID = traceparent(t, "01")
	require.Equal(t, http.StatusOK, s.sendTraced(t, read, parent).status)
	trace = seen.Trace(t, traceID, "GET /api/v1/products/{productId}")
	assert.Nil(t, trace.Find("Catalog.Read"), "a cached product asks nobody")

	// A refusal is no error of ours, and its path is not in a name.
	parent, traceID = traceparent(t, "01")
	missing := s.sendTraced(t, call{method: http.MethodGet, path: "/api/v1/orders/" + uuid.NewString(), token: token}, parent)
	require.Equal(t, http.StatusNotFound, missing.status)
	assert.False(t, seen.Trace(t, traceID, "GET /api/v1/orders/{orderId}").Find("GET /api/v1/orders/{orderId}").Error)
	assert.Contains(t, string(missing.body), `"traceId":"`+traceID+`"`, "the problem says where to look")

	// Metrics and logs come too.
	require.Eventually(t, func() bool {
		return seen.Metric("http_request_duration_seconds") && seen.Metric("outbox_messages_pending") && len(seen.Lines()) > 0
	}, 20*time.Second, 50*time.Millisecond)
	assert.Contains(t, strings.Join(seen.Lines(), "\n"), "operation:place-order")

	// OT-07: nothing of what customers are or keep secret is anywhere in it.
	everything := fmt.Sprintf("%+v %v", seen.Spans(), seen.Lines())
	for what, text := range map[string]string{
		"token": token, "customer": "customer-ada", "name": "Lovelace", "street": "Main Street", "postal code": "73301", "key": "the key ",
		"reason": "changed her mind", "database": "orders_app@", "broker": "SharedAccessKey",
	} {
		assert.NotContains(t, everything, text, what)
	}
}
