package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// Config is what the edge is made of.
type Config struct {
	Title, Version, Description string
	// ProblemBase goes before /docs/problems/{slug} in a problem's type; "" makes it relative.
	ProblemBase string
	Verifier    *auth.Verifier
	Logger      *slog.Logger
	// Ready blocks until the service can work (the schema is there) or says why not.
	Ready func(context.Context) error
	// Deadline bounds a request's work; well below the host's functionTimeout, which kills the process.
	Deadline time.Duration
	// Admission bounds how many operations are worked on at once; nil bounds nothing.
	Admission *resilience.Limiter
	// Limits are what one caller may ask for, by class; a class that is not there is not limited.
	Limits map[resilience.Class]*ratelimit.Limit
	// Clients are what one application may ask for, with all its users; nil limits none.
	Clients *ratelimit.Clients
	// Origins are those whose pages may call the service from a browser (CORS); none may when it is empty.
	Origins []string
	// Retirements is the table of what is on its way out.
	Retirements []Retirement
	// BodyTime is how long a body may take to arrive, in which it holds a permit; 0 is 5 seconds.
	BodyTime time.Duration
	Now      func() time.Time // nil: the clock
}

// API is the set of operations and the document of them.
type API struct {
	config      Config
	mux         *http.ServeMux
	huma        huma.API
	metrics     edgeMetrics
	gated       map[string]resilience.Class // the class of each operation, by the router's pattern
	retirements *retirements
	async       atomic.Bool   // AnswerLater
	off         atomic.Uint32 // Turn: the rungs that are on

	operations []Operation
}

// AnswerLater has every call that can be answered 202 and done later answered so, until it is switched back.
func (a *API) AnswerLater(on bool) { a.async.Store(on) }

// Operations lists what was registered so far: with its policy, who may do what.
func (a *API) Operations() []Operation { return slices.Clone(a.operations) }

// New makes an API without operations.
func New(config Config) (*API, error) {
	m, err := newEdgeMetrics()
	if err != nil {
		return nil, err
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.BodyTime == 0 {
		config.BodyTime = 5 * time.Second
	}
	ends, err := newRetirements(config.Retirements, config.Now)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	h := huma.DefaultConfig(config.Title, config.Version)
	h.Info.Description = config.Description
	h.OpenAPIPath, h.DocsPath, h.SchemasPath = "", "", ""
	h.CreateHooks, h.Transformers = nil, nil // no $schema members in our answers
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	h.Formats = map[string]huma.Format{"application/json": format, "json": format} // "json" is every type that ends so
	h.RejectUnknownQueryParameters = true
	h.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token of the configured issuer."},
	}
	api := &API{config: config, mux: mux, metrics: m, huma: humago.New(mux, h), gated: map[string]resilience.Class{}, retirements: ends}
	setHumaGlobals()
	return api, nil
}

// setHumaGlobals sets what the library keeps in package variables. Once, as APIs may be made side by side.
var setHumaGlobals = sync.OnceFunc(func() {
	huma.NewErrorWithContext = newHumaError
	huma.DefaultArrayNullable = false
	// Else the schema looks at "quantity" and the decoder takes "Quantity", which nobody has checked.
	huma.ValidateStrictCasing = true
})

// Operation describes one endpoint.
type Operation struct {
	ID, Method, Path     string
	Summary, Description string
	Tag                  string
	// Policy is what the caller needs; nil lets everybody in.
	Policy *auth.Policy
	// Class is whose turn the operation is when there is more to do than can be done; nil leaves it to tag and method.
	Class *resilience.Class
	// Search names the query parameter that makes a list a search; "" is none.
	Search string
	// Keyed operations need an Idempotency-Key.
	Keyed bool
	// Status and Response are the usual answer: Response is a value of its body's type.
	Status   int
	Response any
	// Problems are the kinds that this operation answers besides those that its policy, body or key bring.
	Problems []ProblemKind
	// Async is a value of the type of a 202's body: the operation takes Prefer: respond-async.
	Async any
	// NotModified says that a conditional GET may answer 304.
	NotModified bool
	// IfMatch says what the operation does with a condition on the version that it changes.
	IfMatch Condition
}

// Condition is how an operation takes If-Match (RFC 9110) and If-None-Match. Its handler asks Call.Unmet.
type Condition uint8

const (
	// Unconditional operations change nothing that has a version.
	Unconditional Condition = iota
	// MayMatch honours what the client sends.
	MayMatch
	// MustMatch refuses with 428 (RFC 6585) what comes without If-Match, so that nobody overwrites what they haven't seen.
	MustMatch
)

// class is the operation's class. A write on orders or carts is a step of a checkout; their reads are lists and pages
// that a client can ask for again.
func (op Operation) class() resilience.Class {
	switch {
	case op.Class != nil:
		return *op.Class
	case (op.Tag == "Orders" || op.Tag == "Carts") && op.Method != http.MethodGet:
		return resilience.Checkout
	case op.Tag == "Orders" || op.Tag == "Carts" || op.Tag == "Catalog":
		return resilience.Browse
	default:
		return resilience.Rest
	}
}

// Register adds an operation. I is the typed request: fields with path, query or header tags, and Body.
func Register[I any](api *API, op Operation, handler func(context.Context, *I) (Answer, error)) {
	h := huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description,
		Tags: []string{op.Tag}, MaxBodyBytes: -1, // the body is bounded before huma sees it
		Responses: map[string]*huma.Response{},
	}
	api.operations = append(api.operations, op)
	api.describe(&h, op, hasBody[I]())
	h.Middlewares = huma.Middlewares{api.admit(op, hasBody[I]())}
	api.gated[op.Method+" "+op.Path] = op.class()

	type output struct{ Body func(huma.Context) }
	huma.Register(api.huma, h, func(ctx context.Context, in *I) (*output, error) {
		From(ctx).form.End() // the schema has let it through
		ctx, span := telemetry.Child(ctx, trace.SpanKindInternal, op.ID)
		answer, err := handler(ctx, in)
		span.End()
		return &output{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			if err != nil {
				api.fail(w, r.WithContext(ctx), err)
				return
			}
			if unmatched(r, answer) {
				api.fail(w, r.WithContext(ctx), NewProblem(PreconditionFailed, "What is here now is not the version that If-Match names."))
				return
			}
			write(w, r, answer)
		}}, nil
	})
}

// Page is a handler for the inside of the network: a probe, or the metrics.
type Page struct {
	ID, Path, Tag, Summary string
	// Answers are its statuses and what they mean; all have ContentType, and Body's schema.
	Answers     map[int]string
	ContentType string
	Body        any
}

// Internal adds a page at GET and names it in the document, marked x-internal: what is imported into the public
// gateway leaves such operations out.
func (a *API) Internal(p Page, h http.Handler) {
	a.Handle(http.MethodGet+" "+p.Path, h)
	doc := &huma.Operation{
		OperationID: p.ID, Method: http.MethodGet, Path: p.Path, Tags: []string{p.Tag}, Summary: p.Summary,
		Responses: map[string]*huma.Response{}, Extensions: map[string]any{"x-internal": true},
	}
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(p.Body), true, "")
	for status, text := range p.Answers {
		doc.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: text, Content: map[string]*huma.MediaType{p.ContentType: {Schema: schema}},
		}
	}
	a.huma.OpenAPI().AddOperation(doc)
}

func hasBody[I any]() bool {
	_, ok := reflect.TypeFor[I]().FieldByName("Body")
	return ok
}

// describe writes the operation's part of the OpenAPI document.
func (a *API) describe(h *huma.Operation, op Operation, body bool) {
	registry := a.huma.OpenAPI().Components.Schemas
	ok := &huma.Response{Description: http.StatusText(op.Status), Headers: map[string]*huma.Param{
		"X-Correlation-ID": headerDoc("Names this request in logs; the client's own when it sent one"),
	}}
	if op.Response != nil {
		ok.Content = map[string]*huma.MediaType{"application/json": {
			Schema: registry.Schema(reflect.TypeOf(op.Response), true, ""),
		}}
		ok.Headers["ETag"] = headerDoc("Digest of the body; If-Match and If-None-Match take it")
	}
	if op.Status == http.StatusCreated {
		ok.Headers["Location"] = headerDoc("Where it can be read")
	}
	h.DefaultStatus = op.Status
	h.Deprecated = a.retirements.ofOperation(op) != nil
	h.Responses[strconv.Itoa(op.Status)] = ok
	if op.NotModified {
		h.Responses["304"] = &huma.Response{Description: "Not Modified"}
	}

	if op.Async != nil {
		h.Parameters = append(h.Parameters, &huma.Param{
			Name: "Prefer", In: "header", Schema: &huma.Schema{Type: "string"}, Example: RespondAsync,
			Description: "`respond-async` (RFC 7240): answer 202 as soon as the request is kept, and do it later.",
		})
		h.Responses["202"] = &huma.Response{
			Description: "Accepted: Location tells what becomes of it. A repeat with the same key gets this again, and the result once there is one.",
			Headers: map[string]*huma.Param{
				"Location":           headerDoc("Where its state can be read"),
				"Retry-After":        headerDoc("Seconds until it is worth asking"),
				"Preference-Applied": headerDoc("`respond-async`, when it was asked for"),
			},
			Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeOf(op.Async), true, "")}},
		}
	}

	kinds := slices.Clone(op.Problems)
	kinds = append(kinds, Malformed, Validation, DependencyUnavailable, internalError)
	if a.config.Admission != nil {
		kinds = append(kinds, Overloaded)
	}
	if op.IfMatch != Unconditional {
		kinds = append(kinds, PreconditionFailed)
		if op.IfMatch == MustMatch {
			kinds = append(kinds, PreconditionRequired)
		}
		h.Parameters = append(h.Parameters, &huma.Param{
			Name: "If-Match", In: "header", Required: op.IfMatch == MustMatch, Schema: &huma.Schema{Type: "string"},
			Description: "ETag of what you read: when it is another by now, nothing is done and the answer is 412.",
		})
	}
	if op.Policy != nil && (a.config.Limits[op.class()] != nil || a.config.Clients != nil) {
		kinds = append(kinds, QuotaExceeded)
		ok.Headers["RateLimit-Policy"] = headerDoc("What a caller may ask for: calls (q) in any stretch of so many seconds (w)")
		ok.Headers["RateLimit"] = headerDoc("What is left of it (r), and the seconds until more comes back (t)")
	}
	if op.Policy != nil {
		kinds = append(kinds, Unauthorized)
		describePolicy(h, *op.Policy)
		if op.Policy.Scope != "" || op.Policy.Role != "" {
			kinds = append(kinds, Forbidden)
		}
	}
	if body {
		kinds = append(kinds, PayloadTooLarge, UnsupportedMediaType, requestTimeout)
	}
	if h.Deprecated {
		kinds = append(kinds, VersionSunset)
	}
	if op.Keyed {
		kinds = append(kinds, KeyMissing, KeyInvalid, KeyReused, InFlight)
		ok.Headers["Idempotent-Replayed"] = headerDoc("`true` when this answer was made for an earlier request with the same key")
		h.Parameters = append(h.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Required: true,
			Description: "Names this write: a repeat with the same key and body has no second effect and gets the first answer, for 24 hours.",
			Schema:      &huma.Schema{Type: "string", MinLength: ptr(1), MaxLength: ptr(257)},
			Example:     "8e03978e-40d5-43dd-bc93-6894a57f9324",
		})
	}
	schema := registry.Schema(reflect.TypeFor[document](), true, "Problem")
	for _, kind := range kinds {
		status := strconv.Itoa(kind.Status)
		r := h.Responses[status]
		if r == nil {
			r = &huma.Response{Content: map[string]*huma.MediaType{problemJSON: {Schema: schema}}}
			h.Responses[status] = r
		} else {
			r.Description += "; "
		}
		r.Description += kind.Title
	}
}

// describePolicy says in words and for machines what the operation asks of its caller: OpenAPI 3.1 lets a bearer
// scheme name scopes and roles, and x-policy says which of them is which.
func describePolicy(h *huma.Operation, p auth.Policy) {
	needs := []string{}
	policy := map[string]any{"name": p.Name, "reach": p.Reach.String()}
	var text []string
	if p.Scope != "" {
		needs, policy["scope"] = append(needs, p.Scope), p.Scope
		text = append(text, fmt.Sprintf("Needs the scope `%s`.", p.Scope))
	}
	if p.Role != "" {
		needs, policy["role"] = append(needs, p.Role), p.Role
		text = append(text, fmt.Sprintf("Needs the role `%s`.", p.Role))
	}
	h.Security = []map[string][]string{{"bearer": needs}}
	h.Extensions = map[string]any{"x-policy": policy}
	if len(text) > 0 {
		h.Description = strings.TrimSpace(h.Description + "\n\n" + strings.Join(text, " "))
	}
}

func headerDoc(text string) *huma.Param {
	return &huma.Param{Description: text, Schema: &huma.Schema{Type: "string"}}
}

func ptr[T any](v T) *T { return &v }

// newHumaError is how the library's own refusals (schema, decoding) become our problems.
func newHumaError(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
	return &humaError{Problem: fromHuma(status, msg, errs), ctx: ctx}
}

// humaError lets a Problem pass through the library to its writer.
type humaError struct {
	*Problem
	ctx huma.Context
}

// GetStatus implements huma.StatusError.
func (e *humaError) GetStatus() int { return e.Kind.Status }

// ContentType implements huma.ContentTypeFilter.
func (e *humaError) ContentType(string) string { return problemJSON }

// MarshalJSON renders the problem for the request it happened in.
func (e *humaError) MarshalJSON() ([]byte, error) {
	ctx := context.Background()
	if e.ctx != nil {
		ctx = e.ctx.Context()
	}
	api, ok := ctx.Value(apiKey{}).(*API)
	if !ok {
		return nil, errors.New("a problem outside a request")
	}
	return api.Refuse(ctx, e.Problem).Body, nil
}
