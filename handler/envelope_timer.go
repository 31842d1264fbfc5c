package main

import (
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/telemetry"
)

// timerInfo is what the host says about one run of a timer.
type timerInfo struct {
	// IsPastDue means that the run is late. It is no reason to do more: every timer's work looks for what is due.
	IsPastDue bool
	// ScheduleStatus is nil for schedules under a minute, which the host doesn't monitor.
	ScheduleStatus *scheduleStatus
}

// scheduleStatus is the host's memory of a timer. Last is the zero time before the first run.
type scheduleStatus struct {
	Last, Next, LastUpdated time.Time
}

// onTimer runs a timer's function.
func onTimer(run func(context.Context, timerInfo) error) func(context.Context, invocation) error {
	return func(ctx context.Context, in invocation) error {
		info, err := in.timer()
		if err != nil {
			return err
		}
		ctx, span := telemetry.Enter(ctx, trace.SpanKindServer, time.Now())
		failure := "panic" // unless it ends otherwise
		defer func() { span.End(in.Function, failure, func() []attribute.KeyValue { return in.attributes("timer") }) }()
		err = run(ctx, info)
		if failure = ""; err != nil {
			failure = "failed"
		}
		return err
	}
}

// timer reads the only member of Data. Which name the binding has makes no difference.
func (in invocation) timer() (timerInfo, error) {
	if len(in.Data) != 1 {
		return timerInfo{}, &envelopeError{"Data", "has not exactly one member, the timer"}
	}
	var info timerInfo
	for name, raw := range in.Data {
		field := "Data." + name
		parts, err := members(field, unwrap(raw))
		if err != nil {
			return timerInfo{}, err
		}
		late, found, err := fields(parts).get("IsPastDue")
		if err != nil {
			return timerInfo{}, err
		}
		if found {
			if err := json.Unmarshal(unwrap(late), &info.IsPastDue); err != nil {
				return timerInfo{}, &envelopeError{field + ".IsPastDue", "is neither true nor false"}
			}
		}
		if info.ScheduleStatus, err = status(field+".ScheduleStatus", parts); err != nil {
			return timerInfo{}, err
		}
	}
	return info, nil
}

func status(field string, timer fields) (*scheduleStatus, error) {
	raw, found, err := timer.get("ScheduleStatus")
	if err != nil || !found {
		return nil, err
	}
	parts, err := members(field, unwrap(raw))
	if err != nil {
		return nil, err
	}
	var s scheduleStatus
	for name, at := range map[string]*time.Time{"Last": &s.Last, "Next": &s.Next, "LastUpdated": &s.LastUpdated} {
		raw, found, err := fields(parts).get(name)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		if *at, err = moment(field+"."+name, unwrap(raw)); err != nil {
			return nil, err
		}
	}
	return &s, nil
}
