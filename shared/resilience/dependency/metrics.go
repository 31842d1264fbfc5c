package dependency

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Watch shows the breaker in metrics until stop is called. A process shows one of a name.
func (b *Breaker) Watch() (stop func(), err error) {
	meter := otel.Meter("dependency")
	var errs [3]error
	var state metric.Int64ObservableGauge
	var opened, refused metric.Int64ObservableCounter
	state, errs[0] = meter.Int64ObservableGauge("breaker_state",
		metric.WithDescription("By dependency: 0 it is asked, 1 one call probes it, 2 it is not asked because it did not answer."))
	opened, errs[1] = meter.Int64ObservableCounter("breaker_opened_total",
		metric.WithDescription("Times that a dependency stopped being asked, because it did not answer."))
	refused, errs[2] = meter.Int64ObservableCounter("breaker_refused_total",
		metric.WithDescription("Calls that were not made because their dependency does not answer."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making the metrics of a breaker: %w", err)
	}
	name := metric.WithAttributeSet(attribute.NewSet(attribute.String("dependency", b.policy.Name)))
	return watching(meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		out.ObserveInt64(state, int64(b.State()), name)
		out.ObserveInt64(opened, b.opened.Load(), name)
		out.ObserveInt64(refused, b.refused.Load(), name)
		return nil
	}, state, opened, refused))
}

// Watch shows the retries in metrics until stop is called. A process shows those of a name once.
func (r *Retrier) Watch() (stop func(), err error) {
	meter := otel.Meter("dependency")
	retries, err := meter.Int64ObservableCounter("dependency_retries_total",
		metric.WithDescription("Calls that were made again, or were denied it by the budget of a tenth."))
	if err != nil {
		return nil, fmt.Errorf("making the metrics of retries: %w", err)
	}
	made, denied := r.label("made"), r.label("denied")
	return watching(meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		out.ObserveInt64(retries, r.made.Load(), made)
		out.ObserveInt64(retries, r.denied.Load(), denied)
		return nil
	}, retries))
}

func (r *Retrier) label(outcome string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("dependency", r.policy.Name), attribute.String("outcome", outcome)))
}

func watching(registration metric.Registration, err error) (stop func(), failed error) {
	if err != nil {
		return nil, fmt.Errorf("watching a dependency: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil // ours never fails to
}
