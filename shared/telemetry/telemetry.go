// Package telemetry is how the service is seen from outside: structured logs on standard output, metrics in Prometheus'
// text form, and traces; where an OTLP endpoint is set, all three are pushed there too, since nothing can scrape
// instances that come and go.
//
// Packages take their instruments from the global meter (otel.Meter) and name them as Prometheus does, and start spans
// with Child, Join and Enter; nothing here knows a metric's or a span's name. Setup must run before they are made.
//
// Nothing waits for a collector. Spans and records go into bounded queues that a goroutine empties; what does not fit
// while the collector is slow or away is dropped. Without an endpoint there are no spans at all, and starting one costs a
// look at a pointer.
//
// Reading order: trace.go for spans and how they are sampled, log.go for what happens to a record, push.go for OTLP.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Options say what is seen and where it goes.
type Options struct {
	Output io.Writer // of log lines
	Level  slog.Level
	// Fields are added to every record: what ctx says of the unit of work. nil adds nothing.
	Fields func(context.Context) []slog.Attr

	// Push is false where no collector is named (OTEL_EXPORTER_OTLP_ENDPOINT); address, headers, timeouts and queues are
	// read by the exporters themselves, from the variables that OpenTelemetry defines.
	Push                  bool
	Traces, Metrics, Logs bool // what is pushed
	// Ratio is the part of the traces begun here that is sampled.
	Ratio float64
	// TrustCallers has the sampled flag of a caller's traceparent decide. Otherwise it names the trace and decides nothing,
	// or any client could have us record everything.
	TrustCallers bool
	// Resource is what the process is, by OpenTelemetry's conventions.
	Resource []attribute.KeyValue
}

// Telemetry is what Setup made.
type Telemetry struct {
	Logger *slog.Logger
	Page   http.Handler // the metrics, for Prometheus
	ends   []func(context.Context) error
}

// Setup makes the logger, the global meter and the tracer.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{}
	push, err := newPush(ctx, o)
	if err != nil {
		return nil, err
	}
	t.ends = append(t.ends, push.ends...)
	t.Logger = newLogger(o, push.records)
	page, reader, end, err := newMeter()
	if err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	if push.metrics != nil {
		t.ends = append(t.ends, push.relayed(reader))
	}
	t.Page, t.ends = page, append(t.ends, end)
	return t, nil
}

// Close sends what is queued, for as long as ctx lets it, and ends tracing.
func (t *Telemetry) Close(ctx context.Context) error {
	state.Store(nil)
	errs := make([]error, len(t.ends))
	for i, end := range t.ends {
		errs[i] = end(ctx)
	}
	return errors.Join(errs...)
}

// failures are those of telemetry itself: a collector that is away fails every export. Each is told once in tellEvery, so
// that none hides another, and no more than tellMost in that time, as some have ports in their words.
type failures struct {
	mu    sync.Mutex
	since time.Time
	told  map[string]bool
}

const (
	tellEvery = 10 * time.Second
	tellMost  = 10
)

func (f *failures) admit(text string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.since) >= tellEvery {
		f.since, f.told = now, map[string]bool{}
	}
	if f.told[text] || len(f.told) == tellMost {
		return false
	}
	f.told[text] = true
	return true
}

// Metrics makes the global meter and returns the page that shows its instruments, and what ends it.
func Metrics() (page http.Handler, end func(context.Context) error, err error) {
	page, _, end, err = newMeter()
	return page, end, err
}

// newMeter is Metrics, and the one reader of the meter.
func newMeter() (http.Handler, metric.Reader, func(context.Context) error, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithoutSuffixes),
	)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("setting up metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithCardinalityLimit(2000))
	otel.SetMeterProvider(provider)
	var told failures
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // by itself it writes to standard error
		if told.admit(err.Error(), time.Now()) {
			slog.Warn("telemetry is not complete", "error", err)
		}
	}))
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError, // a database that is away must not hide the rest
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
	})
	return page, exporter, provider.Shutdown, nil
}
