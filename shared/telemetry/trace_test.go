package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/telemetry"
	"github.com/company/order-catalog-service/tests/kit/collector"
)

// seen is telemetry that goes to a collector. The tests here are not parallel: meter and tracer are the process's.
func seen(t *testing.T, c *collector.Collector, change func(*telemetry.Options)) (*telemetry.Telemetry, *bytes.Buffer) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	var log bytes.Buffer
	o := telemetry.Options{
		Output: &log, Level: slog.LevelWarn, Push: true, Traces: true, Metrics: true, Logs: true, Ratio: 1,
		Resource: []attribute.KeyValue{attribute.String("service.name", "test")},
	}
	change(&o)
	tel, err := telemetry.Setup(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_ = tel.Close(ctx) // with a collector that hangs it is cut off
	})
	return tel, &log
}

// api answers with the status in the path; 500 is an error that nobody expected.
func api(t *testing.T, logger *slog.Logger) http.Handler {
	t.Helper()
	a, err := rest.New(rest.Config{Title: "Test", Version: "1", Logger: logger, Deadline: time.Minute, Ready: func(context.Context) error { return nil }})
	require.NoError(t, err)
	rest.Register(a, rest.Operation{ID: "things", Method: http.MethodGet, Path: "/api/v1/things/{status}", Tag: "T", Status: 200},
		func(ctx context.Context, in *struct {
			Status int `path:"status"`
		},
		) (rest.Answer, error) {
			_, span := telemetry.Child(ctx, trace.SpanKindInternal, "inside")
			defer span.End()
			switch in.Status {
			case 500:
				return rest.Answer{}, errors.New("broken")
			case 404:
				return rest.Answer{}, rest.NewProblem(rest.NotFound, "No.")
			case 1:
				panic("at the disco")
			}
			return rest.JSON(in.Status, "ok")
		})
	return a.Handler()
}

func get(h http.Handler, path, traceparent string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if traceparent != "" {
		r.Header.Set("Traceparent", traceparent)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"

// Without an endpoint there is nothing to pay for: not a byte, for no span.
func TestWithoutTracingSpansCostNothing(t *testing.T) {
	ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": theirs + "01"})
	require.False(t, telemetry.Tracing())
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		under, span := telemetry.Child(ctx, trace.SpanKindInternal, "x")
		span.Fail("y")
		span.End()
		_, entry := telemetry.Enter(under, trace.SpanKindServer, time.Time{})
		_ = entry.TraceID(true)
		_, span = telemetry.Join(ctx, trace.SpanKindConsumer, "x", "")
		span.Link(telemetry.Current(ctx))
		span.End()
	}))
}

func BenchmarkChildOff(b *testing.B) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, span := telemetry.Child(ctx, trace.SpanKindInternal, "x")
		span.End()
	}
}

// What the span of a request costs by whether it is recorded; nine in ten are not.
func BenchmarkEnter(b *testing.B) {
	for _, bc := range []struct {
		name  string
		ratio float64
	}{{"not recorded", 0}, {"recorded", 1}} {
		b.Run(bc.name, func(b *testing.B) {
			b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1") // nobody is there, and nobody waits for it
			tel, err := telemetry.Setup(b.Context(), telemetry.Options{Output: io.Discard, Push: true, Traces: true, Ratio: bc.ratio})
			require.NoError(b, err)
			defer func() { _ = tel.Close(b.Context()) }()
			ctx, began := b.Context(), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				_, entry := telemetry.Enter(ctx, trace.SpanKindServer, began)
				entry.End("GET /", "", func() []attribute.KeyValue { return nil })
			}
		})
	}
}

// A trace that is not sampled is seen nevertheless when its request fails, under the ids that its log line and its answer
// have. A refusal is no failure.
func TestFailuresAreKeptWhateverIsSampled(t *testing.T) {
	c := collector.New(t)
	tel, log := seen(t, c, func(o *telemetry.Options) { o.Ratio = 0 })
	h := api(t, tel.Logger)
	for range 20 {
		assert.Equal(t, 200, get(h, "/api/v1/things/200", "").Code)
		refused := get(h, "/api/v1/things/404", "")
		assert.NotContains(t, refused.Body.String(), "traceId", "there is nothing to find")
	}
	failed := get(h, "/api/v1/things/500", "")
	require.Equal(t, 500, failed.Code)
	var problem struct{ TraceID string }
	require.NoError(t, json.Unmarshal(failed.Body.Bytes(), &problem))
	require.Equal(t, 500, get(h, "/api/v1/things/1", theirs+"00").Code)

	kept := c.Trace(t, problem.TraceID, "GET /api/v1/things/{status}")
	theirSpan := c.Trace(t, "4bf92f3577b34da6a3ce929d0e0e4736", "GET /api/v1/things/{status}")[0]
	assert.Len(t, c.Spans(), 2, "nothing else")
	assert.True(t, kept[0].Error)
	assert.Equal(t, "500", kept[0].Attributes["error.type"])
	assert.Equal(t, "panic", theirSpan.Attributes["error.type"])
	assert.Equal(t, "00f067aa0ba902b7", theirSpan.Parent)
	assert.NotEqual(t, theirSpan.Parent, theirSpan.ID)
	assert.NotContains(t, fmt.Sprint(kept, theirSpan), "broken", "the cause stays in the log")
	assert.Contains(t, log.String(), `"trace_id":"`+problem.TraceID+`","span_id":"`+kept[0].ID+`"`)
}

// TC-02: a stranger names the trace; whether it is recorded is ours to say, unless callers are trusted.
func TestAStrangerDoesNotDecideWhatIsRecorded(t *testing.T) {
	t.Run("stranger", func(t *testing.T) {
		c := collector.New(t)
		tel, _ := seen(t, c, func(o *telemetry.Options) { o.Ratio = 0 })
		h := api(t, tel.Logger)
		get(h, "/api/v1/things/200", theirs+"01")
		get(h, "/api/v1/things/500", "") // the last one is always seen
		require.Eventually(t, func() bool { return len(c.Spans()) > 0 }, 10*time.Second, 10*time.Millisecond)
		assert.Len(t, c.Spans(), 1)
	})
	t.Run("always", func(t *testing.T) {
		c := collector.New(t)
		tel, _ := seen(t, c, func(*telemetry.Options) {})
		get(api(t, tel.Logger), "/api/v1/things/200", theirs+"00")
		tree := c.Trace(t, "4bf92f3577b34da6a3ce929d0e0e4736", "GET /api/v1/things/{status}", "inside")
		assert.Equal(t, "GET /api/v1/things/{status} > things > inside", tree.Path("inside"))
	})
	t.Run("trusted", func(t *testing.T) {
		c := collector.New(t)
		tel, _ := seen(t, c, func(o *telemetry.Options) { o.Ratio, o.TrustCallers = 0, true })
		h := api(t, tel.Logger)
		get(h, "/api/v1/things/200", "00-00000000000000000000000000000001-00f067aa0ba902b7-00")
		get(h, "/api/v1/things/200", theirs+"01")
		tree := c.Trace(t, "4bf92f3577b34da6a3ce929d0e0e4736", "GET /api/v1/things/{status}")
		assert.Len(t, c.Spans(), len(tree), "theirs, and not the one that they left out")
	})
}

// About the part of the traces that was asked for is recorded.
func TestTheRatioOfTraces(t *testing.T) {
	c := collector.New(t)
	tel, _ := seen(t, c, func(o *telemetry.Options) { o.Ratio = 0.1 })
	h := api(t, tel.Logger)
	const all = 2000
	for i := range all {
		parent := ""
		if i%2 == 0 {
			parent = theirs + "01"
		}
		get(h, "/api/v1/things/200", parent)
	}
	require.NoError(t, tel.Close(t.Context()))
	n := 0
	for _, s := range c.Spans() {
		if s.Kind == "SERVER" {
			n++
		}
	}
	assert.InDelta(t, all/10, n, 70, "5 standard deviations")
}

// A collector that takes connections and never answers delays nobody: neither requests nor the end of the process.
func TestAHangingCollectorDelaysNobody(t *testing.T) {
	c := collector.NewHanging(t)
	tel, _ := seen(t, c, func(o *telemetry.Options) { o.Level = slog.LevelInfo })
	h := api(t, tel.Logger)
	const all = 4000 // more than the queues hold
	took := make([]time.Duration, all)
	for i := range took {
		began := time.Now()
		get(h, "/api/v1/things/200", "")
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	// An export gives up after five seconds: who waited for one would be that slow. On a busy machine the rest takes its time.
	assert.Less(t, took[all*99/100], 500*time.Millisecond, "p99")
	assert.Less(t, took[all-1], 4*time.Second, "the slowest")
	_, _ = scrape(t, tel.Page, "") // nor is the page behind it

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = tel.Close(ctx) // what is queued is lost, and says so
	assert.Less(t, time.Since(began), 5*time.Second)
}

// PM-03: who asks for OpenMetrics gets the trace of one request with each bucket.
func TestExemplarsNameTraces(t *testing.T) {
	c := collector.New(t)
	tel, _ := seen(t, c, func(*telemetry.Options) {})
	get(api(t, tel.Logger), "/api/v1/things/200", theirs+"01")
	text, _ := scrape(t, tel.Page, "application/openmetrics-text; version=1.0.0")
	found := false
	for line := range strings.SplitSeq(text, "\n") {
		found = found || strings.HasPrefix(line, "http_request_duration_seconds_bucket{") && strings.Contains(line, `# {`) &&
			strings.Contains(line, `trace_id="4bf92f3577b34da6a3ce929d0e0e4736"`)
	}
	assert.True(t, found, text)
}

// A batch's span is in the first trace that is sampled, and linked to the others.
func TestABatchIsLinkedToAllItsTraces(t *testing.T) {
	c := collector.New(t)
	_, _ = seen(t, c, func(*telemetry.Options) {})
	other := "00-11111111111111111111111111111111-2222222222222222-"
	ctx, span := telemetry.Join(t.Context(), trace.SpanKindConsumer, "batch", "", "rubbish", other+"00", theirs+"01", other+"01")
	require.True(t, span.Recording())
	assert.Contains(t, telemetry.Within(ctx, theirs+"01"), "00-4bf92f3577b34da6a3ce929d0e0e4736-", "work for the first one is in it")
	assert.Equal(t, other+"01", telemetry.Within(ctx, other+"01"), "work for the other one is not")
	_, inside := telemetry.Join(ctx, trace.SpanKindInternal, "elsewhere", other+"01")
	inside.End()
	_, nothing := telemetry.Join(t.Context(), trace.SpanKindConsumer, "batch", other+"00")
	assert.False(t, nothing.Recording())
	span.End()

	tree := c.Trace(t, "4bf92f3577b34da6a3ce929d0e0e4736", "batch")
	assert.Equal(t, "00f067aa0ba902b7", tree[0].Parent)
	assert.Equal(t, []string{"2222222222222222"}, tree[0].Links)
	elsewhere := c.Trace(t, "11111111111111111111111111111111", "elsewhere")
	assert.Equal(t, "2222222222222222", elsewhere[0].Parent)
	assert.Equal(t, []string{tree[0].ID}, elsewhere[0].Links, "and leads back to the batch")
}
