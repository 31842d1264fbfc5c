package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/resilience"
)

// Problem is an error that says what the caller can do (RFC 9457). Its cause, if any, stays in the log.
type Problem struct {
	Kind   ProblemKind
	Detail string
	Errors []FieldError
	// Extensions are further members of the document.
	Extensions map[string]any

	retryAfter   string
	authenticate string
	allow        string
}

// FieldError names one value that is not allowed: Pointer (RFC 6901) for a place in the body, Parameter for one
// in the query, path or header.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty" doc:"Where in the body, as a JSON Pointer" example:"/lines/0/quantity"`
	Parameter string `json:"parameter,omitempty" doc:"Which query, path or header parameter" example:"pageSize"`
	Detail    string `json:"detail" doc:"What is wrong and what is allowed"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Kind.Slug + ": " + p.Detail }

// NewProblem makes a problem of a kind. detail speaks to the caller: no names of tables, hosts or libraries.
func NewProblem(kind ProblemKind, detail string, args ...any) *Problem {
	return &Problem{Kind: kind, Detail: fmt.Sprintf(detail, args...)}
}

// Invalid is a Validation problem about one place in the body.
func Invalid(pointer, detail string, args ...any) *Problem {
	return &Problem{
		Kind: Validation, Detail: "The request has a value that is not allowed.",
		Errors: []FieldError{{Pointer: pointer, Detail: fmt.Sprintf(detail, args...)}},
	}
}

// document is the problem's JSON; it exists for its schema too.
type document struct {
	Type          string       `json:"type" doc:"URI of the problem's kind; it has a page" example:"/docs/problems/sold-out"`
	Title         string       `json:"title" doc:"The kind in words; the same for every problem of a kind"`
	Status        int          `json:"status" doc:"The HTTP status"`
	Detail        string       `json:"detail" doc:"What happened this time"`
	Instance      string       `json:"instance" doc:"URI of this occurrence"`
	CorrelationID string       `json:"correlationId" doc:"The X-Correlation-ID to quote when asking about it"`
	TraceID       string       `json:"traceId,omitempty" doc:"The request's trace, where it can be found: each failure of ours, but for overload, has one while tracing is on" example:"4bf92f3577b34da6a3ce929d0e0e4736"`
	Errors        []FieldError `json:"errors,omitempty" doc:"Each value that is not allowed"`
	_             struct{}     `json:"-" additionalProperties:"true"`
}

// Refuse renders a problem as an Answer that can be stored and replayed.
func (a *API) Refuse(ctx context.Context, p *Problem) Answer {
	call := From(ctx)
	doc := document{
		Type: "about:blank", Title: p.Kind.Title, Status: p.Kind.Status, Detail: p.Detail, Errors: p.Errors,
		Instance: call.path + "#" + call.Correlation, CorrelationID: call.Correlation,
		TraceID: call.entry.TraceID(p.Kind.Status >= http.StatusInternalServerError),
	}
	switch {
	case p.Kind.Type != "":
		doc.Type = p.Kind.Type
	case !p.Kind.Standard:
		doc.Type = a.config.ProblemBase + "/docs/problems/" + p.Kind.Slug
	}
	body, err := json.Marshal(doc)
	if err == nil && len(p.Extensions) > 0 {
		var ext []byte
		ext, err = json.Marshal(p.Extensions)
		if err == nil {
			body = append(append(body[:len(body)-1], ','), ext[1:]...)
		}
	}
	if err != nil {
		a.config.Logger.ErrorContext(ctx, "problem not rendered", "error", err, "correlation_id", call.Correlation)
		body = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500}`)
		return Answer{Status: http.StatusInternalServerError, ContentType: problemJSON, Body: body}
	}
	return Answer{Status: p.Kind.Status, ContentType: problemJSON, Body: body, RetryAfter: p.retryAfter}
}

const problemJSON = "application/problem+json"

// problemOf turns any error of a handler into what the caller is told. What it doesn't know is a 500, logged
// here and nowhere else.
func (a *API) problemOf(ctx context.Context, err error) *Problem {
	var (
		p         *Problem
		forbidden *auth.ForbiddenError
		quota     *ratelimit.RefusedError
		off       *offError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, idempotency.ErrInFlight):
		p = NewProblem(InFlight, "Another request with this Idempotency-Key has not finished yet.")
		p.retryAfter = "1"
	case errors.Is(err, idempotency.ErrKeyReused):
		p = KeyReusedProblem()
	case errors.Is(err, idempotency.ErrKeyMissing):
		p = NewProblem(KeyMissing, "This operation needs an Idempotency-Key header.")
	case errors.Is(err, idempotency.ErrKeyInvalid):
		p = NewProblem(KeyInvalid, "%s.", sentence(err.Error()))
	case errors.Is(err, idempotency.ErrJSON):
		p = NewProblem(Malformed, "The body is %s.", err.Error())
	case errors.Is(err, auth.ErrNoToken):
		p = NewProblem(Unauthorized, "The request has no bearer token.")
		p.authenticate = `Bearer realm="order-catalog"`
	case errors.Is(err, auth.ErrBadRequest):
		p = NewProblem(Malformed, "%s.", sentence(err.Error()))
		p.authenticate = `Bearer realm="order-catalog", error="invalid_request"`
	case errors.Is(err, auth.ErrInvalidToken):
		p = NewProblem(Unauthorized, "%s.", sentence(err.Error()))
		p.authenticate = `Bearer realm="order-catalog", error="invalid_token"`
	case errors.As(err, &forbidden):
		p = NewProblem(Forbidden, "%s.", sentence(err.Error()))
		p.authenticate = `Bearer realm="order-catalog", error="insufficient_scope"`
		if forbidden.Scope != "" { // RFC 6750 has no empty scope; a role is nothing that a client could ask its issuer for
			p.authenticate += `, scope="` + forbidden.Scope + `"`
		}
	case errors.Is(err, resilience.ErrRefused): // counted by the limiter; a line each would be work when there is too much
		p = &Problem{Kind: Overloaded, Detail: overloadDetail}
		p.retryAfter = overload[rand.IntN(len(overload))][0] //nolint:gosec // spreads clients, keeps no secret
	case errors.As(err, &off): // http_requests_total counts it, and the switch has a gauge
		p = off.problem()
	case errors.As(err, &quota): // counted by the limit
		p = &Problem{
			Kind: QuotaExceeded, Detail: "You have made as many requests of this kind as you may for now.",
			Extensions: map[string]any{"violated-policies": quota.Policies},
		}
		p.retryAfter = strconv.FormatInt(quota.RetryAfter(), 10)
	case errors.Is(err, postgres.ErrUnavailable), errors.Is(err, auth.ErrUnavailable), errors.Is(err, ratelimit.ErrAway),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		a.config.Logger.WarnContext(ctx, "unavailable", "operation", From(ctx).Operation, "error", err, "correlation_id", From(ctx).Correlation)
		p = NewProblem(DependencyUnavailable, "The service cannot do this right now.")
		p.retryAfter = "1"
	default:
		a.config.Logger.ErrorContext(ctx, "request failed", "operation", From(ctx).Operation, "error", err, "correlation_id", From(ctx).Correlation)
		p = ourFault()
	}
	return p
}

// overload is when to come back, in seconds: not all at the same moment.
var overload = [...][]string{{"1"}, {"2"}, {"3"}}

const overloadDetail = "The service has more requests than it can answer in time."

// KeyReusedProblem is what idempotency.ErrKeyReused becomes.
func KeyReusedProblem() *Problem {
	return NewProblem(KeyReused, "This Idempotency-Key was used for a request with another method, path or body.")
}

// ourFault is all that a caller hears of a failure. Whoever answers with it has logged the cause and the id.
func ourFault() *Problem {
	return &Problem{Kind: internalError, Detail: "Something went wrong on our side. The correlation id finds it in our logs."}
}

// sentence makes an error's text the start of one.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// fromHuma turns what the schema found wrong into a problem, with the places as JSON Pointers.
func fromHuma(status int, msg string, errs []error) *Problem {
	switch {
	case status == http.StatusNotAcceptable:
		return NewProblem(notAcceptable, "Answers are application/json or application/problem+json.")
	case status == http.StatusUnsupportedMediaType:
		return NewProblem(UnsupportedMediaType, "Bodies are application/json.")
	case status == http.StatusRequestEntityTooLarge:
		return NewProblem(PayloadTooLarge, "The body is larger than %d bytes.", maxBody)
	case status >= 500:
		return &Problem{Kind: internalError, Detail: "Something went wrong on our side."}
	case len(errs) == 0:
		return NewProblem(Malformed, "%s.", sentence(msg))
	}
	p := NewProblem(Validation, "The request has values that are not allowed.")
	for _, err := range errs {
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			continue
		}
		field := FieldError{Detail: d.Message}
		if place, ok := strings.CutPrefix(d.Location, "body"); ok {
			field.Pointer = pointer(place)
		} else {
			_, field.Parameter, _ = strings.Cut(d.Location, ".")
		}
		p.Errors = append(p.Errors, field)
		if len(p.Errors) == 20 {
			break // a body of nothing but mistakes is not worth a longer answer
		}
	}
	return p
}

// pointer turns ".lines[0].quantity" into "/lines/0/quantity". An unknown member may have any name: "~" and "/" are
// escaped as RFC 6901 says.
func pointer(place string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "[", "/", "]", "").Replace(place)
}
