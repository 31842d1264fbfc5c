package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/jsonread"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// maxBody is the largest body in bytes. An order with 100 lines has about 12 KiB.
const maxBody = 256 << 10

var identity = []string{"identity"}

type apiKey struct{}

// admit is what stands between the router and the decoder, cheapest refusal first: token, policy, what is switched off, a
// permit, what the caller may still ask for, key, body.
func (a *API) admit(op Operation, body bool) func(huma.Context, func(huma.Context)) {
	class := op.class()
	limit := a.config.Limits[class]
	rungs := op.rungs()
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		call := From(r.Context())
		call.Operation = op.ID
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), apiKey{}, a), a.config.Deadline)
		defer cancel()
		r = r.WithContext(ctx)
		if err := a.authorize(r, call, op); err != nil {
			a.fail(w, r, err)
			return
		}
		// Before the body is read: a refusal must cost next to nothing.
		if err := a.offFor(op, rungs, r); err != nil {
			a.fail(w, r, err)
			return
		}
		if gate := a.config.Admission; gate != nil {
			if err := gate.Enter(ctx, class); err != nil {
				a.fail(w, r, err)
				return
			}
			defer func() { gate.Leave(class, call.worked()) }()
		}
		if op.Policy != nil {
			if call.client = a.config.Clients.Open(call.Caller.Client, call.Caller.ClientKey()); call.client != nil {
				if err := call.client.Take(ctx); err != nil {
					a.fail(w, r, err)
					return
				}
				// What the caller's own limit refuses, or takes for a repeat, is nothing that the application has used.
				defer func() {
					if call.charge.Free() {
						call.client.GiveBack()
					}
				}()
			}
			call.charge = limit.Open(call.Caller.Key())
		}
		defer call.charge.Mistake()
		call.Preferred = op.Async != nil && prefers(r.Header.Values("Prefer"), RespondAsync)
		call.Async = call.Preferred || op.Async != nil && a.async.Load()
		if err := call.pay(ctx, op); err != nil {
			a.fail(w, r, err)
			return
		}
		_, call.form = telemetry.Child(ctx, trace.SpanKindInternal, "validation")
		if err := a.check(r, w, call, op, body); err != nil {
			a.fail(w, r, err)
			return
		}
		call.began = time.Now()
		next(humago.NewContext(hc.Operation(), r, w))
	}
}

// pay charges what the idempotency layer won't: calls without a key, and writes that are only queued. What it will
// charge is let through here while the caller has not used up the quota with calls that never came so far.
func (c *Call) pay(ctx context.Context, op Operation) error {
	switch {
	case !op.Keyed:
		return c.charge.Take(ctx)
	case c.Async:
		return c.charge.One(ctx)
	default:
		return c.charge.Enter(ctx)
	}
}

// authorize tells whether the caller may do this at all.
func (a *API) authorize(r *http.Request, call *Call, op Operation) error {
	ctx := r.Context()
	if r.URL.RawQuery != "" {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			// What can't be parsed would be left out: a cursor lost on the way would start the list again.
			return NewProblem(Malformed, "The query is not in the form of a URL's.")
		}
		if !plainText(query) {
			return NewProblem(Malformed, "The query holds bytes that are not UTF-8 text, or the character U+0000.")
		}
	}
	if op.Policy == nil {
		return nil
	}
	token, err := auth.Bearer(r)
	if err != nil {
		return err
	}
	if call.Caller, err = a.config.Verifier.Verify(ctx, token); err != nil {
		return err
	}
	if err := op.Policy.Check(call.Caller); err != nil {
		return err
	}
	return a.config.Ready(ctx)
}

// check reads the request: its key and its body.
func (a *API) check(r *http.Request, w http.ResponseWriter, call *Call, op Operation, body bool) error {
	if op.Keyed {
		key, err := idempotency.ParseKey(r.Header.Values("Idempotency-Key"))
		if err != nil {
			return err
		}
		call.key = key
	}
	if !reads(r.Method) {
		call.conditions = conditions{match: list(r.Header, "If-Match"), noneMatch: list(r.Header, "If-None-Match")}
		if op.IfMatch == MustMatch && call.conditions.match == "" {
			return NewProblem(PreconditionRequired, "Send If-Match with the ETag of it as you read it.")
		}
	}
	if body {
		if err := a.readBody(r, w, call); err != nil {
			return err
		}
	}
	if op.Keyed {
		call.fingerprint = idempotency.Fingerprint(r.Method, r.URL.Path, call.canonical)
	}
	return nil
}

// readBody takes the whole body, bounded, and checks that it is one JSON value.
func (a *API) readBody(r *http.Request, w http.ResponseWriter, call *Call) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || media != "application/json" || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return NewProblem(UnsupportedMediaType, "Bodies are application/json in UTF-8.")
	}
	if r.Header.Get("Content-Encoding") != "" {
		w.Header()["Accept-Encoding"] = identity // so that the client can tell which of the two it was (RFC 9110, section 15.5.16)
		return NewProblem(UnsupportedMediaType, "Bodies are sent uncompressed, without Content-Encoding.")
	}
	raw, err := a.ReadBody(w, r, maxBody)
	if err != nil {
		return err
	}
	if call.canonical, err = idempotency.Canonical(raw); err != nil {
		return err
	}
	if holdsNUL(call.canonical) {
		return NewProblem(Malformed, "The body holds the character U+0000, which no text here may.")
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	r.Header.Set("Content-Type", "application/json") // checked above; the library knows one spelling only
	return nil
}

// unmarshal decodes a body that Canonical has read: first for the schema, and when that has let it through into its
// type. A number can still be too large for its field, of which the library would tell the caller in Go's words.
func unmarshal(raw []byte, v any) (err error) {
	switch v := v.(type) {
	case *any:
		r := jsonread.New(raw)
		*v = r.Any()
		return r.Err()
	case json.Unmarshaler:
		err = v.UnmarshalJSON(raw)
	default:
		err = json.Unmarshal(raw, v)
	}
	var misfit *json.UnmarshalTypeError
	if errors.As(err, &misfit) {
		return fmt.Errorf("the value of %s is out of range", misfit.Field)
	}
	return err
}

// holdsNUL tells whether a canonical JSON text has U+0000 in one of its strings: PostgreSQL can't store it. It is
// always escaped there; after an odd number of backslashes it is the text \\u0000 and harmless.
func holdsNUL(canonical []byte) bool {
	for from := 0; ; {
		i := bytes.Index(canonical[from:], []byte(`\u0000`))
		if i < 0 {
			return false
		}
		at := from + i
		before := at - len(bytes.TrimRight(canonical[:at], `\`))
		if before%2 == 0 {
			return true
		}
		from = at + 1
	}
}

// plainText tells whether all of a query is text that a database can hold.
func plainText(query url.Values) bool {
	for name, values := range query {
		for _, value := range append(values, name) {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return false
			}
		}
	}
	return true
}

// fail is where every error of a request ends: logged or told, once.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problemOf(r.Context(), err)
	From(r.Context()).Note(slog.String("problem", cmp.Or(p.Kind.Slug, p.Kind.Title)))
	if p.authenticate != "" {
		w.Header().Set("WWW-Authenticate", p.authenticate)
	}
	if p.allow != "" {
		w.Header().Set("Allow", p.allow)
	}
	write(w, r, a.Refuse(r.Context(), p))
}
