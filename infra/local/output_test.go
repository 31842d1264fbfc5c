package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAStepSaysWhatItDoesAndHowLongItTook(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	now := time.Unix(0, 0)
	s := &steps{out: &out, now: func() time.Time { return now }}
	require.NoError(t, s.do("Redis", func(func(string)) (string, error) {
		assert.Equal(t, "  Redis             ", out.String(), "it is on the screen while the work goes on")
		now = now.Add(1500 * time.Millisecond)
		return "running", nil
	}))
	assert.Regexp(t, `^  Redis +running +1\.50 s\n$`, out.String())

	out.Reset()
	require.NoError(t, s.do("schema", func(say func(string)) (string, error) {
		say("one")
		say("two")
		return "done", nil
	}))
	assert.Regexp(t, `^  schema +\n    one\n    two\n +done +0\.00 s\n$`, out.String())

	out.Reset()
	broken := errors.New("broken")
	require.ErrorIs(t, s.do("host", func(func(string)) (string, error) { return "ignored", broken }), broken)
	assert.Regexp(t, `^  host +failed\n$`, out.String())
}

func TestTheConsoleShowsTheHandlersLinesAsTheyAre(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log := newConsole(&out)
	log.Info("the handler's own line, {} and all", "category", handlerOutput)
	assert.Equal(t, "the handler's own line, {} and all\n", out.String())

	out.Reset()
	log.Error("panic: oh", "category", handlerOutput)
	log.With("function", "outbox").Warn("late", "category", "Host", "by", 3)
	log.Debug("nobody wants this")
	assert.Regexp(t, `^\[[0-9:]{8}\] ERROR panic: oh\n\[[0-9:]{8}\] WARN late function=outbox by=3\n$`, out.String())
	assert.True(t, log.Enabled(t.Context(), slog.LevelInfo))
}

func TestTheProgressBarDrawsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	draw := progressBar(&out)
	for n := range 1001 {
		draw(n, 1000)
	}
	assert.Equal(t, 101, strings.Count(out.String(), "\r"))
	assert.True(t, strings.HasSuffix(out.String(), "["+strings.Repeat("#", 40)+"] 100 %\n"))
}
