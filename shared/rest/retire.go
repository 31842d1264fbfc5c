package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/auth"
)

// Retirement is one line of the table of what is on its way out: an operation, or a whole version of the API. All that is
// said about it is said from here: in the headers of every answer, in the OpenAPI document, and in the end as 410.
type Retirement struct {
	// Pattern names the operations, in the router's form: "GET /api/v1/things/{id}", or "/api/v1/" for a version.
	Pattern string
	// Name is what metrics and people call it: "v1", "read-thing".
	Name string
	// Deprecated is since when it should no longer be used; it may lie ahead.
	Deprecated time.Time
	// Sunset is when it ends; zero when that is not decided. Never before Deprecated.
	Sunset time.Time
	// BrownOuts are announced times before the sunset in which it is already refused, so that who has not heard of it does.
	BrownOuts []Window
	// Docs is the page that tells what to do, Successor what comes after it; both are URI references.
	Docs, Successor string
}

// Window is a time from a moment up to another.
type Window struct{ From, To time.Time }

// check says what is wrong with a line of the table.
func (t Retirement) check() error {
	switch {
	case t.Name == "" || t.Docs == "" || t.Successor == "":
		return errors.New("it needs a name, a page and a successor")
	case t.Deprecated.IsZero():
		return errors.New("it has no date of deprecation")
	case !t.Sunset.IsZero() && t.Sunset.Before(t.Deprecated):
		return errors.New("its sunset is before its deprecation")
	}
	for _, b := range t.BrownOuts {
		if !b.From.Before(b.To) || b.From.Before(t.Deprecated) || t.Sunset.IsZero() || b.To.After(t.Sunset) {
			return errors.New("each brown-out must end after it begins, and lie between deprecation and sunset")
		}
	}
	return nil
}

// retired is a line with its headers ready.
type retired struct {
	Retirement
	deprecation, sunset, link []string
}

// ServeHTTP makes a line something that the router can find; it is never called.
func (*retired) ServeHTTP(http.ResponseWriter, *http.Request) {}

// retirements is the table. A nil table is empty.
type retirements struct {
	mux *http.ServeMux
	use useMetrics
	now func() time.Time
}

func newRetirements(table []Retirement, now func() time.Time) (r *retirements, err error) {
	if len(table) == 0 {
		return nil, nil //nolint:nilnil // nothing is on its way out
	}
	defer func() {
		if p := recover(); p != nil { // the router's way to say that it can't take a pattern
			err = fmt.Errorf("reading the table of retirements: %v", p)
		}
	}()
	r = &retirements{mux: http.NewServeMux(), now: now}
	for _, t := range table {
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("the retirement of %q: %w", t.Pattern, err)
		}
		line := &retired{
			Retirement:  t,
			deprecation: []string{"@" + strconv.FormatInt(t.Deprecated.Unix(), 10)},
			link:        []string{fmt.Sprintf(`<%s>; rel="deprecation"; type="text/html", <%s>; rel="successor-version"`, t.Docs, t.Successor)},
		}
		if !t.Sunset.IsZero() {
			line.sunset = []string{t.Sunset.UTC().Format(http.TimeFormat)}
			line.link[0] += fmt.Sprintf(`, <%s>; rel="sunset"; type="text/html"`, t.Docs)
		}
		r.mux.Handle(t.Pattern, line)
	}
	r.use, err = newUseMetrics()
	return r, err
}

// of is the line about a request, nil when there is none.
func (r *retirements) of(req *http.Request) *retired {
	if r == nil {
		return nil
	}
	h, _ := r.mux.Handler(req)
	line, _ := h.(*retired)
	return line
}

// ofOperation is the line about an operation.
func (r *retirements) ofOperation(op Operation) *retired {
	return r.of(&http.Request{Method: op.Method, URL: &url.URL{Path: op.Path}})
}

// announce sets what every answer says, also an error, a 304 and the answer to HEAD.
func (t *retired) announce(h http.Header) {
	h["Deprecation"] = t.deprecation
	if t.sunset != nil {
		h["Sunset"] = t.sunset
	}
	h["Link"] = append(h["Link"], t.link...)
}

// refusal is nil while it is still served.
func (t *retired) refusal(now time.Time) *Problem {
	if !t.Sunset.IsZero() && !now.Before(t.Sunset) {
		return t.gone("This has ended on %s. Use %s.", t.Sunset.UTC().Format(time.DateOnly), t.Successor)
	}
	for _, b := range t.BrownOuts {
		if !now.Before(b.From) && now.Before(b.To) {
			p := t.gone("This will end on %s and is switched off until %s to say so. Use %s.",
				t.Sunset.UTC().Format(time.DateOnly), b.To.UTC().Format(time.RFC3339), t.Successor)
			p.retryAfter = strconv.FormatInt(int64(b.To.Sub(now)/time.Second)+1, 10)
			return p
		}
	}
	return nil
}

func (t *retired) gone(detail string, args ...any) *Problem {
	p := NewProblem(VersionSunset, detail, args...)
	p.Extensions = map[string]any{"successor": t.Successor}
	return p
}

// retire announces what is on its way out. An error is its end, and the answer.
func (a *API) retire(w http.ResponseWriter, r *http.Request, call *Call) error {
	line := a.retirements.of(r)
	if line == nil {
		return nil
	}
	call.retired = line
	line.announce(w.Header())
	p := line.refusal(a.retirements.now())
	if p == nil {
		return nil
	}
	// Who still calls it is worth knowing, even when nobody is served any more.
	if token, err := auth.Bearer(r); err == nil {
		call.Caller, _ = a.config.Verifier.Verify(r.Context(), token)
	}
	return p
}

// maxClients bounds the series of the metric: clients that come after so many others are counted together.
const maxClients = 200

// useMetrics count calls of what is on its way out, by client: nothing is taken away before this stands still.
type useMetrics struct {
	calls   metric.Int64Counter
	mu      *sync.Mutex
	clients map[string]bool
}

func newUseMetrics() (useMetrics, error) {
	calls, err := otel.Meter("rest").Int64Counter("deprecated_requests_total",
		metric.WithDescription("Calls of what is on its way out, by its name, the calling client and whether it was still served."))
	if err != nil {
		return useMetrics{}, fmt.Errorf("making deprecated_requests_total: %w", err)
	}
	return useMetrics{calls: calls, mu: &sync.Mutex{}, clients: map[string]bool{}}, nil
}

func (m useMetrics) record(ctx context.Context, line *retired, caller auth.Identity, status int) {
	client := caller.Client
	switch {
	case client == "" && caller.Subject == "":
		client = "none"
	case client == "":
		client = "unnamed"
	default:
		m.mu.Lock()
		if !m.clients[client] && len(m.clients) >= maxClients {
			client = "other"
		} else {
			m.clients[client] = true
		}
		m.mu.Unlock()
	}
	m.calls.Add(ctx, 1, metric.WithAttributes(attribute.String("name", line.Name), attribute.String("client", client),
		attribute.Bool("served", status != http.StatusGone)))
}
