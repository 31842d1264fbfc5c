package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// attempt posts a leased delivery and settles what comes of it. When ctx ends during the POST nothing is settled, as
// that says nothing about the endpoint: the lease runs out, and the delivery is made again, same id, same bytes.
func (w *Webhooks) attempt(ctx context.Context, l *lease) error {
	ctx, span := telemetry.Join(ctx, trace.SpanKindInternal, "webhook.attempt", traceOf(l.payload))
	defer span.End()
	span.Set(attribute.String("app.event.id", l.event.String()), attribute.String("app.endpoint.id", l.endpoint.String()), attribute.Int("app.attempt", l.n))
	o, err := w.post(ctx, l.url, l.event, l.at, l.payload, l.keys)
	if err != nil {
		span.Fail("cut off")
		return err
	}
	return w.settle(context.WithoutCancel(ctx), l, o)
}

// post makes one POST as Standard Webhooks says. The id is the event's, for ever; the time is the attempt's, by the
// database's clock, as receivers refuse what is off by minutes. The body is JSON and says so: it is a CloudEvent in
// structured mode, but frameworks parse application/cloudevents+json only when told to (WH-01).
func (w *Webhooks) post(ctx context.Context, url string, event uuid.UUID, at time.Time, payload []byte, keys []signature.Key) (outcome, error) {
	header := http.Header{
		"Content-Type": {"application/json; charset=utf-8"},
		"Accept":       {"*/*"},
		"User-Agent":   {"order-catalog-webhooks/1.0 (Standard Webhooks)"},
	}
	if err := signature.Sign(header, event.String(), at, payload, keys...); err != nil {
		return outcome{}, fmt.Errorf("signing event %s: %w", event, err)
	}
	started := time.Now()
	posting, span := telemetry.Child(ctx, trace.SpanKindClient, http.MethodPost)
	defer span.End()
	if parent := telemetry.Within(posting, traceOf(payload)); parent != "" {
		header["Traceparent"] = []string{parent}
	}
	res, err := w.Egress.Post(posting, url, header, payload)
	if ctx.Err() != nil && err != nil {
		return outcome{}, fmt.Errorf("posting event %s: %w", event, ctx.Err())
	}
	var known *egress.Error
	if errors.As(err, &known) {
		w.Logger.DebugContext(ctx, "webhook attempt without an answer", "event", event, "error", known.Reason, "cause", known.Cause)
	}
	o := judge(res, err, at.Add(time.Since(started)))
	span.Set(attribute.String("http.request.method", http.MethodPost), attribute.String("server.address", hostOf(url)))
	if res.Status != 0 {
		span.Set(attribute.Int("http.response.status_code", res.Status))
	}
	switch {
	case known != nil:
		span.Fail("no answer")
	case res.Status >= http.StatusBadRequest:
		span.Fail(strconv.Itoa(res.Status))
	}
	w.metrics.duration.Record(ctx, o.latency.Seconds())
	return o, nil
}

// traceOf is the trace context in a stored event (CloudEvents' extension), "" for none. Who made the event is a request
// of long ago, perhaps; what is done for it belongs to that request's trace all the same.
func traceOf(payload []byte) string {
	head, _, _ := bytes.Cut(payload, []byte(`,"data":`)) // behind it is what customers wrote
	_, rest, _ := bytes.Cut(head, []byte(`"traceparent":"`))
	text, _, closed := bytes.Cut(rest, []byte(`"`))
	if !closed {
		return ""
	}
	return string(text)
}

// hostOf is the part of an endpoint's address that is worth a look; the rest may hold what its owner keeps secret.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// probe asks a disabled endpoint whether it is there again, with a test event. A 2xx enables it; what it missed stays
// dead until its owner replays it.
func (w *Webhooks) probe(ctx context.Context, endpoint uuid.UUID) error {
	seat := w.bulkhead.enter(endpoint)
	if seat == nil {
		return nil
	}
	defer seat.leave()
	if !seat.begin(ctx, w.Limits.Patience) {
		return nil // it is asked again in an hour
	}
	defer seat.end()
	const read = `/* Webhooks.Probe */
SELECT url, version, secret, CASE WHEN previous_expires_at > now() THEN previous_secret END, clock_timestamp()
FROM webhook_endpoints WHERE id = $1 AND status = 'disabled' AND probe_at IS NOT NULL`
	var (
		url          string
		version      int64
		sealed, past []byte
		now          time.Time
	)
	err := w.pool.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, read, endpoint).Scan(&url, &version, &sealed, &past, &now)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // enabled or deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("probing webhook endpoint %s: %w", endpoint, err)
	}
	keys, err := openKeys(w.Box, endpoint, sealed, past)
	if err != nil {
		return err
	}
	event, payload, err := testEvent(endpoint, version, testType, now)
	if err != nil {
		return err
	}
	o, err := w.post(ctx, url, event, now, payload, keys)
	if err != nil {
		return err
	}
	switch o.kind {
	case succeeded:
		err = w.probed(ctx, endpoint, version, `/* Webhooks.Reenable */
UPDATE webhook_endpoints SET status = 'enabled', disabled_reason = NULL, version = version + 1, updated_at = now(), consecutive_failures = 0,
       failing_since = NULL, paused_until = NULL, probe_at = NULL
WHERE id = $1 AND version = $2 AND status = 'disabled' AND probe_at IS NOT NULL`)
	case goneForever:
		err = w.probed(ctx, endpoint, version, `/* Webhooks.EndProbes */
UPDATE webhook_endpoints SET probe_at = NULL WHERE id = $1 AND version = $2 AND status = 'disabled'`)
	default:
	}
	w.metrics.count(ctx, "probe")
	return err
}

func (w *Webhooks) probed(ctx context.Context, endpoint uuid.UUID, version int64, sql string) error {
	err := w.pool.Do(context.WithoutCancel(ctx), func(conn *pgx.Conn) error {
		done, err := conn.Exec(ctx, sql, endpoint, version)
		if err == nil && done.RowsAffected() > 0 {
			w.Logger.InfoContext(ctx, "a disabled webhook endpoint answered its probe", "endpoint", endpoint)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("settling the probe of webhook endpoint %s: %w", endpoint, err)
	}
	return nil
}
