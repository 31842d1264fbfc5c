package webhooks

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/postgres"
)

type metrics struct {
	attempts metric.Int64Counter
	disabled metric.Int64Counter
	duration metric.Float64Histogram
}

func newMetrics(pool *postgres.Pool) (m metrics, err error) {
	meter := otel.Meter("webhooks")
	var errs [7]error
	m.attempts, errs[0] = meter.Int64Counter("webhook_deliveries_total",
		metric.WithDescription("Attempts by outcome: succeeded, failed, dead (the last one), disabled (and the endpoint with it), stale, postponed, probe."))
	m.duration, errs[1] = meter.Float64Histogram("webhook_delivery_duration_seconds",
		metric.WithDescription("From an attempt's first byte to its answer."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20))
	pending, err := meter.Int64ObservableGauge("webhook_pending", metric.WithDescription("Deliveries still to be made."))
	errs[2] = err
	dead, err := meter.Int64ObservableGauge("webhook_dead", metric.WithDescription("Deliveries that nobody will make unless they are replayed."))
	errs[3] = err
	age, err := meter.Float64ObservableGauge("webhook_oldest_due_age_seconds",
		metric.WithDescription("How long the oldest delivery to a healthy endpoint has been due."))
	errs[4] = err
	m.disabled, errs[5] = meter.Int64Counter("webhook_endpoint_disabled_total", metric.WithDescription("Endpoints that were disabled because they were gone or failed for days."))
	endpoints, err := meter.Int64ObservableGauge("webhook_endpoints",
		metric.WithDescription("Endpoints by state: enabled, open (its circuit), disabled."))
	errs[6] = err
	if err := errors.Join(errs[:]...); err != nil {
		return m, fmt.Errorf("making the webhook metrics: %w", err)
	}
	m.disabled.Add(context.Background(), 0) // alerts look at it before it counts anything
	_, err = meter.RegisterCallback(func(ctx context.Context, out metric.Observer) error {
		waiting, lost, oldest, err := gauges(ctx, pool)
		if err != nil {
			return err
		}
		states, err := endpointStates(ctx, pool)
		if err != nil {
			return err
		}
		for state, n := range states {
			out.ObserveInt64(endpoints, n, metric.WithAttributeSet(attribute.NewSet(attribute.String("state", state))))
		}
		out.ObserveInt64(pending, waiting)
		out.ObserveInt64(dead, lost)
		out.ObserveFloat64(age, oldest)
		return nil
	}, pending, dead, age, endpoints)
	if err != nil {
		return m, fmt.Errorf("watching webhook deliveries: %w", err)
	}
	return m, nil
}

// gauges looks when metrics are read. Endpoints whose circuit is open are not healthy: their queue is theirs, and an
// age that they raise would hide ours.
func gauges(ctx context.Context, pool *postgres.Pool) (pending, dead int64, oldest float64, err error) {
	const sql = `/* Webhooks.Watch */
SELECT count(*), (SELECT count(*) FROM webhook_deliveries WHERE status = 'dead'),
       COALESCE(extract(epoch FROM now() - min(next_attempt_at) FILTER (WHERE next_attempt_at <= now() AND e.status = 'enabled'
           AND e.consecutive_failures < $1 AND (e.paused_until IS NULL OR e.paused_until <= now()))), 0)::float8
FROM webhook_deliveries d LEFT JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE d.status = 'pending'`
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql, threshold).Scan(&pending, &dead, &oldest)
	})
	if err != nil {
		return 0, 0, 0, fmt.Errorf("counting webhook deliveries: %w", err)
	}
	return pending, dead, oldest, nil
}

// endpointStates counts endpoints, each in one state.
func endpointStates(ctx context.Context, pool *postgres.Pool) (map[string]int64, error) {
	const sql = `/* Webhooks.WatchEndpoints */
SELECT count(*) FILTER (WHERE status = 'enabled' AND consecutive_failures < $1),
       count(*) FILTER (WHERE status = 'enabled' AND consecutive_failures >= $1), count(*) FILTER (WHERE status = 'disabled')
FROM webhook_endpoints`
	var closed, open, disabled int64
	err := pool.Do(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql, threshold).Scan(&closed, &open, &disabled) })
	if err != nil {
		return nil, fmt.Errorf("counting webhook endpoints: %w", err)
	}
	return map[string]int64{"enabled": closed, "open": open, "disabled": disabled}, nil
}

func (m metrics) count(ctx context.Context, outcome string) {
	if outcome == "disabled" {
		m.disabled.Add(ctx, 1)
	}
	m.attempts.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", outcome))))
}
