package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracing is what spans are started with.
type tracing struct {
	tracer trace.Tracer
	ratio  float64
	trust  bool
}

// state is nil while tracing is off.
var state atomic.Pointer[tracing]

// Tracing tells whether there are spans at all.
func Tracing() bool { return state.Load() != nil }

// Span is a part of a trace that is recorded; the zero value is none, and all its methods do nothing.
type Span struct{ span trace.Span }

// Recording tells whether it is worth making attributes for the span.
func (s Span) Recording() bool { return s.span != nil }

// Set adds attributes.
func (s Span) Set(attributes ...attribute.KeyValue) {
	if s.span != nil {
		s.span.SetAttributes(attributes...)
	}
}

// Name changes the span's name.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Link connects the span with one of another trace.
func (s Span) Link(other Span) {
	if s.span != nil && other.span != nil {
		s.span.AddLink(trace.Link{SpanContext: other.span.SpanContext()})
	}
}

// Under is ctx with the span as the parent of what is started next.
func (s Span) Under(ctx context.Context) context.Context {
	if s.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// Fail says of what kind a failure is; its text, which may quote anything, stays in the log.
func (s Span) Fail(kind string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("error.type", kind))
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// EndAt ends the span at a moment that is over.
func (s Span) EndAt(at time.Time) {
	if s.span != nil {
		s.span.End(trace.WithTimestamp(at))
	}
}

// Current is the span that ctx is in.
func Current(ctx context.Context) Span {
	if state.Load() == nil {
		return Span{}
	}
	if s := trace.SpanFromContext(ctx); s.IsRecording() {
		return Span{s}
	}
	return Span{}
}

// Child starts a span inside of the one that ctx is in. Where that is none, or none that is sampled, nothing is started:
// only Enter and Join begin something.
func Child(ctx context.Context, kind trace.SpanKind, name string) (context.Context, Span) {
	return ChildAt(ctx, kind, name, time.Time{})
}

// ChildAt is Child for what began earlier; the zero time is now.
func ChildAt(ctx context.Context, kind trace.SpanKind, name string, began time.Time) (context.Context, Span) {
	t := state.Load()
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, Span{}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	if !began.IsZero() {
		options = append(options, trace.WithTimestamp(began))
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	return ctx, Span{span}
}

// Join goes on with work that was begun elsewhere, as traceparents tell: those of the messages of a batch. The span is a
// child of the first one that is sampled and linked to the others. With none sampled there is no span, and when ctx is in
// the first one's trace already it is a child there.
func Join(ctx context.Context, kind trace.SpanKind, name string, traceparents ...string) (context.Context, Span) {
	t := state.Load()
	if t == nil {
		return ctx, Span{}
	}
	current := trace.SpanFromContext(ctx)
	var parent trace.SpanContext
	var links []trace.Link
	for _, text := range traceparents {
		sc := parse(text)
		switch {
		case !sc.IsSampled():
		case !parent.IsValid():
			parent = sc
		case len(links) < maxLinks:
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	switch {
	case !parent.IsValid() && !current.IsRecording():
		return ctx, Span{}
	case current.IsRecording() && (!parent.IsValid() || current.SpanContext().TraceID() == parent.TraceID()):
		// It is where it belongs.
	default:
		if current.IsRecording() {
			links = append(links, trace.Link{SpanContext: current.SpanContext()})
		}
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithLinks(links...))
	return ctx, Span{span}
}

// maxLinks bounds what a batch of a thousand messages adds to one span.
const maxLinks = 100

// Entry is the span of a unit of work: a request, or an invocation. Until its end it may turn out to be an error, and then
// it is kept even if its trace is not sampled: it is made anew from what is known then, under the ids that log lines and
// callers were told. What happened inside of it is not known any more; that is the price of deciding at the start.
type Entry struct {
	t       *tracing
	span    trace.Span
	outside context.Context //nolint:containedctx // the span's parent, for the case that the span is made again
	kind    trace.SpanKind
	began   time.Time
}

// Enter starts the span of a unit of work, where ctx may hold its caller's. nil while tracing is off.
//
// Whether a trace is recorded is said here and nowhere else: what begins inside follows. Most are not, and those only get
// ids: the SDK takes twice as long for it (BenchmarkEnter), and its frames are large enough to grow the stacks of requests.
func Enter(ctx context.Context, kind trace.SpanKind, began time.Time) (context.Context, *Entry) {
	t := state.Load()
	if t == nil {
		return ctx, nil
	}
	e := &Entry{t: t, outside: ctx, kind: kind, began: began}
	parent := trace.SpanContextFromContext(ctx)
	if t.sampled(parent) {
		ctx, e.span = t.tracer.Start(ctx, "", trace.WithSpanKind(kind), trace.WithTimestamp(began))
		return ctx, e
	}
	own := parent.WithSpanID(newSpanID()).WithTraceFlags(parent.TraceFlags().WithSampled(false)).WithRemote(false)
	if !parent.IsValid() {
		own = own.WithTraceID(newTraceID())
	}
	ctx = trace.ContextWithSpanContext(ctx, own)
	e.span = trace.SpanFromContext(ctx)
	return ctx, e
}

// sampled tells whether what begins under parent is recorded. A caller that is not trusted can't choose to be: not by its
// flag, nor by the trace's id, which has no part in it.
func (t *tracing) sampled(parent trace.SpanContext) bool {
	if parent.IsValid() && (t.trust || !parent.IsRemote()) {
		return parent.IsSampled()
	}
	return rand.Float64() < t.ratio //nolint:gosec // a sample, not a secret
}

// Recording tells whether it is worth making attributes for the span.
func (e *Entry) Recording() bool { return e != nil && e.span.IsRecording() }

// TraceID is the trace's id when the span will be seen: it is sampled, or failed. Else "".
func (e *Entry) TraceID(failed bool) string {
	if e == nil || !failed && !e.span.IsRecording() {
		return ""
	}
	return e.span.SpanContext().TraceID().String()
}

// End ends the span. failure is the kind of its failure, "" for none; attributes are asked for when the span is kept.
func (e *Entry) End(name, failure string, attributes func() []attribute.KeyValue) {
	if e == nil {
		return
	}
	if !e.span.IsRecording() {
		if failure == "" {
			return
		}
		ctx := context.WithValue(e.outside, keptKey{}, e.span.SpanContext())
		_, e.span = e.t.tracer.Start(ctx, name, trace.WithSpanKind(e.kind), trace.WithTimestamp(e.began))
	}
	e.span.SetName(name)
	e.span.SetAttributes(attributes()...)
	Span{e.span}.failed(failure)
	e.span.End()
}

func (s Span) failed(kind string) {
	if kind != "" {
		s.Fail(kind)
	}
}

// keptKey has a span made under the ids of a SpanContext.
type keptKey struct{}

// ids makes ids, or takes those that Entry keeps.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if sc, ok := ctx.Value(keptKey{}).(trace.SpanContext); ok {
		return sc.TraceID(), sc.SpanID()
	}
	return newTraceID(), newSpanID()
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if sc, ok := ctx.Value(keptKey{}).(trace.SpanContext); ok {
		return sc.SpanID()
	}
	return newSpanID()
}

func newTraceID() (t trace.TraceID) {
	for !t.IsValid() {
		binary.NativeEndian.PutUint64(t[:8], rand.Uint64()) //nolint:gosec // unique, not secret
		binary.NativeEndian.PutUint64(t[8:], rand.Uint64()) //nolint:gosec // as above
	}
	return t
}

func newSpanID() (s trace.SpanID) {
	for !s.IsValid() {
		binary.NativeEndian.PutUint64(s[:], rand.Uint64()) //nolint:gosec // unique, not secret
	}
	return s
}

// TraceParent is the trace context of ctx (W3C traceparent), "" for none.
func TraceParent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return "" // the usual case while tracing is off, for the price of a look
	}
	// Written out, as every order pays for it: 00-<trace>-<span>-<flags>.
	var text [55]byte
	traceID, spanID := sc.TraceID(), sc.SpanID()
	copy(text[:], "00-")
	hex.Encode(text[3:35], traceID[:])
	text[35] = '-'
	hex.Encode(text[36:52], spanID[:])
	text[52] = '-'
	hex.Encode(text[53:], []byte{byte(sc.TraceFlags() & trace.FlagsSampled)})
	return string(text[:])
}

// parse reads a traceparent; what is none is the zero value.
func parse(text string) trace.SpanContext {
	if len(text) < 55 {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": text})
	return trace.SpanContextFromContext(ctx)
}

// Within is the trace context to pass on for work that ctx does for an event whose own is traceparent: that of ctx when it
// is in the same trace, else the event's, whether anything of it is recorded here or not.
func Within(ctx context.Context, traceparent string) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || traceparent != "" && parse(traceparent).TraceID() != sc.TraceID() {
		return traceparent
	}
	return TraceParent(ctx)
}
