package housekeeping_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/housekeeping"
)

func TestFailingTaskDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broken := errors.New("broken")
	left := 3
	err := housekeeping.Run(ctx, slog.New(slog.DiscardHandler), []housekeeping.Task{
		{Name: "first", Run: func(context.Context) (int, error) { return 0, broken }},
		{Name: "second", Run: func(context.Context) (int, error) { left--; return left, nil }},
	})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "first")
	assert.Zero(t, left, "a task runs until it has nothing left to do")
}

func TestTaskThatNeverEndsLeavesTimeForTheNext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	ran := false
	err := housekeeping.Run(ctx, slog.New(slog.DiscardHandler), []housekeeping.Task{
		{Name: "endless", Run: func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, nil }},
		{Name: "next", Run: func(ctx context.Context) (int, error) { ran = ctx.Err() == nil; return 0, nil }},
	})
	require.NoError(t, err)
	assert.True(t, ran)
}
