package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/tests/kit"
)

// told is one delivery as its receiver got it.
type told struct {
	at     time.Time
	header http.Header
	body   []byte
}

// customer is somebody's server that is told of events.
type customer struct {
	*httptest.Server
	heard  chan told
	mu     sync.Mutex
	answer http.HandlerFunc // nil says 204
}

func newCustomer(t *testing.T) *customer {
	t.Helper()
	c := &customer{heard: make(chan told, 100)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its sender died
		}
		c.heard <- told{time.Now(), r.Header, body}
		c.mu.Lock()
		answer := c.answer
		c.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *customer) next(t *testing.T, patience time.Duration) told {
	t.Helper()
	select {
	case d := <-c.heard:
		return d
	case <-time.After(patience):
		require.FailNow(t, "nothing was delivered")
		return told{}
	}
}

// register has the service tell c, and returns what verifies it.
func (c *customer) register(t *testing.T, s contract, token string, filter ...string) signature.Key {
	t.Helper()
	body := map[string]any{"url": c.URL, "events": []string{"*"}}
	if len(filter) > 0 {
		body["customerId"] = filter[0]
	}
	got := s.do(t, http.StatusCreated, call{
		method: http.MethodPost, path: "/api/v1/webhooks/register", token: token, key: uuid.NewString(),
		body: body,
	})
	var endpoint struct{ Secret string }
	require.NoError(t, json.Unmarshal(got.body, &endpoint))
	key, err := signature.ParseKey(endpoint.Secret)
	require.NoError(t, err)
	return key
}

func (w *world) shopToken(t *testing.T) string {
	t.Helper()
	token, err := w.issuer.Token("shop", "webhook:manage catalog:write order:write order:cancel", "admin")
	require.NoError(t, err)
	return token
}

// TestEveryEventReachesItsEndpoint goes the whole way: order, outbox, topic, fan-out, queue, attempt, receiver.
func TestEveryEventReachesItsEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	raw, err := s.send(t.Context(), call{method: http.MethodGet, path: "/openapi.json"})
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(raw.body)
	require.NoError(t, err)
	c := newCustomer(t)
	admin := w.shopToken(t)
	key := c.register(t, s, admin)

	product := w.Product(t, 2)
	place := call{method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, "ada"), key: uuid.NewString(), body: draft("ada", map[string]int{product.String(): 2})}
	placed := s.do(t, http.StatusCreated, place)
	answered := time.Now()
	var order struct{ ID string }
	require.NoError(t, json.Unmarshal(placed.body, &order))
	types := map[string]bool{}
	check := func(d told) {
		t.Helper()
		var event struct {
			Type, Subject string
			Data          json.RawMessage
		}
		require.NoError(t, json.Unmarshal(d.body, &event))
		types[event.Type] = true
		require.NoError(t, signature.Verify(d.header, d.body, time.Now(), key))
		assert.Equal(t, "application/json", d.header.Get("Content-Type")[:16])
		item := doc.Webhooks[event.Type]
		require.NotNil(t, item, "%s is not in the document", event.Type)
		var value any
		require.NoError(t, json.Unmarshal(d.body, &value))
		require.NoError(t, item.Post.RequestBody.Value.Content.Get("application/json").Schema.Value.VisitJSON(value), "%s", d.body)
		released, err := jsonschema.NewCompiler().Compile("../../docs/released/events/" + event.Type + ".json")
		require.NoError(t, err)
		require.NoError(t, released.Validate(value), "who goes by the released schema takes it: %s", d.body)
		if event.Type == "order.created.v1" {
			assert.JSONEq(t, string(placed.body), string(event.Data))
			t.Logf("from the 201 to the receiver: %s", d.at.Sub(answered))
		}
	}
	for range 2 { // order.created and product.stock_depleted
		check(c.next(t, 10*time.Second))
	}
	s.do(t, http.StatusOK, call{method: http.MethodPost, path: "/api/v1/orders/" + order.ID + "/confirm", token: admin, key: uuid.NewString()})
	check(c.next(t, 10*time.Second))
	s.do(t, http.StatusOK, call{method: http.MethodPatch, path: "/api/v1/orders/" + order.ID + "/cancel", token: admin, key: uuid.NewString(), body: map[string]any{"reason": "changed my mind"}})
	check(c.next(t, 10*time.Second))
	assert.Equal(t, map[string]bool{"order.created.v1": true, "product.stock_depleted.v1": true, "order.confirmed.v1": true, "order.cancelled.v1": true}, types)

	var feed struct {
		Events []json.RawMessage
		Next   string
	}
	assert.Eventually(t, func() bool {
		got := s.do(t, http.StatusOK, call{method: http.MethodGet, path: "/api/v1/events", token: admin})
		require.NoError(t, json.Unmarshal(got.body, &feed))
		return len(feed.Events) == 4
	}, 5*time.Second, 20*time.Millisecond, "the feed has them all")
}

// TestKill9InTheMiddleOfADelivery: the receiver has it, the handler dies before it knows. It is delivered again, with
// the same id and the same bytes.
func TestKill9InTheMiddleOfADelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	c := newCustomer(t)
	died := make(chan struct{})
	c.answer = func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-died:
		case <-r.Context().Done():
		}
	}
	key := c.register(t, s, w.shopToken(t))
	product := w.Product(t, 10)
	s.do(t, http.StatusCreated, call{method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, "ada"), key: uuid.NewString(), body: draft("ada", map[string]int{product.String(): 1})})
	first := c.next(t, 20*time.Second)
	c.mu.Lock()
	c.answer = nil
	c.mu.Unlock()
	s.kill(t)
	close(died)
	// 45 seconds pass for the dead process's lease; the sweep comes every ten.
	w.Exec(t, `UPDATE webhook_deliveries SET leased_until = now() - interval '1 second' WHERE lease IS NOT NULL`)
	second := c.next(t, 40*time.Second)
	assert.Equal(t, first.header.Get(signature.HeaderID), second.header.Get(signature.HeaderID))
	assert.Equal(t, string(first.body), string(second.body))
	require.NoError(t, signature.Verify(second.header, second.body, time.Now(), key))
	assert.Eventually(t, func() bool {
		return kit.One[int](t, w.Database, `SELECT count(*) FROM webhook_deliveries WHERE status = 'succeeded'`) == 1
	}, 10*time.Second, 50*time.Millisecond)
}

// TestTenThousandEventsToOneSlowEndpointDelayNoOrder: orders are answered, and another endpoint is told of them, as if
// the slow one were not there. Times are bounded generously; the machine may be busy with other tests.
func TestTenThousandEventsToOneSlowEndpointDelayNoOrder(t *testing.T) {
	t.Parallel()
	const backlog, count = 10_000, 30
	w := newWorld(t)
	s := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	admin, slow, quick := w.shopToken(t), newCustomer(t), newCustomer(t)
	slow.heard = make(chan told, backlog)
	slow.answer = func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(300 * time.Millisecond):
			rw.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	}
	slow.register(t, s, admin)
	quick.register(t, s, admin, "ada")
	product, token := w.Product(t, count), w.token(t, "ada")
	order := func() time.Duration {
		began := time.Now()
		s.do(t, http.StatusCreated, call{method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(), body: draft("ada", map[string]int{product.String(): 1})})
		return time.Since(began)
	}
	order()
	quick.next(t, 20*time.Second)

	require.NoError(t, w.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		now := time.Now()
		list := make([]events.Event, backlog)
		for i := range list {
			list[i] = events.Event{
				ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: uuid.New()}, Sequence: 1, Time: now,
				Data: map[string]any{"customerId": "bulk"},
			}
		}
		return outbox.Insert(t.Context(), tx, list...)
	}))
	assert.Eventually(t, func() bool {
		return kit.One[int](t, w.Database, `SELECT count(*) FROM webhook_deliveries`) > backlog/10
	}, 30*time.Second, 20*time.Millisecond, "the backlog is being fanned out")
	var longest time.Duration
	for range count - 2 {
		longest = max(longest, order())
	}
	for range count - 2 {
		quick.next(t, 2*time.Minute) // its events come after those of the backlog
	}
	t.Logf("%d orders beside the backlog, the longest %s; the slow endpoint was told of %d events meanwhile", count-2, longest, len(slow.heard))
	assert.Less(t, longest, 3*time.Second)
	assert.Less(t, len(slow.heard), backlog/2, "the backlog is gone: nothing was tested")
}

// TestAMessageThatNobodyCanReadIsKeptAndSentAgain goes from a queue to the operator's list and back to the same queue.
func TestAMessageThatNobodyCanReadIsKeptAndSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	admin := w.shopToken(t)
	_, err := w.broker.Client(t).Sender(servicebus.QueueWebhookDelivery).Send(t.Context(), []servicebus.Message{{ID: "odd", Body: []byte("?")}})
	require.NoError(t, err)
	var page struct {
		Items []struct{ ID, Entity, Body, Reason string }
	}
	list := func(n int) bool {
		got := s.do(t, http.StatusOK, call{method: http.MethodGet, path: "/api/v1/ops/dead-letters", token: admin})
		require.NoError(t, json.Unmarshal(got.body, &page))
		return len(page.Items) == n
	}
	require.Eventually(t, func() bool { return list(1) }, 20*time.Second, 50*time.Millisecond)
	assert.Equal(t, servicebus.QueueWebhookDelivery, page.Items[0].Entity)
	assert.Equal(t, "?", page.Items[0].Body)
	assert.Equal(t, "unreadable", page.Items[0].Reason)
	first := page.Items[0].ID

	s.do(t, http.StatusOK, call{method: http.MethodPost, path: "/api/v1/ops/dead-letters/" + first + "/redrive", token: admin, key: uuid.NewString()})
	require.Eventually(t, func() bool { return list(1) && page.Items[0].ID != first }, 20*time.Second, 50*time.Millisecond,
		"sent again it is still unreadable, and kept again")
}
