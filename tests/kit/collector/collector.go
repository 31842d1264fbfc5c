// Package collector is an OpenTelemetry collector of one test: it takes what is pushed to it over OTLP/HTTP and answers
// questions about it. A trace is shown as a tree, in which a test and a reader see the same.
package collector

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector is the server. What came is kept in the order in which it came.
type Collector struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []Span
	resource map[string]any
	metrics  map[string]bool
	lines    []string
	hang     chan struct{} // nil: it answers
}

// Span is one span, with its attributes as Go values.
type Span struct {
	Name, TraceID, ID, Parent string
	Kind                      string
	Start, End                time.Time
	Error                     bool
	Attributes                map[string]any
	Links                     []string // ids of spans
}

// New starts a collector.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{metrics: make(map[string]bool)}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() { c.CloseClientConnections(); c.Close() })
	return c
}

// NewHanging starts a collector that takes everything and never answers.
func NewHanging(t testing.TB) *Collector {
	t.Helper()
	c := New(t)
	c.hang = make(chan struct{})
	t.Cleanup(func() { close(c.hang) })
	return c
}

// ServeHTTP takes an export.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // its sender left
	}
	if c.hang != nil {
		<-c.hang
		return
	}
	var answer proto.Message
	switch r.URL.Path {
	case "/v1/traces":
		var request traces.ExportTraceServiceRequest
		err, answer = proto.Unmarshal(raw, &request), &traces.ExportTraceServiceResponse{}
		c.takeSpans(&request)
	case "/v1/metrics":
		var request metrics.ExportMetricsServiceRequest
		err, answer = proto.Unmarshal(raw, &request), &metrics.ExportMetricsServiceResponse{}
		c.takeMetrics(&request)
	case "/v1/logs":
		var request logs.ExportLogsServiceRequest
		err, answer = proto.Unmarshal(raw, &request), &logs.ExportLogsServiceResponse{}
		c.takeLogs(&request)
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, _ := proto.Marshal(answer) // an empty message
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

func (c *Collector) takeSpans(request *traces.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range request.GetResourceSpans() {
		c.resource = values(r.GetResource().GetAttributes())
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{
					Name: s.GetName(), TraceID: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
					Parent: hex.EncodeToString(s.GetParentSpanId()),
					Kind:   strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"),
					Start:  time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())), //nolint:gosec // of this century
					Error:      s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
					Attributes: values(s.GetAttributes()),
				}
				for _, l := range s.GetLinks() {
					span.Links = append(span.Links, hex.EncodeToString(l.GetSpanId()))
				}
				c.spans = append(c.spans, span)
			}
		}
	}
}

func (c *Collector) takeMetrics(request *metrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range request.GetResourceMetrics() {
		c.resource = values(r.GetResource().GetAttributes())
		for _, scope := range r.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				c.metrics[m.GetName()] = true
			}
		}
	}
}

func (c *Collector) takeLogs(request *logs.ExportLogsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range request.GetResourceLogs() {
		for _, scope := range r.GetScopeLogs() {
			for _, l := range scope.GetLogRecords() {
				c.lines = append(c.lines, fmt.Sprint(l.GetBody().GetStringValue(), " ", values(l.GetAttributes()), " trace=", hex.EncodeToString(l.GetTraceId())))
			}
		}
	}
}

func values(list []*common.KeyValue) map[string]any {
	out := make(map[string]any, len(list))
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.GetKey()] = v.IntValue
		case *common.AnyValue_BoolValue:
			out[kv.GetKey()] = v.BoolValue
		case *common.AnyValue_DoubleValue:
			out[kv.GetKey()] = v.DoubleValue
		default:
			out[kv.GetKey()] = fmt.Sprint(kv.GetValue())
		}
	}
	return out
}

// Spans are all that came so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Lines are the log records that came so far, as text.
func (c *Collector) Lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// Metric tells whether a metric of that name has come.
func (c *Collector) Metric(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metrics[name]
}

// Resource is what the last sender of spans or metrics said of itself.
func (c *Collector) Resource() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resource
}

// Trace waits until a trace has a span of each of the names, and returns it whole.
func (c *Collector) Trace(t testing.TB, traceID string, names ...string) Trace {
	t.Helper()
	var tree Trace
	require.Eventually(t, func() bool {
		tree = nil
		for _, s := range c.Spans() {
			if s.TraceID == traceID {
				tree = append(tree, s)
			}
		}
		return !slices.ContainsFunc(names, func(name string) bool { return tree.Find(name) == nil })
	}, 20*time.Second, 20*time.Millisecond, "the trace %s has no span of each name of %q; it has\n%s", traceID, names, stringer(func() string { return tree.String() }))
	slices.SortStableFunc(tree, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return tree
}

type stringer func() string

func (s stringer) String() string { return s() }

// Trace is the spans of one trace.
type Trace []Span

// Find is the first span of a name, nil for none.
func (t Trace) Find(name string) *Span {
	for i := range t {
		if t[i].Name == name {
			return &t[i]
		}
	}
	return nil
}

// Path is the names from the root to a span.
func (t Trace) Path(name string) string {
	s := t.Find(name)
	if s == nil {
		return ""
	}
	path := []string{s.Name}
	for s != nil {
		i := slices.IndexFunc(t, func(p Span) bool { return p.ID == s.Parent })
		if i < 0 {
			break
		}
		s = &t[i]
		path = append(path, s.Name)
	}
	slices.Reverse(path)
	return strings.Join(path, " > ")
}

// String is the trace as a tree with durations, children in the order in which they began. Spans whose parent is not here,
// as it is the caller's, are roots.
func (t Trace) String() string {
	var out strings.Builder
	known := make(map[string]bool)
	for _, s := range t {
		known[s.ID] = true
	}
	var show func(parent func(Span) bool, indent string)
	show = func(is func(Span) bool, indent string) {
		var list []Span
		for _, s := range t {
			if is(s) {
				list = append(list, s)
			}
		}
		slices.SortStableFunc(list, func(a, b Span) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) })
		for i, s := range list {
			branch, below := "├─ ", "│  "
			if i == len(list)-1 {
				branch, below = "└─ ", "   "
			}
			fmt.Fprintf(&out, "%s%s%s  %.2f ms\n", indent, branch, s.Name, float64(s.End.Sub(s.Start).Microseconds())/1000)
			show(func(c Span) bool { return c.Parent == s.ID }, indent+below)
		}
	}
	show(func(s Span) bool { return !known[s.Parent] }, "")
	return out.String()
}
