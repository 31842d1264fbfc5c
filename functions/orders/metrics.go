package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// kind is what a piece of the lane's work is called in metrics.
type kind struct{ attribute metric.MeasurementOption }

var (
	placing    = kind{metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", "place")))}
	cancelling = kind{metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", "cancel")))}
)

type laneMetrics struct {
	size, wait, commit       metric.Float64Histogram
	expired, fallbacks, full metric.Int64Counter
}

func (l *lane) watch(meter metric.Meter) error {
	var errs [7]error
	l.metrics.size, errs[0] = meter.Float64Histogram("order_lane_batch_size", metric.WithDescription("Orders and cancellations of a batch."),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128))
	l.metrics.wait, errs[1] = meter.Float64Histogram("order_lane_wait_seconds", metric.WithDescription("From arrival to the begin of the batch, by kind."),
		metric.WithExplicitBucketBoundaries(.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	l.metrics.commit, errs[2] = meter.Float64Histogram("order_lane_commit_seconds", metric.WithDescription("A batch's transaction."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	l.metrics.expired, errs[3] = meter.Int64Counter("order_lane_expired_total", metric.WithDescription("Orders and cancellations whose caller's time was over before their turn, by kind."))
	l.metrics.fallbacks, errs[4] = meter.Int64Counter("order_lane_fallbacks_total", metric.WithDescription("Batches that failed and were committed one by one."))
	l.metrics.full, errs[5] = meter.Int64Counter("order_lane_full_total", metric.WithDescription("Orders and cancellations that found the lane full, by kind."))
	_, errs[6] = meter.Int64ObservableGauge("order_lane_depth", metric.WithDescription("Orders and cancellations that wait for a batch."),
		metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			out.Observe(int64(len(l.waiting)))
			return nil
		}))
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("making the lane's metrics: %w", err)
	}
	return nil
}

func (m laneMetrics) committed(ctx context.Context, batch []work, began time.Time) {
	m.size.Record(ctx, float64(len(batch)))
	m.commit.Record(ctx, time.Since(began).Seconds())
	for _, w := range batch {
		m.wait.Record(ctx, began.Sub(w.self().came).Seconds(), w.kind().attribute)
	}
}
