package redis

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/telemetry"
)

// tracer gives commands spans where their caller is traced, as the client's outermost hook. What goes through the lane
// has its spans from there: its round trips are nobody's in particular. Keys and values stay out of them.
type tracer struct{}

// DialHook implements redis.Hook.
func (tracer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (tracer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		span := traceCommand(ctx, cmd)
		err := next(ctx, cmd)
		endCommand(span, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (tracer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || !telemetry.Current(ctx).Recording() {
			return next(ctx, cmds)
		}
		_, span := telemetry.Child(ctx, trace.SpanKindClient, "PIPELINE "+strings.ToUpper(cmds[0].Name()))
		span.Set(attribute.String("db.system.name", "redis"), attribute.String("db.operation.name", "PIPELINE"),
			attribute.Int("db.operation.batch.size", len(cmds)))
		err := next(ctx, cmds)
		endCommand(span, err)
		return err
	}
}

func traceCommand(ctx context.Context, cmd redis.Cmder) telemetry.Span {
	if !telemetry.Current(ctx).Recording() {
		return telemetry.Span{}
	}
	name := strings.ToUpper(cmd.Name())
	_, span := telemetry.Child(ctx, trace.SpanKindClient, name)
	span.Set(attribute.String("db.system.name", "redis"), attribute.String("db.operation.name", name))
	if args := cmd.Args(); name == "EVALSHA" && len(args) > 1 {
		if digest, ok := args[1].(string); ok {
			span.Set(attribute.String("db.stored_procedure.name", digest))
		}
	}
	return span
}

func endCommand(span telemetry.Span, err error) {
	if !span.Recording() {
		return
	}
	var answer redis.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil):
	case errors.As(err, &answer):
		prefix, _, _ := strings.Cut(answer.Error(), " ")
		span.Set(attribute.String("db.response.status_code", prefix))
		if prefix != "NOSCRIPT" { // the script is sent whole then
			span.Fail(prefix)
		}
	case errors.Is(err, ErrDown):
		span.Fail("down")
	case errors.Is(err, ErrBusy):
		span.Fail("busy")
	default:
		span.Fail("connection")
	}
	span.End()
}
