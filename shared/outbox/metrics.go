package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/postgres"
)

// Watch shows what waits to be sent: outbox_messages_pending, outbox_oldest_unpublished_seconds, outbox_parked. It looks
// when metrics are read.
func Watch(pool *postgres.Pool) error {
	const sql = `/* Outbox.Watch */
SELECT count(*), COALESCE(extract(epoch FROM now() - min(occurred_at)), 0)::float8,
       (SELECT count(*) FROM outbox_parked WHERE sent_at IS NULL)
FROM outbox WHERE processed_at IS NULL`
	meter := otel.Meter("outbox")
	pending, err := meter.Int64ObservableGauge("outbox_messages_pending", metric.WithDescription("Events stored and not yet sent."))
	if err != nil {
		return fmt.Errorf("making outbox_messages_pending: %w", err)
	}
	age, err := meter.Float64ObservableGauge("outbox_oldest_unpublished_seconds", metric.WithDescription("Age of the oldest event that is not yet sent."))
	if err != nil {
		return fmt.Errorf("making outbox_oldest_unpublished_seconds: %w", err)
	}
	parked, err := meter.Int64ObservableGauge("outbox_parked", metric.WithDescription("Events that the broker refused, with those that wait behind them."))
	if err != nil {
		return fmt.Errorf("making outbox_parked: %w", err)
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, out metric.Observer) error {
		var (
			waiting, refused int64
			oldest           float64
		)
		err := pool.Do(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&waiting, &oldest, &refused) })
		if err != nil {
			return fmt.Errorf("counting pending events: %w", err)
		}
		out.ObserveInt64(pending, waiting)
		out.ObserveFloat64(age, oldest)
		out.ObserveInt64(parked, refused)
		return nil
	}, pending, age, parked)
	if err != nil {
		return fmt.Errorf("watching the outbox: %w", err)
	}
	return nil
}
