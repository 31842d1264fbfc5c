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
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/telemetry"
	"github.com/company/order-catalog-service/tests/kit/collector"
)

func scrape(t *testing.T, page http.Handler, accept string) (string, http.Header) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, "%s", w.Body)
	return w.Body.String(), w.Header()
}

// lines is a log that is read while others write to it.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// all are the lines that were not read.
func (l lines) all() (text string) {
	for len(l) > 0 {
		text += <-l
	}
	return text
}

// PM-01, PM-02 and PM-03, with the edge's own metrics. One test, and not a parallel one: meter and log are the process's.
func TestMetricsPage(t *testing.T) {
	log := make(lines, 100)
	slog.SetDefault(telemetry.Logger(log, slog.LevelWarn))
	page, shutdown, err := telemetry.Metrics()
	require.NoError(t, err)
	defer func() { require.NoError(t, shutdown(context.Background())) }()
	api, err := rest.New(rest.Config{
		Title: "Test", Version: "1", Logger: slog.New(slog.DiscardHandler), Deadline: time.Minute,
		Ready: func(context.Context) error { return nil },
	})
	require.NoError(t, err)
	rest.Register(api, rest.Operation{ID: "x", Method: http.MethodGet, Path: "/api/v1/things/{id}", Tag: "T", Status: 200},
		func(context.Context, *struct {
			ID string `path:"id"`
		},
		) (rest.Answer, error) {
			return rest.JSON(http.StatusOK, "ok")
		})
	h := api.Handler()
	for i := range 10_000 {
		for _, path := range []string{"/api/v1/things/", "/nowhere/"} {
			r := httptest.NewRequest([]string{http.MethodGet, fmt.Sprint("M", i)}[i%2], fmt.Sprint(path, i), nil)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	depth, err := otel.Meter("test").Int64ObservableGauge("queue_depth", metric.WithDescription("Depth."))
	require.NoError(t, err)
	_, err = otel.Meter("test").RegisterCallback(func(context.Context, metric.Observer) error { return errors.New("away") }, depth)
	require.NoError(t, err)

	otel.Handle(errors.New("an export failed"))
	text, header := scrape(t, page, "")
	assert.True(t, strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4"), header.Get("Content-Type"))
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err, "Prometheus can read it")
	assert.Empty(t, problems, "and finds nothing to say about the names")
	assert.Contains(t, text, `http_requests_total{endpoint="/things/{id}",method="GET",status="200"} 5000`)
	assert.Contains(t, text, `http_requests_total{endpoint="other",method="GET",status="404"} 5000`)
	assert.Contains(t, text, "go_goroutines", "one source that fails hides nothing else")
	const away = `"level":"WARN","msg":"telemetry is not complete","error":"away"`
	assert.Equal(t, 1, strings.Count(log.all(), away), "an export that fails too hides it from nobody")
	assert.Less(t, len(regexp.MustCompile(`(?m)^http_`).FindAllString(text, -1)), 200, "10,000 addresses and 5,000 methods are few series")

	text, header = scrape(t, page, "application/openmetrics-text; version=1.0.0")
	assert.True(t, strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text"), header.Get("Content-Type"))
	assert.True(t, strings.HasSuffix(text, "# EOF\n"))

	// Whatever labels a mistake makes, the page stays bounded.
	wild, err := otel.Meter("test").Int64Counter("wild_total", metric.WithDescription("A label without bounds."))
	require.NoError(t, err)
	for i := range 5000 {
		wild.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("id", i)))
	}
	odd, err := otel.Meter("test").Int64Counter("odd_total", metric.WithDescription("A label that Prometheus can't take."))
	require.NoError(t, err)
	odd.Add(t.Context(), 1, metric.WithAttributes(attribute.String("id", "\xff")))
	text, _ = scrape(t, page, "")
	assert.LessOrEqual(t, len(regexp.MustCompile(`(?m)^wild_total`).FindAllString(text, -1)), 2000)
	assert.Contains(t, text, `otel_metric_overflow="true"`)
}

// With the database away, gauges that ask it fail. The collector gets all the others nevertheless: that is when somebody looks.
func TestASourceThatFailsHidesNothingFromTheCollector(t *testing.T) {
	c := collector.New(t)
	tel, _ := seen(t, c, func(*telemetry.Options) {})
	meter := otel.Meter("test")
	away, err := meter.Int64ObservableGauge("rows_away", metric.WithDescription("Of a database that is away."))
	require.NoError(t, err)
	_, err = meter.RegisterCallback(func(context.Context, metric.Observer) error { return errors.New("away") }, away)
	require.NoError(t, err)
	counter, err := meter.Int64Counter("steps_total", metric.WithDescription("Steps."))
	require.NoError(t, err)
	counter.Add(t.Context(), 1)
	require.NoError(t, tel.Close(t.Context()))
	assert.True(t, c.Metric("steps_total"))
	assert.False(t, c.Metric("rows_away"))
	assert.Equal(t, "test", c.Resource()["service.name"])
}

// The host takes standard output line by line: a record is one line, whatever is in it.
func TestLogLinesAreJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := telemetry.Logger(&out, slog.LevelWarn)
	logger.Info("not said")
	logger.Debug("not said")
	logger.Warn("first\nsecond", "error", errors.New("a\r\nb \u2028 \xff \"q\""), "operation", "place-order")
	logger.Error("last", "n", 7)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 2)
	for i, level := range []string{"WARN", "ERROR"} {
		var record map[string]any
		dec := json.NewDecoder(strings.NewReader(lines[i]))
		require.NoError(t, dec.Decode(&record), lines[i])
		require.ErrorIs(t, dec.Decode(&record), io.EOF)
		assert.Equal(t, level, record["level"])
		at, err := time.Parse(time.RFC3339Nano, record["time"].(string))
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), at, time.Minute)
		assert.NotEmpty(t, record["msg"])
	}
	assert.Contains(t, lines[0], `"operation":"place-order"`)
	assert.NotContains(t, lines[0], "\u2028")
}
