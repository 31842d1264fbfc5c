package orders

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
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
	var errs [8]error
	l.metrics.size, errs[0] = meter.Float64Histogram("order_lane_batch_size", metric.WithDescription("Orders and cancellations of a batch."),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256))
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
	_, errs[7] = meter.Int64ObservableGauge("stock_hot_queue_depth", metric.WithDescription("Orders and cancellations that wait for the same product, of the product with most."),
		metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
			out.Observe(l.hottest())
			return nil
		}))
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("making the lane's metrics: %w", err)
	}
	// A counter that was never added to is not shown; alerts look at these before they count anything.
	ctx := context.Background()
	l.metrics.fallbacks.Add(ctx, 0)
	for _, k := range []kind{placing, cancelling} {
		l.metrics.expired.Add(ctx, 0, k.attribute)
		l.metrics.full.Add(ctx, 0, k.attribute)
	}
	return nil
}

// hottest counts when metrics are read; at most a thousand wait.
func (l *lane) hottest() (most int64) {
	l.mu.Lock()
	waiting := slices.Clone(l.waiting)
	l.mu.Unlock()
	depth := make(map[uuid.UUID]int64)
	for _, w := range waiting {
		n := needs{products: make(map[uuid.UUID]struct{})}
		w.needs(&n)
		for product := range n.products {
			depth[product]++
			most = max(most, depth[product])
		}
	}
	return most
}

func (m laneMetrics) committed(ctx context.Context, batch []work, began time.Time) {
	m.size.Record(ctx, float64(len(batch)))
	m.commit.Record(ctx, time.Since(began).Seconds())
	for _, w := range batch {
		m.wait.Record(ctx, began.Sub(w.self().came).Seconds(), w.kind().attribute)
	}
}
