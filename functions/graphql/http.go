package graphql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/functions/graphql/engine"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/rest"
)

// Status is a text of GraphQL over HTTP, of which each has its own statuses.
type Status string

// The profiles.
const (
	// StatusDraft is the text of August 2026: 422 for what does not fit, 294 for an answer with data and errors, and the
	// same for clients that only know application/json.
	StatusDraft Status = "draft"
	// StatusLegacy is what clients and tools before it expect: 400 for what does not fit, 200 for everything that is
	// GraphQL when the client only knows application/json.
	StatusLegacy Status = "legacy"
)

// statusPartial is an answer with data and errors, as the draft names it.
const statusPartial = 294

// pointsPerCall is how many points of cost count as one call of the caller's quota: about what the largest page of REST
// comes to.
const pointsPerCall = 250

// serve is a request's way: token, form, document, operation, permit, quota, execution. Each refuses by itself, and the
// cheapest comes first.
func (g *GraphQL) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Accept")
	media := accepted(r.Header, g.wantsIDE(r), g.Status)
	if media == mediaHTML {
		g.page.serve(w, r)
		return
	}
	r, end, err := g.API.Open(r, "graphql")
	defer end()
	if err == nil && media == "" {
		err = rest.NotAcceptable("Answers are application/graphql-response+json or application/json.")
	}
	if err != nil {
		g.count(r.Context(), "none", "refused")
		g.API.Fail(w, r, err)
		return
	}
	x := &exchange{GraphQL: g, w: w, r: r, ctx: r.Context(), media: media}
	x.serve()
}

// exchange is one request and its answer.
type exchange struct {
	*GraphQL
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	media  string
	query  *request
	caller *rest.Call
	paid   int
}

func (x *exchange) serve() {
	x.caller = rest.From(x.ctx)
	bound, err := x.bind()
	if err != nil {
		x.refuse(err)
		return
	}
	state := x.newState(x.caller.Caller)
	class := resilience.Browse
	if bound.Kind() == "mutation" {
		class = resilience.Checkout
		if err = x.API.Off(rest.ReadOnly); err != nil {
			x.refuse(err)
			return
		}
		if state.key, err = x.key(bound); err != nil {
			x.refuse(err)
			return
		}
	}
	leave, err := x.API.Enter(x.ctx, class)
	if err == nil {
		defer leave()
		err = x.pay(bound)
	}
	if err != nil {
		x.refuse(err)
		return
	}
	if x.query.hash != "" && x.query.query != "" {
		x.persisted.register(x.caller.Caller.Key(), x.query.hash, x.query.query)
	}
	x.answer(bound, state, bound.Run(x.ctx, &engine.Request{
		State:   state,
		Explain: x.explain,
		Allow: func(name string) error {
			policy, _ := auth.PolicyNamed(name) // New has looked them all up
			return policy.Check(x.caller.Caller)
		},
	}))
}

// bind reads the request up to an operation that may be executed.
func (x *exchange) bind() (*engine.Bound, error) {
	var err error
	if x.query, err = readRequest(x.API, x.w, x.r); err != nil {
		return nil, err
	}
	text, err := x.persisted.text(x.query)
	if err != nil {
		return nil, err
	}
	doc, err := x.prepare(text)
	if err != nil {
		return nil, err
	}
	if x.persisted.stray(doc) {
		x.Logger.WarnContext(x.ctx, "a GraphQL document is not in the manifest", "sha256", digestText(doc), "operation", x.query.operation)
	}
	op, err := doc.Operation(x.query.operation)
	if err != nil {
		return nil, err
	}
	if op.Kind == "mutation" && x.query.get {
		return nil, errMutationByGet
	}
	bound, err := op.Bind(x.query.variables)
	if err != nil {
		return nil, err
	}
	if bound.Introspects() && !x.Introspection && !x.caller.Caller.Admin() {
		return nil, &engine.Refusal{Stage: engine.Validating, Errors: []*engine.Error{{
			Message: "Introspection is for admins here; the schema is in the documentation.", Code: "INTROSPECTION_DISABLED",
		}}}
	}
	return bound, nil
}

// prepare charges a call before it looks into a document that nobody has sent yet.
func (x *exchange) prepare(text string) (*engine.Document, error) {
	if d := x.schema.KnownText(text); d != nil {
		return d, nil
	}
	if err := x.API.Charge(x.ctx, resilience.Browse, 1); err != nil {
		return nil, err
	}
	x.paid = 1
	return x.schema.Prepare(text)
}

// pay charges what the operation may cost. The writes of a mutation are charged each for itself, with its key.
func (x *exchange) pay(b *engine.Bound) error {
	calls := (b.Cost + pointsPerCall - 1) / pointsPerCall
	if n := b.Writes(); b.Kind() == "mutation" && n > 0 {
		calls -= n
	} else {
		calls = max(1, calls)
	}
	if calls -= x.paid; calls <= 0 {
		return nil
	}
	return x.API.Charge(x.ctx, resilience.Browse, calls)
}

// key is the request's Idempotency-Key, of the header or of the operation's @idempotent; "" when each field has its own.
func (x *exchange) key(b *engine.Bound) (string, error) {
	key, err := b.Key()
	if err != nil {
		return "", &engine.Refusal{Stage: engine.Binding, Errors: []*engine.Error{{Message: "The key of @idempotent " + err.Error() + ".", Code: codeInput}}}
	}
	values := x.r.Header.Values("Idempotency-Key")
	switch {
	case len(values) > 0:
		header, err := idempotency.ParseKey(values)
		if err != nil {
			return "", err
		}
		if key != "" && key != header {
			return "", fmt.Errorf("%w: it and @idempotent name different keys", idempotency.ErrKeyInvalid)
		}
		return header, nil
	case key != "", b.Keyed():
		return key, nil
	}
	return "", idempotency.ErrKeyMissing
}

var errMutationByGet = errors.New("a mutation is sent with POST")

// refuse answers a request that is not executed.
func (x *exchange) refuse(err error) {
	x.count(x.ctx, "none", "refused")
	var (
		refusal *engine.Refusal
		one     *engine.Error
		shape   *malformed
	)
	var (
		status int
		list   []*engine.Error
	)
	switch {
	case errors.As(err, &refusal):
		status, list = x.status(refusal.Stage), refusal.Errors
	case errors.As(err, &one): // of a document that was only named
		status, list = x.persistedStatus(one), []*engine.Error{one}
	case errors.As(err, &shape):
		status, list = x.shapeStatus(shape), []*engine.Error{{Message: shape.text, Code: "BAD_REQUEST"}}
	case errors.Is(err, errMutationByGet):
		x.w.Header().Set("Allow", http.MethodPost)
		status, list = http.StatusMethodNotAllowed, []*engine.Error{{Message: "A mutation is sent with POST, never with GET.", Code: "METHOD_NOT_ALLOWED"}}
	case errors.Is(err, idempotency.ErrKeyMissing), errors.Is(err, idempotency.ErrKeyInvalid):
		status, list = http.StatusBadRequest, []*engine.Error{ofProblem(x.ctx, x.API.Explain(x.ctx, err))}
	default:
		x.API.Fail(x.w, x.r, err) // a problem: the request did not come as far as GraphQL
		return
	}
	if x.paid == 0 { // mistakes count, so that nobody makes them for nothing
		if err := x.API.Charge(x.ctx, resilience.Browse, 1); err != nil {
			x.API.Fail(x.w, x.r, err)
			return
		}
	}
	out := []byte(`{"errors":[`)
	for i, e := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = e.AppendJSON(out)
	}
	x.send(status, append(out, `]}`...), "")
}

func (x *exchange) status(stage engine.Stage) int {
	switch {
	case x.lenient():
		return http.StatusOK
	case stage == engine.Parsing || x.Status == StatusLegacy:
		return http.StatusBadRequest
	default:
		return http.StatusUnprocessableEntity
	}
}

// lenient tells whether this client takes 200 for everything that is GraphQL.
func (x *exchange) lenient() bool { return x.Status == StatusLegacy && x.media == mediaJSON }

func (x *exchange) shapeStatus(shape *malformed) int {
	if shape.unread || x.Status == StatusLegacy {
		return http.StatusBadRequest
	}
	return http.StatusUnprocessableEntity
}

// persistedStatus is 200 for a hash that is not known yet where clients of automatic persisted queries look into nothing
// else; the draft has 4xx for all that has no data.
func (x *exchange) persistedStatus(e *engine.Error) int {
	switch {
	case x.lenient() && e == errUnknownHash:
		return http.StatusOK
	case e.Code == "DOCUMENT_NOT_TRUSTED":
		return http.StatusForbidden
	case e == errUnknownHash, e.Code == "PERSISTED_DOCUMENT_NOT_FOUND":
		return http.StatusNotFound
	default:
		return http.StatusBadRequest
	}
}

// answer sends what an execution came to.
func (x *exchange) answer(b *engine.Bound, s *state, res *engine.Response) {
	out := make([]byte, 0, len(res.Data)+256)
	out = append(append(out, `{"data":`...), res.Data...)
	status, result := http.StatusOK, "ok"
	if len(res.Errors) > 0 {
		out = append(out, `,"errors":[`...)
		for i, e := range res.Errors {
			if i > 0 {
				out = append(out, ',')
			}
			out = e.AppendJSON(out)
		}
		out = append(out, ']')
		result = "partial"
		if x.Status == StatusDraft && x.media == mediaGraphQL {
			status = statusPartial
		}
	}
	out = strconv.AppendInt(append(out, `,"extensions":{"cost":{"requested":`...), int64(b.Cost), 10)
	out = strconv.AppendInt(append(out, `,"actual":`...), int64(res.Cost), 10)
	// What is left changes with each request: in an answer that is kept or compared, as GET's and a mutation's are, it
	// stands in the header alone.
	if left, ok := x.caller.Left(); ok && !x.query.get && b.Kind() != "mutation" {
		out = strconv.AppendInt(append(out, `,"remaining":`...), int64(left)*pointsPerCall, 10)
	}
	out = append(out, `}}}`...)
	if s.writes > 0 && s.writes == s.replayed {
		x.w.Header().Set("Idempotent-Replayed", "true")
	}
	x.count(x.ctx, b.Kind(), result)
	caching := ""
	if x.query.get {
		caching = "private, no-store"
		if age := b.MaxAge(); age >= 0 && result == "ok" {
			// As REST's catalog: it needs a token and is the same for everybody who may read it.
			caching = "public, max-age=" + strconv.Itoa(age)
		}
	}
	x.send(status, out, caching)
}

// send writes an answer. One without data goes out as GraphQL's own type also to a client that did not ask for it: only
// so it can tell our answer from a gateway's.
func (x *exchange) send(status int, body []byte, caching string) {
	media := x.media
	if status >= http.StatusBadRequest && x.Status == StatusDraft {
		media = mediaGraphQL
	}
	answer := rest.Answer{Status: status, ContentType: media, Body: body}
	if caching != "" {
		answer.CacheControl, answer.ETag = caching, rest.ETag(body)
	}
	rest.Write(x.w, x.r, answer)
}

func (g *GraphQL) count(ctx context.Context, operation, result string) {
	g.requests.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attribute.String("operation", operation), attribute.String("result", result))))
}

func digestText(d *engine.Document) string { return hex.EncodeToString(d.Digest[:]) }
