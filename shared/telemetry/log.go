package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Logger writes JSON lines at level and above. The Functions host takes lines on standard output as records of
// level Information and those on standard error as errors, so everything goes to standard output and carries its
// own level.
func Logger(w io.Writer, level slog.Level) *slog.Logger {
	return newLogger(Options{Output: w, Level: level}, nil)
}

// newLogger makes the chain that a record goes through: noise is left out, what ctx knows is added, and the record goes to
// standard output and, when records are pushed, to the collector.
func newLogger(o Options, pushed slog.Handler) *slog.Logger {
	out := []slog.Handler{slog.NewJSONHandler(o.Output, &slog.HandlerOptions{Level: o.Level})}
	if pushed != nil {
		out = append(out, pushed)
	}
	return slog.New(&records{out: out, level: o.Level, fields: o.Fields, noise: &noise{now: time.Now}})
}

// records is the logger's handler.
type records struct {
	out    []slog.Handler
	level  slog.Level
	fields func(context.Context) []slog.Attr
	noise  *noise
}

// Enabled implements slog.Handler.
func (h *records) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements slog.Handler.
func (h *records) Handle(ctx context.Context, r slog.Record) error {
	left, ok := h.noise.admit(r.Level, r.Message)
	if !ok {
		return nil
	}
	r = r.Clone()
	if left > 0 {
		r.AddAttrs(slog.Int64("left_out", left))
	}
	if h.fields != nil {
		r.AddAttrs(h.fields(ctx)...)
	}
	errs := make([]error, len(h.out))
	for i, out := range h.out {
		line := r
		if sc := trace.SpanContextFromContext(ctx); i == 0 && sc.IsValid() { // the collector gets them from ctx
			line = r.Clone()
			line.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
		}
		errs[i] = out.Handle(ctx, line)
	}
	return errors.Join(errs...)
}

// WithAttrs implements slog.Handler.
func (h *records) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(out slog.Handler) slog.Handler { return out.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *records) WithGroup(name string) slog.Handler {
	return h.with(func(out slog.Handler) slog.Handler { return out.WithGroup(name) })
}

func (h *records) with(change func(slog.Handler) slog.Handler) slog.Handler {
	n := *h
	n.out = make([]slog.Handler, len(h.out))
	for i, out := range h.out {
		n.out[i] = change(out)
	}
	return &n
}

// most is how many warnings or errors of the same words go out in a second. When a store is away every request has the
// same to say, and the host copies each line.
const most = 20

// kinds is how many kinds of messages are told apart at a time. Ours are constants in the source and far fewer; net/http's
// have addresses in them.
const kinds = 1000

// noise counts equal warnings and errors. What is below a warning was asked for by level and is never left out.
type noise struct {
	now func() time.Time

	mu   sync.Mutex
	seen map[string]*seen
}

type seen struct {
	second int64
	said   int
	left   int64 // not said since the last one that was
}

// admit tells whether a record goes out, and how many like it did not before it.
func (n *noise) admit(level slog.Level, message string) (left int64, ok bool) {
	if level < slog.LevelWarn {
		return 0, true
	}
	second := n.now().Unix()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = make(map[string]*seen)
	}
	s := n.seen[message]
	if s == nil {
		if len(n.seen) >= kinds {
			clear(n.seen)
		}
		s = &seen{}
		n.seen[message] = s
	}
	if s.second != second {
		s.second, s.said = second, 0
	}
	if s.said == most {
		s.left++
		return 0, false
	}
	s.said++
	left, s.left = s.left, 0
	return left, true
}
