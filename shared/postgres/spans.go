package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/telemetry"
)

// statementSpan is a round trip's span, and for a batch the place where the next statement's begins. How long a statement
// of a batch took can't be seen from here: the server may send all results at its end. So a statement's span lasts from
// when the result before it was read to when its own was, and only their sum, the batch, is time that was spent. What a
// trace shows is which statements there were, in which order, and which one failed. nil is what nobody traces.
//
// The text of a statement is not in its span: its name finds it in the source, and every value is a parameter anyway.
type statementSpan struct {
	ctx  context.Context //nolint:containedctx // of the batch, for the spans of its statements
	span telemetry.Span
	last time.Time
}

// traceStatement starts the span of one statement, if ctx is traced.
func traceStatement(ctx context.Context, conn *pgx.Conn, sql string) *statementSpan {
	name, operation := nameOf(sql)
	if name == "" {
		name = operation
	}
	_, span := telemetry.Child(ctx, trace.SpanKindClient, name)
	if !span.Recording() {
		return nil
	}
	describe(span, conn, name, operation)
	return &statementSpan{span: span}
}

// traceBatch starts the span of a round trip with n statements, the first with a name being sql.
func traceBatch(ctx context.Context, conn *pgx.Conn, sql string, n int) *statementSpan {
	if !telemetry.Current(ctx).Recording() {
		return nil
	}
	name, _ := nameOf(sql)
	if name == "" {
		name = "statements"
	}
	ctx, span := telemetry.Child(ctx, trace.SpanKindClient, "BATCH "+name)
	describe(span, conn, name, "BATCH")
	span.Set(attribute.Int("db.operation.batch.size", n))
	return &statementSpan{ctx: ctx, span: span, last: time.Now()}
}

func describe(span telemetry.Span, conn *pgx.Conn, name, operation string) {
	span.Set(attribute.String("db.system.name", "postgresql"), attribute.String("db.query.summary", name), attribute.String("db.operation.name", operation))
	if conn != nil {
		c := conn.Config()
		span.Set(attribute.String("db.namespace", c.Database), attribute.String("server.address", c.Host), attribute.Int("server.port", int(c.Port)))
	}
}

// statement adds the span of a batch's statement whose result was read just now.
func (s *statementSpan) statement(sql string, err error) {
	if s == nil {
		return
	}
	name, operation := nameOf(sql)
	if name == "" {
		name = operation
	}
	_, span := telemetry.ChildAt(s.ctx, trace.SpanKindClient, name, s.last)
	span.Set(attribute.String("db.system.name", "postgresql"), attribute.String("db.query.summary", name), attribute.String("db.operation.name", operation))
	s.last = time.Now()
	(&statementSpan{span: span}).end(err)
}

func (s *statementSpan) end(err error) {
	if s == nil {
		return
	}
	switch code := Code(err); {
	case err == nil:
	case code != "":
		s.span.Set(attribute.String("db.response.status_code", code))
		s.span.Fail(code)
	default:
		s.span.Fail("connection")
	}
	s.span.End()
}

// nameOf is a statement's name in its leading comment, "" for none, and its first keyword.
func nameOf(sql string) (name, operation string) {
	sql = strings.TrimSpace(sql)
	if rest, ok := strings.CutPrefix(sql, "/* "); ok {
		if n, text, ok := strings.Cut(rest, " */"); ok {
			name, sql = n, strings.TrimSpace(text)
		}
	}
	if end := strings.IndexAny(sql, " \n\t("); end > 0 {
		sql = sql[:end]
	}
	return name, strings.ToUpper(sql)
}
