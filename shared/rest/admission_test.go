package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/rest"
)

// busy is an edge in which nothing is free: a limit of four, three of them orders being placed, one a page.
type busy struct {
	*edge
	limiter *resilience.Limiter
	reader  *metric.ManualReader
	finish  func()
}

func openBusy(t *testing.T) busy {
	t.Helper()
	limiter, err := resilience.New(resilience.Options{Min: 4, Start: 4, Max: 4, Target: time.Hour, Budget: 20 * time.Millisecond})
	require.NoError(t, err)
	reader := metric.NewManualReader()
	require.NoError(t, limiter.Watch(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")))
	e := open(t, func(c *rest.Config) { c.Admission = limiter })
	begun, end := make(chan struct{}), make(chan struct{})
	hold := func(context.Context, *struct{}) (rest.Answer, error) {
		begun <- struct{}{}
		<-end
		return rest.Answer{Status: http.StatusNoContent}, nil
	}
	ask := func(ctx context.Context, _ *struct{ Body thing }) (rest.Answer, error) { return hold(ctx, nil) }
	rest.Register(e.API, rest.Operation{ID: "order", Method: http.MethodPost, Path: "/api/v1/order", Tag: "Orders", Status: 204, Policy: &auth.OrderWrite}, ask)
	rest.Register(e.API, rest.Operation{ID: "orders", Method: http.MethodGet, Path: "/api/v1/order", Tag: "Orders", Status: 204}, hold)
	rest.Register(e.API, rest.Operation{ID: "page", Method: http.MethodGet, Path: "/api/v1/page", Tag: "Catalog", Status: 204}, hold)
	rest.Register(e.API, rest.Operation{ID: "named", Method: http.MethodPost, Path: "/api/v1/named", Tag: "Orders", Status: 204, Class: new(resilience.Browse)}, hold)
	e.Handle("GET /health/live", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	token, err := e.issuer.Token("c", "order:write")
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			w := e.ask(t, http.MethodPost, "/api/v1/order", correct, "Authorization", "Bearer "+token)
			assert.Equal(t, http.StatusNoContent, w.Code, "%s", w.Body)
		})
	}
	all.Go(func() { assert.Equal(t, http.StatusNoContent, e.ask(t, http.MethodGet, "/api/v1/page", "").Code) })
	for range 4 {
		select {
		case <-begun:
		case <-time.After(10 * time.Second):
			require.FailNow(t, "four were not let in together")
		}
	}
	finish := sync.OnceFunc(func() { close(end); all.Wait() })
	t.Cleanup(finish)
	return busy{e, limiter, reader, finish}
}

// overloaded checks the refusal (RL-04).
func overloaded(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "%s", w.Body)
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	assert.Contains(t, []string{"1", "2", "3"}, w.Header().Get("Retry-After"))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	assert.Equal(t, "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity", doc["type"])
	assert.Equal(t, rest.Overloaded.Title, doc["title"])
	assert.EqualValues(t, 503, doc["status"])
	assert.NotEmpty(t, doc["detail"])
}

// untouched is a body that nobody may read.
type untouched struct{ t *testing.T }

func (b untouched) Read([]byte) (int, error) {
	assert.Fail(b.t, "the body of a refused request was read")
	return 0, errors.New("not for you")
}

func TestRL04OverloadIsRefusedBeforeTheBodyAndAfterTheToken(t *testing.T) {
	t.Parallel()
	e := openBusy(t)
	token, err := e.issuer.Token("c", "order:write")
	require.NoError(t, err)
	later := map[string]bool{}
	for range 20 {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/order", io.NopCloser(untouched{t}))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		e.Handler().ServeHTTP(w, r)
		overloaded(t, w)
		later[w.Header().Get("Retry-After")] = true
	}
	assert.Greater(t, len(later), 1, "they would all come back in the same second")
	overloaded(t, e.ask(t, http.MethodGet, "/api/v1/page", ""))
	overloaded(t, e.ask(t, http.MethodGet, "/api/v1/order", ""))  // a list
	overloaded(t, e.ask(t, http.MethodPost, "/api/v1/named", "")) // says itself that it is Browse
	overloaded(t, e.ask(t, http.MethodGet, "/api/v1/things/x", ""))
	problem(t, e.ask(t, http.MethodPost, "/api/v1/order", correct), 401, "unauthorized")
	assert.Equal(t, 200, e.ask(t, http.MethodGet, "/health/live", "").Code, "probes are always answered")
	assert.Empty(t, e.log.String(), "a line for each refusal would be work when there is too much")

	assert.Equal(t, map[string]int64{
		"admission_in_flight/checkout": 3, "admission_in_flight/browse": 1, "admission_in_flight/rest": 0,
		"admission_limit/checkout": 3, "admission_limit/browse": 2, "admission_limit/rest": 1, "admission_waiting": 0, "admission_held": 0,
		"admission_refused_total/checkout/late": 20, "admission_refused_total/browse/late": 3, "admission_refused_total/rest/late": 1,
		"admission_wait_seconds/checkout": 20, "admission_wait_seconds/browse": 3, "admission_wait_seconds/rest": 1,
	}, e.metrics(t))
	e.finish()
	assert.Equal(t, 200, e.ask(t, http.MethodGet, "/api/v1/things/x", "").Code, "there is room again")
}

// Under overload an operation is refused at the door, before its token is looked at, in the same words as behind it.
func TestRL04WhoIsTurnedAwayAtTheDoorHearsTheSame(t *testing.T) {
	t.Parallel()
	e := openBusy(t)
	token, err := e.issuer.Token("c", "order:write")
	require.NoError(t, err)
	inside := e.ask(t, http.MethodPost, "/api/v1/order", correct, "X-Correlation-ID", "one", "Authorization", "Bearer "+token)
	overloaded(t, inside)

	var waiting sync.WaitGroup
	defer waiting.Wait()
	crowd, leave := context.WithCancel(t.Context())
	defer leave()
	for range 50 { // until those who wait have stood there for long
		waiting.Go(func() {
			for crowd.Err() == nil {
				e.ask(t, http.MethodPost, "/api/v1/order", correct, "Authorization", "Bearer "+token)
			}
		})
	}
	var door *httptest.ResponseRecorder
	require.Eventually(t, func() bool { // behind the door it is 401
		door = e.ask(t, http.MethodPost, "/api/v1/order", correct, "X-Correlation-ID", "one")
		return door.Code == http.StatusServiceUnavailable
	}, 10*time.Second, time.Millisecond)
	overloaded(t, door)
	assert.JSONEq(t, inside.Body.String(), door.Body.String())
	was, is := inside.Header().Clone(), door.Header().Clone()
	was.Del("Retry-After") // drawn
	is.Del("Retry-After")
	assert.Equal(t, was, is)
	assert.Equal(t, 200, e.ask(t, http.MethodGet, "/health/live", "").Code, "probes are always answered")
}

// Whatever ends a request gives its permit back: five of each, one after the other, with four permits.
func TestEveryEndGivesThePermitBack(t *testing.T) {
	t.Parallel()
	e := openBusy(t)
	e.finish()
	token, err := e.issuer.Token("c", "order:write")
	require.NoError(t, err)
	for range 5 {
		problem(t, e.ask(t, http.MethodGet, "/api/v1/fail/boom", ""), 500, "")
		problem(t, e.ask(t, http.MethodGet, "/api/v1/fail/sql", ""), 500, "")
		problem(t, e.ask(t, http.MethodPost, "/api/v1/keyed", ""), 400, "idempotency-key-missing")
		problem(t, e.ask(t, http.MethodPost, "/api/v1/order", `{"name":""}`, "Authorization", "Bearer "+token), 422, "validation")
		problem(t, e.ask(t, http.MethodPost, "/api/v1/order", `{`, "Authorization", "Bearer "+token), 400, "malformed-request")
	}
	for _, class := range []string{"checkout", "browse", "rest"} {
		assert.Zero(t, e.metrics(t)["admission_in_flight/"+class])
	}
}

func TestTheDocumentSaysOverload(t *testing.T) {
	t.Parallel()
	e := openBusy(t)
	doc, err := e.OpenAPI()
	require.NoError(t, err)
	parsed, err := openapi3.NewLoader().LoadFromData(doc)
	require.NoError(t, err)
	answer := e.ask(t, http.MethodGet, "/api/v1/page", "").Body.Bytes()
	for path, item := range parsed.Paths.Map() {
		for method, op := range item.Operations() {
			refusal := op.Responses.Value("503").Value
			assert.Contains(t, *refusal.Description, rest.Overloaded.Title, "%s %s", method, path)
			var body any
			require.NoError(t, json.Unmarshal(answer, &body))
			require.NoError(t, refusal.Content["application/problem+json"].Schema.Value.VisitJSON(body))
		}
	}
	doc, err = open(t).OpenAPI()
	require.NoError(t, err)
	assert.NotContains(t, string(doc), rest.Overloaded.Title)
}

// metrics reads all series but the zero ones of refusals.
func (b busy) metrics(t *testing.T) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, b.reader.Collect(t.Context(), &all))
	out := map[string]int64{}
	points := func(name string, list []metricdata.DataPoint[int64], zero bool) {
		for _, p := range list {
			series := name
			for _, label := range p.Attributes.ToSlice() {
				series += "/" + label.Value.AsString()
			}
			if p.Value != 0 || zero {
				out[series] = p.Value
			}
		}
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			points(m.Name, data.DataPoints, true)
		case metricdata.Sum[int64]:
			points(m.Name, data.DataPoints, false)
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				class, _ := p.Attributes.Value("class")
				out[m.Name+"/"+class.AsString()] = int64(p.Count)
			}
		}
	}
	return out
}
