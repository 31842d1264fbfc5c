package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"

	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// secret is a setting that nothing prints.
type secret = telemetry.Secret

// telemetry is how this process is seen, by OpenTelemetry's conventions.
func (c config) telemetry() telemetry.Options {
	instance := c.AzureInstance
	if instance == "" {
		instance = uuid.NewString()
	}
	resource := []attribute.KeyValue{
		attribute.String("service.name", "order-catalog"), attribute.String("service.version", version),
		attribute.String("service.instance.id", instance),
	}
	if c.AzureSite != "" {
		resource = append(resource, attribute.String("cloud.provider", "azure"), attribute.String("cloud.platform", "azure.functions"),
			attribute.String("cloud.region", c.AzureRegion))
	}
	return telemetry.Options{
		Output: os.Stdout, Level: c.LogLevel, Fields: logFields,
		Push: c.OTLPEndpoint != "" && !c.OTELDisabled, Traces: c.TracesExporter == "otlp", Metrics: c.MetricsExporter == "otlp", Logs: c.LogsExporter == "otlp",
		Ratio: c.TraceRatio, TrustCallers: c.TraceTrustCallers, Resource: resource,
	}
}

// logFields are what every log line says of the unit of work that it belongs to.
func logFields(ctx context.Context) []slog.Attr {
	if u, ok := ctx.Value(unitKey{}).(*unit); ok {
		return []slog.Attr{slog.String("invocation_id", u.invocation)}
	}
	if id := rest.From(ctx).Invocation(); id != "" {
		return []slog.Attr{slog.String("invocation_id", id)}
	}
	return nil
}

// unit is one invocation of a trigger, for its line in the log.
type unit struct {
	invocation, function string
	began                time.Time
	notes                []slog.Attr
}

type unitKey struct{}

// note adds to the invocation's line. It is called before the work begins, by nobody else at the same time.
func note(ctx context.Context, a slog.Attr) {
	if u, ok := ctx.Value(unitKey{}).(*unit); ok {
		u.notes = append(u.notes, a)
	}
}

// tell writes the invocation's line. Timers run all day whether there is something to do or not: theirs are a level lower.
func (u *unit) tell(ctx context.Context, logger *slog.Logger, timer bool, err error) {
	level := slog.LevelInfo
	if timer {
		level = slog.LevelDebug
	}
	if !logger.Enabled(ctx, level) {
		return
	}
	logger.LogAttrs(ctx, level, "invocation", append([]slog.Attr{
		slog.String("function", u.function), slog.Bool("failed", err != nil),
		slog.Float64("duration_ms", float64(time.Since(u.began).Microseconds())/1000),
	}, u.notes...)...)
}

// attributes are an invocation's, for its span.
func (in invocation) attributes(kind string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("faas.trigger", kind), attribute.String("faas.name", in.Function), attribute.String("faas.invocation_id", in.ID),
	}
}
