package host

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host/app"
)

// run is one run of a timer under test, in the bubble's time, which begins at midnight.
type run struct {
	at   string
	info timerInfo
}

// runs plays a timer for a while. Its function takes as long as takes says.
func runs(t *testing.T, expression, file string, runOnStartup bool, takes, during time.Duration) []run {
	t.Helper()
	schedule, err := app.ParseSchedule(expression)
	require.NoError(t, err)
	var all []run
	tm := &timer{
		function: "tick", file: file, work: t.Context(),
		trigger: &app.TimerTrigger{Binding: "timer", Schedule: schedule, RunOnStartup: runOnStartup, Monitored: file != ""},
		log:     func(_ slog.Level, message string, _ ...slog.Attr) { t.Log(message) },
	}
	tm.run = func(_ context.Context, data, _ map[string]any) error {
		info, ok := data["timer"].(timerInfo)
		require.True(t, ok)
		if info.ScheduleStatus != nil {
			status := *info.ScheduleStatus
			info.ScheduleStatus = &status
		}
		all = append(all, run{at: time.Now().UTC().Format("15:04:05"), info: info})
		time.Sleep(takes)
		return errors.New("a failed run counts as one")
	}
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	tm.loop(ctx)
	return all
}

func times(all []run) (at []string) {
	for _, r := range all {
		at = append(at, r.at)
	}
	return at
}

func TestTimerRunsOnSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := runs(t, "*/5 * * * * *", "", false, 0, 16*time.Second)
		assert.Equal(t, []string{"00:00:05", "00:00:10", "00:00:15"}, times(all))
		for _, r := range all {
			assert.Nil(t, r.info.ScheduleStatus, "none is kept for what comes more often than once a minute")
			assert.False(t, r.info.IsPastDue)
			assert.True(t, r.info.Schedule.AdjustForDST)
		}
	})
}

// "Never overlaps itself; next is computed after the run."
func TestTimerSwallowsWhatComesDuringARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, []string{"00:00:05", "00:00:20", "00:00:35"}, times(runs(t, "*/5 * * * * *", "", false, 12*time.Second, 36*time.Second)))
	})
}

func TestTimerRunsOnStartup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := runs(t, "0 0 * * * *", "", true, 0, time.Minute)
		assert.Equal(t, []string{"00:00:00"}, times(all))
		assert.False(t, all[0].info.IsPastDue)
	})
}

func TestTimerStatus(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "tick.json")
	synctest.Test(t, func(t *testing.T) {
		all := runs(t, "0 * * * * *", file, false, 0, 150*time.Second)
		assert.Equal(t, []string{"00:01:00", "00:02:00"}, times(all))
		text, err := plainJSON(all[0].info)
		require.NoError(t, err)
		assert.JSONEq(t, `{"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"0001-01-01T00:00:00+00:00",`+
			`"Next":"2000-01-01T00:01:00+00:00","LastUpdated":"0001-01-01T00:00:00+00:00"},"IsPastDue":false}`, string(text), "the first run ever")
		text, err = plainJSON(all[1].info.ScheduleStatus)
		require.NoError(t, err)
		assert.Equal(t, `{"Last":"2000-01-01T00:01:00+00:00","Next":"2000-01-01T00:02:00+00:00","LastUpdated":"2000-01-01T00:01:00+00:00"}`, string(text)) //nolint:testifylint // the bytes, order and spacing included, are what is asserted

		// 00:02:30, and no host until 00:07:10: five missed runs are made up for by one.
		time.Sleep(280 * time.Second)
		all = runs(t, "0 * * * * *", file, true, 0, time.Minute)
		assert.Equal(t, []string{"00:07:10", "00:08:00"}, times(all))
		assert.True(t, all[0].info.IsPastDue)
		assert.False(t, all[1].info.IsPastDue)

		// Back before the next one is due: nothing is late, and runOnStartup is not asked for.
		assert.Equal(t, []string{"00:09:00"}, times(runs(t, "0 * * * * *", file, false, 0, time.Minute)))

		// Another schedule since: what it would have missed was never promised.
		time.Sleep(time.Hour)
		assert.Empty(t, runs(t, "30 */2 * * * *", file, false, 0, 50*time.Second))
		assert.Equal(t, []string{"01:10:30"}, times(runs(t, "30 */2 * * * *", file, false, 0, time.Minute)))

		require.NoError(t, os.WriteFile(file, []byte("torn"), 0o600))
		time.Sleep(time.Hour)
		assert.Empty(t, runs(t, "30 */2 * * * *", file, false, 0, 10*time.Second), "begun anew")
	})
}

// A timer through the whole host: its envelope, its status on disk, and a second host that goes on from it.
func TestTimerThroughTheHost(t *testing.T) {
	t.Parallel()
	tick := `{"bindings": [{"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": "0 0 * * * *", "runOnStartup": true}]}`
	f := start(t, setup{functions: map[string]string{"tick": tick}})
	eventually(t, func() bool { return len(f.notes()) == 2 })
	assert.Regexp(t, `^call \{"Data":\{"timer":\{"Schedule":\{"AdjustForDST":true\},"ScheduleStatus":\{"Last":"0001-01-01T00:00:00\+00:00","Next":"20\d\d-\d\d-\d\dT\d\d:00:00\+00:00",`+
		`"LastUpdated":"0001-01-01T00:00:00\+00:00"\},"IsPastDue":false\}\},"Metadata":\{"sys":\{"MethodName":"tick","UtcNow":"[^"]+Z","RandGuid":"[0-9a-f-]{36}"\}\}\}$`, f.notes()[1])
	f.stop()
	file := filepath.Join(f.options.StateDir, "tick.json")
	status, err := readStatus(file)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), status.Last.Time, patience)

	f.write("state/tick.json", `{"Last":"2026-01-01T00:00:00+00:00","Next":"2026-01-01T01:00:00+00:00","LastUpdated":"2026-01-01T00:00:00+00:00"}`)
	again, err := Load(f.options)
	require.NoError(t, err)
	require.NoError(t, again.Start(t.Context()))
	eventually(t, func() bool { return len(f.notes()) == 4 })
	assert.Contains(t, f.notes()[3], `"IsPastDue":true`)
	require.NoError(t, again.Stop(t.Context()))
}

// A stop lets a run that has begun come to its end.
func TestStopWaitsForATimersRun(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{"until": everyHour}})
	done := make(chan error, 1)
	go func() { done <- f.host.Invoke(context.WithoutCancel(t.Context()), "until", nil, nil) }()
	eventually(t, func() bool { return len(f.notes()) == 2 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); f.stop() }()
	<-f.host.stopping
	f.write("notes.now", "")
	require.NoError(t, <-done)
	<-stopped
}
