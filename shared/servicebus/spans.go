package servicebus

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/telemetry"
)

// spans are those of the messages of a send; nil for those that nobody traces.
type spans []telemetry.Span

// trace starts a span for each message whose trace is sampled, and has the message go on with it.
func (s *Sender) trace(ctx context.Context, messages []Message) ([]Message, spans) {
	if !telemetry.Tracing() {
		return messages, nil
	}
	var started spans
	for i, m := range messages {
		if !sampled(m.Trace) {
			continue
		}
		under, span := telemetry.Join(ctx, trace.SpanKindProducer, "send "+s.entity, m.Trace)
		if !span.Recording() {
			continue
		}
		if started == nil {
			messages, started = slices.Clone(messages), make(spans, len(messages)) // they are the caller's
		}
		span.Set(Attributes("send", s.entity, len(messages))...)
		span.Set(attribute.String("messaging.message.id", m.ID), attribute.String("app.message.subject", m.Subject))
		messages[i].Trace, started[i] = telemetry.TraceParent(under), span
	}
	return messages, started
}

// end ends the spans of a send that got as far as sent. What was behind a failure was not sent: its spans are forgotten.
func (s spans) end(sent int, err error) {
	for i, span := range s {
		switch {
		case i < sent:
			span.End()
		case i == sent && err != nil:
			kind := "broker"
			if errors.Is(err, ErrRefused) {
				kind = "refused"
			}
			span.Fail(kind)
			span.End()
		}
	}
}

// Attributes say what is done with messages of an entity (OpenTelemetry's conventions for messaging).
func Attributes(operation, entity string, n int) []attribute.KeyValue {
	list := []attribute.KeyValue{
		attribute.String("messaging.system", "servicebus"), attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.operation.type", operation), attribute.String("messaging.destination.name", entity),
	}
	if n > 1 {
		list = append(list, attribute.Int("messaging.batch.message_count", n))
	}
	return list
}

// sampled looks at a traceparent's flags, which are its end.
func sampled(traceparent string) bool { return strings.HasSuffix(traceparent, "1") }

// Trace is the trace context that a message came with, "" for none.
func (r Received) Trace() string {
	for _, name := range []string{"traceparent", "Diagnostic-Id"} {
		if text, ok := r.ApplicationProperties[name].(string); ok {
			return text
		}
	}
	return ""
}

// Traces are the trace contexts of a batch.
func Traces(messages []Received) []string {
	list := make([]string, len(messages))
	for i, m := range messages {
		list[i] = m.Trace()
	}
	return list
}
