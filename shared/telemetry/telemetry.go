// Package telemetry sets up how the service is seen: structured logs on standard output and OpenTelemetry
// metrics in Prometheus' text form.
//
// Packages take their instruments from the global meter (otel.Meter) and name them as Prometheus does; nothing
// here knows a metric's name. Setup must run before they are made.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Logger writes JSON lines at level and above. The Functions host takes lines on standard output as records of
// level Information and those on standard error as errors, so everything goes to standard output and carries its
// own level.
func Logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// Metrics makes the global meter and returns the page that shows its instruments.
func Metrics() (http.Handler, func(context.Context) error, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithoutSuffixes),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("setting up metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithCardinalityLimit(2000))
	otel.SetMeterProvider(provider)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		slog.Warn("metrics are not complete", "error", err) // by itself it writes to standard error
	}))
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError, // a database that is away must not hide the rest
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
	})
	return page, provider.Shutdown, nil
}
