package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/telemetry"
)

// Handle adds a handler that is not a JSON operation (pages, probes, metrics). It gets everything that Handler
// does around operations.
func (a *API) Handle(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// Handler is the API with what surrounds every request: a correlation id, security headers, one measurement, an
// answer even when the handler panics, and problems instead of the router's plain text.
func (a *API) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		h, pattern := a.mux.Handler(r)
		if a.turnAway(w, r, pattern) {
			a.metrics.record(r, pattern, http.StatusServiceUnavailable, time.Since(started))
			return
		}
		call := &Call{
			Correlation: correlation(r.Header.Values("X-Correlation-ID")), path: r.URL.EscapedPath(), about: r.Header, route: routeOf(pattern),
		}
		// The client's trace goes on through the outbox to whoever hears of what it did.
		ctx := traceContext.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		if worthTelling(r) {
			ctx, call.entry = telemetry.Enter(ctx, trace.SpanKindServer, started)
			call.wide = a.config.Logger.Enabled(ctx, slog.LevelInfo)
		}
		r = r.WithContext(context.WithValue(context.WithValue(ctx, callKey{}, call), apiKey{}, a))
		secure(w.Header(), call.Correlation)
		out := &recorder{ResponseWriter: w, call: call}
		defer func() {
			p := recover()
			if p != nil {
				a.config.Logger.ErrorContext(r.Context(), "panic", "operation", call.Operation,
					"panic", fmt.Sprint(p), "stack", string(debug.Stack()), "correlation_id", call.Correlation)
				if out.status == 0 {
					a.fail(out, r, ourFault())
				} else {
					defer out.cut()
				}
			}
			a.metrics.record(r, pattern, out.status, time.Since(started))
			if call.retired != nil {
				a.retirements.use.record(r.Context(), call.retired, call.Caller, out.status)
			}
			call.tell(a.config.Logger, r, out.status, started, p != nil)
		}()
		a.serve(out, r, call, h, pattern)
	})
}

// preface sets what an answer says before anybody has looked at the request.
func (a *API) preface(h http.Header, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/v1/") {
		h["Api-Version"] = version1
	}
	if len(r.TransferEncoding) > 0 {
		// It may have come with a Content-Length too, which net/http drops unseen: somebody before us may have gone by that one.
		// What follows on such a connection is not to be trusted (RFC 9112, section 6.1).
		h["Connection"] = closing
	}
	a.cors(h, r)
}

// serve refuses what no operation should have to think of, and dispatches the rest.
func (a *API) serve(w http.ResponseWriter, r *http.Request, call *Call, h http.Handler, pattern string) {
	a.preface(w.Header(), r)
	err := plain(r)
	if err == nil {
		err = a.retire(w, r, call)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.route(w, r, h, pattern)
}

// turnAway refuses an operation of a class that has no room and will have none for this one: before its token is read, and
// with as little work as an honest answer takes. The answer is the one that Refuse would render
// without a trace. It has no span, no line and no count of who calls what is on its way out: http_requests_total and
// admission_refused_total count it.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, pattern string) bool {
	if a.config.Admission == nil {
		return false
	}
	class, ok := a.gated[pattern]
	if !ok || !a.config.Admission.TurnAway(r.Context(), class) {
		return false
	}
	id := correlation(r.Header.Values("X-Correlation-ID"))
	h := w.Header()
	secure(h, id)
	a.preface(h, r)
	if line := a.retirements.of(r); line != nil {
		line.announce(h)
	}
	h["Content-Type"] = problemType
	h["Retry-After"] = overload[rand.IntN(len(overload))] //nolint:gosec // spreads clients, keeps no secret
	body := make([]byte, 0, 512)
	body = append(body, overloadDocument...)
	body = append(body, r.URL.EscapedPath()...) // ASCII without quotes and backslashes, as are correlation ids
	body = append(body, '#')
	body = append(body, id...)
	body = append(body, `","correlationId":"`...)
	body = append(body, id...)
	body = append(body, `"}`...)
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // JSON: the path is escaped; a client that left is nobody to tell
	}
	return true
}

// overloadDocument is the problem up to where the refusals differ.
var overloadDocument = func() []byte {
	head, err := json.Marshal(document{Type: Overloaded.Type, Title: Overloaded.Title, Status: Overloaded.Status, Detail: overloadDetail})
	if err != nil {
		panic(err) // a struct of strings
	}
	head, _, _ = bytes.Cut(head, []byte(`","correlationId"`))
	return head
}()

// route dispatches, and says 404 and 405 as problems.
func (a *API) route(w http.ResponseWriter, r *http.Request, h http.Handler, pattern string) {
	if pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	probe := &recorder{ResponseWriter: discard{http.Header{}}}
	h.ServeHTTP(probe, r)
	if allow := probe.Header().Get("Allow"); probe.status == http.StatusMethodNotAllowed {
		allow += ", " + http.MethodOptions
		if r.Method == http.MethodOptions {
			options(w, allow)
			return
		}
		p := NewProblem(methodNotAllowed, "Here only %s are possible.", allow)
		p.allow = allow
		a.fail(w, r, p)
		return
	}
	a.fail(w, r, NewProblem(NotFound, "There is nothing at this address."))
}

// secure sets what every answer carries; handlers of pages relax what they must.
func secure(h http.Header, correlation string) {
	h["X-Correlation-Id"] = []string{correlation}
	h["X-Content-Type-Options"] = nosniff
	h["Strict-Transport-Security"] = hsts
	h["Content-Security-Policy"] = noContent
	h["Referrer-Policy"] = noReferrer
	h["Cache-Control"] = noStore
}

var traceContext propagation.TraceContext

var (
	nosniff    = []string{"nosniff"}
	hsts       = []string{"max-age=63072000; includeSubDomains"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer = []string{"no-referrer"}
	noStore    = []string{"no-store"}
	closing    = []string{"close"}
	version1   = []string{"1"} // the version that answers, which the path names

	problemType = []string{problemJSON}
)

// correlation takes the client's id when it is one that can be logged and sent back, else makes one.
func correlation(values []string) string {
	if len(values) == 1 && len(values[0]) > 0 && len(values[0]) <= 128 {
		ok := strings.IndexFunc(values[0], func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r))
		}) < 0
		if ok {
			return values[0]
		}
	}
	return uuid.NewString()
}

// CustomerKey is the key of the customer that is shown as id: who a customerId in a body or a query means.
func (a *API) CustomerKey(id string) uuid.UUID { return a.config.Verifier.CustomerKey(id) }

// OpenAPI is the document of all operations as JSON.
func (a *API) OpenAPI() ([]byte, error) {
	doc, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return doc, nil
}

// OpenAPIYAML is the same document as YAML.
func (a *API) OpenAPIYAML() ([]byte, error) {
	doc, err := a.huma.OpenAPI().YAML()
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return doc, nil
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	call   *Call // nil: of no call
}

// WriteHeader implements http.ResponseWriter. Whoever writes the answer, it says what the caller has left now: that is
// never stored with an answer.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		if w.call != nil {
			w.call.charge.Fields(w.Header())
			w.call.client.RefusalFields(w.Header())
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// cut ends a half-sent answer so that the client doesn't take it for a whole one. What there is of it goes out first:
// the host sends a request again, up to 40 times, whose connection closes before the first byte.
func (w *recorder) cut() {
	_ = http.NewResponseController(w).Flush() // a client that left is nobody to tell
	panic(http.ErrAbortHandler)               // net/http's way of closing one connection; nothing is logged
}

// Unwrap is how http.ResponseController finds the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discard is where the router's own plain-text answers go.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

type edgeMetrics struct {
	requests metric.Int64Counter
	duration metric.Float64Histogram
	labels   *sync.Map // of a series to its seriesLabels: making them anew cost more than all the rest of a measurement
}

// series is what tells measurements apart.
type series struct {
	method, pattern string
	status          int
}

// seriesLabels are a series' labels, for the counter and, without the status, for the histogram.
type seriesLabels struct{ counted, timed metric.MeasurementOption }

func newEdgeMetrics() (m edgeMetrics, err error) {
	meter := otel.Meter("rest")
	m.labels = &sync.Map{}
	if m.requests, err = meter.Int64Counter("http_requests_total",
		metric.WithDescription("Requests, by method, endpoint and status.")); err != nil {
		return m, fmt.Errorf("making http_requests_total: %w", err)
	}
	if m.duration, err = meter.Float64Histogram("http_request_duration_seconds",
		metric.WithDescription("How long requests take, by method and endpoint."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .075, .1, .15, .25, .5, 1, 2.5, 5, 10)); err != nil {
		return m, fmt.Errorf("making http_request_duration_seconds: %w", err)
	}
	return m, nil
}

// record labels by route template, so that the number of series is the number of routes times statuses.
func (m edgeMetrics) record(r *http.Request, pattern string, status int, took time.Duration) {
	key := series{r.Method, pattern, status}
	if !standard(r.Method) {
		key.method = "other"
	}
	known, ok := m.labels.Load(key)
	if !ok {
		known, _ = m.labels.LoadOrStore(key, key.labels())
	}
	labels := known.(seriesLabels)
	m.duration.Record(r.Context(), took.Seconds(), labels.timed)
	m.requests.Add(r.Context(), 1, labels.counted)
}

func (s series) labels() seriesLabels {
	endpoint := "other"
	if route := routeOf(s.pattern); route != "" {
		endpoint = strings.TrimPrefix(route, "/api/v1")
	}
	base := []attribute.KeyValue{attribute.String("method", s.method), attribute.String("endpoint", endpoint)}
	return seriesLabels{
		timed:   metric.WithAttributeSet(attribute.NewSet(base...)),
		counted: metric.WithAttributeSet(attribute.NewSet(append(base, attribute.Int("status", s.status))...)),
	}
}
