package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exportTime bounds one export, so that a collector that hangs holds one goroutine and not for long.
const exportTime = 5 * time.Second

// push is the way to a collector; its zero value sends nothing.
type push struct {
	resource *resource.Resource
	metrics  metric.Exporter // nil: none
	records  slog.Handler    // nil: none
	ends     []func(context.Context) error
}

// newPush makes the exporters. None of them connects here, so a collector that is away is no error.
func newPush(ctx context.Context, o Options) (p push, err error) {
	if !o.Push {
		return p, nil
	}
	// What the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) rules.
	p.resource, err = resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(o.Resource...), resource.WithFromEnv())
	if err != nil {
		return p, fmt.Errorf("describing this process to the collector: %w", err)
	}
	if o.Traces {
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithTimeout(exportTime), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
		if err != nil {
			return p, fmt.Errorf("setting up traces: %w", err)
		}
		provider := sdktrace.NewTracerProvider(
			sdktrace.WithResource(p.resource), sdktrace.WithIDGenerator(ids{}),
			sdktrace.WithSampler(sdktrace.AlwaysSample()),                          // Enter has said so
			sdktrace.WithBatcher(exporter, sdktrace.WithExportTimeout(exportTime)), // full: it drops
		)
		state.Store(&tracing{tracer: provider.Tracer("order-catalog"), ratio: o.Ratio, trust: o.TrustCallers})
		p.ends = append(p.ends, provider.Shutdown)
	}
	if o.Metrics {
		p.metrics, err = otlpmetrichttp.New(ctx, otlpmetrichttp.WithTimeout(exportTime), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))
		if err != nil {
			return p, fmt.Errorf("setting up the push of metrics: %w", err)
		}
	}
	if o.Logs {
		exporter, err := otlploghttp.New(ctx, otlploghttp.WithTimeout(exportTime), otlploghttp.WithRetry(otlploghttp.RetryConfig{}))
		if err != nil {
			return p, fmt.Errorf("setting up the push of logs: %w", err)
		}
		provider := sdklog.NewLoggerProvider(sdklog.WithResource(p.resource),
			sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter, sdklog.WithExportTimeout(exportTime))))
		p.records = otelslog.NewHandler("order-catalog", otelslog.WithLoggerProvider(provider))
		p.ends = append(p.ends, provider.Shutdown)
	}
	return p, nil
}

// relay pushes what another reader has: a second reader of the meter would have every request counted twice.
type relay struct{ from metric.Reader }

// Produce implements metric.Producer. A source that fails, as when the database is away, hides nothing else; an error from
// here would, and just when somebody looks.
func (r relay) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	var all metricdata.ResourceMetrics
	if err := r.from.Collect(ctx, &all); err != nil {
		otel.Handle(err)
	}
	return all.ScopeMetrics, nil
}

// relayed pushes the metrics of a reader once in a while, until the returned function is called, and then once more.
func (p *push) relayed(from metric.Reader) (end func(context.Context) error) {
	reader := metric.NewPeriodicReader(p.metrics, metric.WithTimeout(exportTime), metric.WithProducer(relay{from}))
	return metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(p.resource)).Shutdown
}
