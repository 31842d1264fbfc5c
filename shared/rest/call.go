package rest

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"time"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// Call is what is known of a request besides its typed input.
type Call struct {
	Correlation string        // X-Correlation-ID, the client's or ours
	Operation   string        // the operation's id
	Caller      auth.Identity // zero for operations without a policy
	// Async says that the call is to be answered 202 at once: as the client would rather have it than wait (Preferred; RFC
	// 7240, respond-async), or as an operator has switched it for all.
	Async       bool
	Preferred   bool
	path        string
	key         string
	fingerprint [sha256.Size]byte
	canonical   []byte
	charge      *ratelimit.Charge // the rate limit's bill; nil before the caller is known, and when nothing is limited
	client      *ratelimit.Charge // the same for the application that the caller uses
	conditions  conditions        // of a change
	retired     *retired          // what is said of the operation's end; nil when there is none in sight
	began       time.Time         // when the request was whole

	entry *telemetry.Entry // the request's span; nil while tracing is off
	form  telemetry.Span   // of reading and checking the request, until its handler begins
	wide  bool             // the request gets a line in the log
	notes []slog.Attr      // for that line
	about http.Header      // the request's header fields
	route string           // the template of the route that took it, "" for none
}

// worked is how long the work on the call has taken so far, 0 before it. How long a client took to send its body says
// nothing about us, and what is refused for its form nothing about the work.
func (c *Call) worked() time.Duration {
	if c.began.IsZero() {
		return 0
	}
	return time.Since(c.began)
}

type callKey struct{}

// From is the call that ctx belongs to; never nil.
func From(ctx context.Context) *Call {
	if c, ok := ctx.Value(callKey{}).(*Call); ok {
		return c
	}
	return &Call{}
}

// Again is a context in which problems are rendered as for an earlier request: work that was put off ends in the
// answer that its request would have got.
func Again(ctx context.Context, operation, path, correlation string) context.Context {
	return context.WithValue(ctx, callKey{}, &Call{Correlation: correlation, Operation: operation, path: path})
}

// Path is the request's path.
func (c *Call) Path() string { return c.path }

// Keyed is the call as the idempotency layer knows it. Only keyed operations have a key.
func (c *Call) Keyed() idempotency.Request {
	return idempotency.Request{
		Caller: c.Caller.Key(), Operation: c.Operation, Key: c.key, Fingerprint: c.fingerprint, Charge: c.charge,
	}
}
