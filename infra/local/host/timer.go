package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/company/order-catalog-service/infra/local/host/app"
)

// timer runs one function on its schedule, one run at a time: the next occurrence is looked up after the run, so a
// long run swallows those that came meanwhile. A failed run counts as one.
type timer struct {
	function string
	trigger  *app.TimerTrigger
	file     string // of the status; empty when none is kept
	run      func(ctx context.Context, data, metadata map[string]any) error
	work     context.Context // of the runs, which outlives the loop's
	log      func(level slog.Level, message string, attrs ...slog.Attr)
	status   *scheduleStatus
}

func newTimer(j *job, function string, trigger *app.TimerTrigger) *timer {
	t := &timer{
		function: function, trigger: trigger, work: j.ctx,
		run: func(ctx context.Context, data, metadata map[string]any) error {
			return j.invoke(ctx, function, data, metadata)
		},
		log: func(level slog.Level, message string, attrs ...slog.Attr) {
			j.log("Host.Triggers.Timer", level, message, append(attrs, slog.String("function", function))...)
		},
	}
	if trigger.Monitored {
		t.file = statusFile(j.host.options.StateDir, function)
	}
	return t
}

// scheduleStatus is what a monitored timer knows of its runs; the file holds what the real host's blob holds.
type scheduleStatus struct {
	Last        stamp
	Next        stamp
	LastUpdated stamp
}

// stamp is a time in .NET's round-trip form: seven digits at most, and +00:00.
type stamp struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return plainJSON(s.UTC().Format("2006-01-02T15:04:05.9999999+00:00"))
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *stamp) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &s.Time); err != nil {
		return fmt.Errorf("a timer's status: %w", err)
	}
	return nil
}

type timerInfo struct {
	Schedule       struct{ AdjustForDST bool }
	ScheduleStatus *scheduleStatus
	IsPastDue      bool
}

func (t *timer) data(pastDue bool) map[string]any {
	info := timerInfo{ScheduleStatus: t.status, IsPastDue: pastDue}
	info.Schedule.AdjustForDST = true
	return map[string]any{t.trigger.Binding: info}
}

// loop runs until ctx ends. An occurrence that was missed while no host ran is made up for at once, however many
// there were, and told so.
func (t *timer) loop(ctx context.Context) {
	now := time.Now()
	switch missed := t.begin(now); {
	case missed:
		t.fire(now, true)
	case t.trigger.RunOnStartup:
		t.fire(now, false)
	}
	last := time.Now()
	for {
		next := t.trigger.Schedule.Next(last)
		wait := time.NewTimer(time.Until(next))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		// A timer may go off a little before the wall clock says so; the run still counts for its occurrence.
		t.fire(latest(next, time.Now()), false)
		last = latest(next, time.Now())
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// begin reads the status of former runs and tells whether an occurrence was missed.
func (t *timer) begin(now time.Time) (missed bool) {
	if t.file == "" {
		return false
	}
	stored, err := readStatus(t.file)
	if err != nil {
		t.log(slog.LevelWarn, "the timer's status can't be read and is begun anew", slog.Any("error", err))
	}
	if stored == nil {
		next := stamp{t.trigger.Schedule.Next(now)}
		t.status = &scheduleStatus{Next: next}
		t.store(scheduleStatus{Next: next, LastUpdated: stamp{now}})
		return false
	}
	t.status = stored
	from := stored.Last.Time
	if from.IsZero() {
		from = stored.LastUpdated.Time
	}
	expected := t.trigger.Schedule.Next(from)
	if !expected.Equal(stored.Next.Time) {
		// The schedule was changed since. What the new one would have missed was never promised.
		if now.After(expected) {
			expected = t.trigger.Schedule.Next(now)
		}
		t.status = &scheduleStatus{Next: stamp{expected}, LastUpdated: stamp{from}}
		t.store(*t.status)
	}
	return now.After(t.status.Next.Time)
}

// fire runs the function for the occurrence at due and notes it. The invocation logs its failure itself.
func (t *timer) fire(due time.Time, pastDue bool) {
	if err := t.run(t.work, t.data(pastDue), nil); err != nil {
		t.log(slog.LevelDebug, "the run failed; the next comes on schedule")
	}
	if t.file != "" {
		t.status = &scheduleStatus{Last: stamp{due}, Next: stamp{t.trigger.Schedule.Next(due)}, LastUpdated: stamp{due}}
		t.store(*t.status)
	}
}

// runByHand runs the function once, beside the schedule. The input arrives as metadata named like the binding.
func (t *timer) runByHand(ctx context.Context, input *string) {
	if t.file != "" {
		// Shown if it can be read; the schedule's own loop reports it if it can't.
		t.status, _ = readStatus(t.file)
	}
	metadata := map[string]any{}
	if input != nil {
		metadata[t.trigger.Binding] = *input
	}
	if err := t.run(ctx, t.data(false), metadata); err != nil {
		t.log(slog.LevelDebug, "the run by hand failed")
	}
}

func readStatus(file string) (*scheduleStatus, error) {
	text, err := os.ReadFile(file) //nolint:gosec // a file of our own folder
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // no status yet is not a mistake
	}
	if err != nil {
		return nil, fmt.Errorf("reading a timer's status: %w", err)
	}
	status := &scheduleStatus{}
	if err := json.Unmarshal(text, status); err != nil {
		return nil, fmt.Errorf("reading a timer's status in %s: %w", file, err)
	}
	return status, nil
}

// store replaces the file in one step, so that a host that is killed leaves the old status or the new one.
func (t *timer) store(status scheduleStatus) {
	err := func() error {
		text, err := plainJSON(status)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(t.file), 0o750); err != nil {
			return fmt.Errorf("its folder: %w", err)
		}
		if err := os.WriteFile(t.file+".new", text, 0o600); err != nil {
			return fmt.Errorf("writing it: %w", err)
		}
		return os.Rename(t.file+".new", t.file)
	}()
	if err != nil {
		t.log(slog.LevelError, "the timer's status can't be kept; a missed run may go unnoticed", slog.Any("error", err))
	}
}
