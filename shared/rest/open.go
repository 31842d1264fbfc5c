package rest

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/resilience"
)

// Open begins a request whose handler reads it by itself, as GraphQL's does, and says in its body what it is about: the
// caller's token is checked and the deadline set, as for an operation that any valid token may call. What follows of an
// operation's way, Enter and Charge do when the handler knows what it has. end must be called.
func (a *API) Open(r *http.Request, operation string) (opened *http.Request, end context.CancelFunc, err error) {
	call := From(r.Context())
	call.Operation = operation
	ctx, cancel := context.WithTimeout(r.Context(), a.config.Deadline)
	r = r.WithContext(ctx)
	return r, cancel, a.authorize(r, call, Operation{ID: operation, Policy: &auth.AnyToken})
}

// Enter takes a permit for work of a class. leave gives it back.
func (a *API) Enter(ctx context.Context, class resilience.Class) (leave func(), err error) {
	gate := a.config.Admission
	if gate == nil {
		return func() {}, nil
	}
	if err := gate.Enter(ctx, class); err != nil {
		return nil, err
	}
	began := time.Now()
	return func() { gate.Leave(class, time.Since(began)) }, nil
}

// Charge charges the call as so many calls without a key: to the caller, and to the application that they use. The answer
// shows what the caller has left.
func (a *API) Charge(ctx context.Context, class resilience.Class, calls int) error {
	call := From(ctx)
	call.charge = a.config.Limits[class].Open(call.Caller.Key())
	if err := call.charge.TakeAll(ctx, calls); err != nil {
		return err
	}
	call.client = a.config.Clients.Open(call.Caller.Client, call.Caller.ClientKey())
	return call.client.TakeAll(ctx, calls)
}

// Left is how many calls the caller has left of what Charge charged; ok is false where nothing is limited.
func (c *Call) Left() (calls int, ok bool) { return c.charge.Left() }

// Keyed is one write of several in a request.
type Keyed struct {
	Operation, Path string
	Tag             string // as the operation's twin has it
	Key             string
	Fingerprint     []byte // what a repeat must have in common with the first
	MayQueue        bool   // it may be answered 202 when everything is
}

// Part is a context for one keyed write of a request that has several: a call of its own, of the same caller, charged
// with its claim as one operation of the class.
func (a *API) Part(ctx context.Context, class resilience.Class, write Keyed) (context.Context, error) {
	if err := a.Off(RungsOf(write.Tag, http.MethodPost)); err != nil {
		return nil, err
	}
	whole := From(ctx)
	part := &Call{
		Correlation: whole.Correlation, Operation: write.Operation, Caller: whole.Caller, path: write.Path, key: write.Key,
		fingerprint: idempotency.Fingerprint("", write.Path, write.Fingerprint), began: time.Now(),
		client: a.config.Clients.Open(whole.Caller.Client, whole.Caller.ClientKey()),
	}
	part.Async = write.MayQueue && a.async.Load()
	if err := part.client.Take(ctx); err != nil {
		return nil, err
	}
	part.charge = a.config.Limits[class].Open(whole.Caller.Key())
	whole.charge = part.charge // the last one is what the answer shows
	err := part.charge.Enter(ctx)
	if err == nil && part.Async {
		err = part.charge.One(ctx)
	}
	if err != nil {
		part.Settle()
		return nil, err
	}
	return context.WithValue(ctx, callKey{}, part), nil
}

// Settle ends a part's bill: it is charged if it was refused for its form, before the idempotency layer counted it, and what
// the caller's own limit refused or took for a repeat is nothing that the application has used.
func (c *Call) Settle() {
	c.charge.Mistake()
	if c.client != nil && c.charge.Free() {
		c.client.GiveBack()
	}
}

// Fail answers with the problem that the error becomes.
func (a *API) Fail(w http.ResponseWriter, r *http.Request, err error) { a.fail(w, r, err) }

// Describe puts an operation into the document that is none of Register's: it needs a token, and nothing else is known of it.
func (a *API) Describe(op *huma.Operation) {
	op.Security = []map[string][]string{{"bearer": {}}}
	a.huma.OpenAPI().AddOperation(op)
}

// Write sends an answer: a conditional GET for bytes that the client has gets 304.
func Write(w http.ResponseWriter, r *http.Request, answer Answer) { write(w, r, answer) }

// NotAcceptable is the problem of a client that takes no form that there is.
func NotAcceptable(detail string) *Problem { return NewProblem(notAcceptable, "%s", detail) }

// Explain is the problem that an error becomes; a failure is logged here and nowhere else.
func (a *API) Explain(ctx context.Context, err error) *Problem { return a.problemOf(ctx, err) }

// RetryAfter is the seconds after which to come back, "" where that is no matter.
func (p *Problem) RetryAfter() string { return p.retryAfter }

// NewReader makes a function that reads a JSON text as an operation reads a body of the type: in the same form, by the
// same schema, with the same problems. canonical is what a fingerprint is made of.
func NewReader[T any](a *API) func(raw []byte) (v T, canonical []byte, err error) {
	registry := a.huma.OpenAPI().Components.Schemas
	schema := registry.Schema(reflect.TypeFor[T](), true, "")
	return func(raw []byte) (v T, canonical []byte, err error) {
		if canonical, err = idempotency.Canonical(raw); err != nil {
			return v, nil, err
		}
		if holdsNUL(canonical) {
			return v, nil, NewProblem(Malformed, "A text holds the character U+0000, which no text here may.")
		}
		var plain any
		if err := unmarshal(canonical, &plain); err != nil {
			return v, nil, NewProblem(Malformed, "%s.", sentence(err.Error()))
		}
		found, path := &huma.ValidateResult{}, huma.NewPathBuffer(make([]byte, 0, 128), 0)
		path.Push("body")
		huma.Validate(registry, schema, path, huma.ModeWriteToServer, plain, found)
		if len(found.Errors) > 0 {
			return v, nil, fromHuma(http.StatusUnprocessableEntity, "validation failed", found.Errors)
		}
		if err := unmarshal(canonical, &v); err != nil {
			return v, nil, NewProblem(Malformed, "%s.", sentence(err.Error()))
		}
		return v, canonical, nil
	}
}
