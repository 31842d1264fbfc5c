package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exportTime bounds one export, so that a collector that hangs holds one goroutine and not for long.
const exportTime = 5 * time.Second

// push is the way to a collector; its zero value sends nothing.
type push struct {
	resource *resource.Resource
	reader   metric.Reader
	records  slog.Handler // nil: none
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
			sdktrace.WithSampler(keeping{sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))}),
			sdktrace.WithBatcher(exporter, sdktrace.WithExportTimeout(exportTime)), // full: it drops
		)
		state.Store(&tracing{tracer: provider.Tracer("order-catalog"), ratio: o.Ratio, trust: o.TrustCallers})
		p.ends = append(p.ends, provider.Shutdown)
	}
	if o.Metrics {
		exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithTimeout(exportTime), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))
		if err != nil {
			return p, fmt.Errorf("setting up the push of metrics: %w", err)
		}
		p.reader = metric.NewPeriodicReader(exporter, metric.WithTimeout(exportTime))
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
