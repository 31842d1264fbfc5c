package resilience

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

var labels = func() (out [classes]metric.MeasurementOption) {
	for c := range out {
		out[c] = metric.WithAttributeSet(attribute.NewSet(attribute.String("class", names[c])))
	}
	return out
}()

// Watch shows the limiter's state. Called once, before the first Enter.
func (l *Limiter) Watch(meter metric.Meter) error {
	var errs [6]error
	var limit, inFlight, waiting, held metric.Int64ObservableGauge
	var refused metric.Int64ObservableCounter
	limit, errs[0] = meter.Int64ObservableGauge("admission_limit",
		metric.WithDescription("How many requests of a class may be in flight, when there are none of another."))
	inFlight, errs[1] = meter.Int64ObservableGauge("admission_in_flight", metric.WithDescription("Requests being worked on, by class."))
	waiting, errs[2] = meter.Int64ObservableGauge("admission_waiting", metric.WithDescription("Requests that wait for a permit."))
	held, errs[5] = meter.Int64ObservableGauge("admission_held", metric.WithDescription("Requests without room that are kept before they hear so."))
	refused, errs[3] = meter.Int64ObservableCounter("admission_refused_total",
		metric.WithDescription("Requests refused, by class and reason: late, gone, crowded or shed."))
	l.wait, errs[4] = meter.Float64Histogram("admission_wait_seconds",
		metric.WithDescription("How long those waited that had to, by class."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .15, .2, .25))
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("making the admission metrics: %w", err)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		all := 0
		for c := range Class(classes) {
			all += l.waiting[c].Len()
			out.ObserveInt64(limit, int64(most(c, l.limit)), labels[c])
			out.ObserveInt64(inFlight, int64(l.inFlight[c]), labels[c])
			for why, n := range l.refused[c] {
				if reason(why) == crowded {
					n += l.away[c].Load()
				}
				out.ObserveInt64(refused, n, metric.WithAttributes(
					attribute.String("class", names[c]), attribute.String("reason", reasonNames[why])))
			}
		}
		out.ObserveInt64(waiting, int64(all))
		out.ObserveInt64(held, l.held.Load())
		return nil
	}, limit, inFlight, waiting, held, refused)
	if err != nil {
		return fmt.Errorf("watching the admission limit: %w", err)
	}
	return nil
}
