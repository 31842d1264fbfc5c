package webhooks_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/tests/kit"
)

const manage = "webhook:manage"

// shop is the slice as one process runs it, with a queue that keeps what is sent to it.
type shop struct {
	*kit.API
	hooks  *webhooks.Webhooks
	nudged chan uuid.UUID
	poison chan error
	unkept error // what keeping a poison message fails with

	mu     sync.Mutex
	queue  []servicebus.Message
	live   chan servicebus.Message // when set, where due messages go instead
	broken error                   // what sending to the queue fails with
}

func open(t testing.TB, limits webhooks.Limits) *shop {
	t.Helper()
	return on(t, kit.NewAPI(t), limits)
}

func on(t testing.TB, api *kit.API, limits webhooks.Limits) *shop {
	t.Helper()
	s := &shop{API: api}
	s.wire(t, s.send, limits)
	return s
}

// wire makes the slice, with send as its way to the queue.
func (s *shop) wire(t testing.TB, send func(context.Context, []servicebus.Message) (int, error), limits webhooks.Limits) {
	t.Helper()
	s.nudged, s.poison = make(chan uuid.UUID, 1000), make(chan error, 1000)
	client := egress.New(egress.Options{AllowLoopback: true})
	t.Cleanup(client.Close)
	var err error
	s.hooks, err = webhooks.New(webhooks.Options{
		API: s.REST, Pools: s.Pools, Keys: s.Keys, Cursors: s.Cursors, Box: s.Box, Egress: client,
		Logger: slog.New(slog.DiscardHandler), Send: send, Limits: limits,
		Nudge: func(list ...uuid.UUID) { s.nudged <- list[0] },
		Poison: func(_ context.Context, _ string, _ servicebus.Received, err error) error {
			s.poison <- err
			return s.unkept
		},
	})
	require.NoError(t, err)
}

// sibling is a second process on the same stores.
func (s *shop) sibling(t testing.TB, limits webhooks.Limits) *shop {
	t.Helper()
	return on(t, kit.NewAPIOn(t, s.Database, s.API), limits)
}

func (s *shop) send(_ context.Context, list []servicebus.Message) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	if s.live == nil {
		s.queue = append(s.queue, list...)
		return len(list), nil
	}
	for _, m := range list {
		if m.At.IsZero() {
			s.live <- m
		}
	}
	return len(list), nil
}

// pump answers wake-ups as they come, as many at once as the host does, until the test ends.
func (s *shop) pump(t testing.TB) {
	t.Helper()
	const calls = 16
	s.mu.Lock()
	s.live = make(chan servicebus.Message, 10_000)
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			for {
				select {
				case m := <-s.live:
					if err := s.hooks.Deliver(ctx, received(m)); ctx.Err() == nil {
						assert.NoError(t, err)
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); all.Wait() })
}

// taken are the messages that were sent since the last look.
func (s *shop) taken() []servicebus.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.queue
	s.queue = nil
	return list
}

// deliver answers all wake-ups that are due, and those that come of it, one after the other.
func (s *shop) deliver(t testing.TB) {
	t.Helper()
	for {
		list := slices.DeleteFunc(s.taken(), func(m servicebus.Message) bool { return !m.At.IsZero() && time.Until(m.At) > time.Second })
		if len(list) == 0 {
			return
		}
		for _, m := range list {
			require.NoError(t, s.hooks.Deliver(t.Context(), received(m)))
		}
	}
}

func received(m servicebus.Message) servicebus.Received {
	return servicebus.Received{MessageID: m.ID, Body: m.Body}
}

// wakeUp is the message for one delivery.
func wakeUp(t testing.TB, event, endpoint uuid.UUID) servicebus.Received {
	t.Helper()
	body, err := json.Marshal(map[string]any{"eventId": event, "endpointId": endpoint})
	require.NoError(t, err)
	return servicebus.Received{MessageID: uuid.NewString(), Body: body}
}

// due makes every pending delivery due now, and every pause over, as if the time had passed.
func (s *shop) due(t testing.TB) {
	t.Helper()
	s.Exec(t, `UPDATE webhook_deliveries SET next_attempt_at = now() WHERE status = 'pending'`)
	s.Exec(t, `UPDATE webhook_endpoints SET paused_until = now() WHERE paused_until > now()`)
}

// again lets the time pass and answers the wake-ups of the sweep.
func (s *shop) again(t testing.TB) {
	t.Helper()
	s.due(t)
	s.taken()
	require.NoError(t, s.hooks.Sweep(t.Context()))
	s.deliver(t)
}

func (s *shop) admin(t testing.TB) string {
	t.Helper()
	return s.Token(t, "boss", manage, "admin")
}

// call is a request of the admin with a key of its own.
func (s *shop) call(t testing.TB, method, path string, body any) kit.Reply {
	t.Helper()
	c := kit.Call{Method: method, Path: path, Token: s.admin(t), Body: body}
	if method != http.MethodGet {
		c.Key = uuid.NewString()
	}
	return s.Do(t, c)
}

// endpoint is a registered endpoint.
type endpoint struct {
	id     uuid.UUID
	secret signature.Key
}

func (e endpoint) path() string { return "/api/v1/webhooks/" + e.id.String() }

// subscribe registers an endpoint for all events.
func (s *shop) subscribe(t testing.TB, url string) endpoint {
	t.Helper()
	reply := s.call(t, http.MethodPost, "/api/v1/webhooks/register", map[string]any{"url": url, "events": []string{"*"}})
	require.Equal(t, http.StatusCreated, reply.Status, "%s", reply.Body)
	body := reply.JSON(t)
	key, err := signature.ParseKey(body["secret"].(string))
	require.NoError(t, err)
	return endpoint{uuid.MustParse(body["id"].(string)), key}
}

// happened is an event as the topic brings it.
func happened(t testing.TB, customer string) (uuid.UUID, servicebus.Received) {
	t.Helper()
	now := time.Now()
	e := events.Event{
		ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: uuid.New()},
		Sequence: 1, Time: now, Data: map[string]any{"customerId": customer, "note": "Zoë & <b>"},
	}
	body, err := e.Encode()
	require.NoError(t, err)
	return e.ID, servicebus.Received{MessageID: e.ID.String(), Body: body}
}

// publish fans one new event out.
func (s *shop) publish(t testing.TB) (uuid.UUID, servicebus.Received) {
	t.Helper()
	id, m := happened(t, "ada")
	require.NoError(t, s.hooks.FanOut(t.Context(), []servicebus.Received{m}))
	return id, m
}

// state is a delivery's status in the database.
func (s *shop) state(t testing.TB, event, endpoint uuid.UUID) string {
	t.Helper()
	return kit.One[string](t, s.Database, `SELECT status FROM webhook_deliveries WHERE event_id = $1 AND endpoint_id = $2`, event, endpoint)
}

// attempts is how many of a delivery's attempts are recorded.
func (s *shop) attempts(t testing.TB, event, endpoint uuid.UUID) int {
	t.Helper()
	return kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_attempts WHERE event_id = $1 AND endpoint_id = $2`, event, endpoint)
}

// request is what a receiver got.
type request struct {
	header http.Header
	body   []byte
}

func (r request) id() string { return r.header.Get(signature.HeaderID) }

// receiver is a customer's server. answer may be nil, for 204.
type receiver struct {
	url string

	mu     sync.Mutex
	got    []request
	answer http.HandlerFunc
}

func receive(t testing.TB, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		assert.NoError(t, err)
		r.mu.Lock()
		r.got = append(r.got, request{req.Header.Clone(), body})
		answer := r.answer
		r.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, req)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL + "/hook"
	return r
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// behave changes the receiver's answers.
func (r *receiver) behave(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// get reads a resource as the admin.
func (s *shop) get(t testing.TB, path string) map[string]any {
	t.Helper()
	reply := s.call(t, http.MethodGet, path, nil)
	require.Equal(t, http.StatusOK, reply.Status, "%s: %s", path, reply.Body)
	return reply.JSON(t)
}

// deliveries are an endpoint's deliveries as the API shows them.
func (s *shop) deliveries(t testing.TB, e endpoint, status string) []map[string]any {
	t.Helper()
	query := "?pageSize=100"
	if status != "" {
		query += "&status=" + status
	}
	var list []map[string]any
	for _, item := range s.get(t, e.path()+"/deliveries"+query)["items"].([]any) {
		list = append(list, item.(map[string]any))
	}
	return list
}
