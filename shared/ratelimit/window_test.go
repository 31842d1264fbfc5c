package ratelimit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a process counts by itself is told as it is: what is left after the call, and when more comes back.
func TestAProcessesOwnCountTellsWhatIsLeftAndWhenMoreComesBack(t *testing.T) {
	t.Parallel()
	l := limit(t, Options{}, "3/10s")
	counts, all := make([]count, 1), func(*window) int { return 3 }
	ask := func(calls int, at time.Time) (Standing, bool) {
		standings, granted := charge(counts, l.quotas, calls, all, at)
		return standings[0], granted
	}
	now := start.Add(123 * time.Millisecond)
	standing, granted := ask(2, now)
	require.True(t, granted)
	assert.Equal(t, 1, standing.Remaining)
	assert.Greater(t, standing.Reset, 9*time.Second)
	assert.LessOrEqual(t, standing.Reset, 10*time.Second+l.quotas[0].slot)

	standing, granted = ask(2, now)
	require.False(t, granted)
	assert.Equal(t, 1, standing.Remaining, "all of them or none")
	_, granted = ask(2, now.Add(standing.Reset-1))
	assert.False(t, granted)
	standing, granted = ask(2, now.Add(standing.Reset))
	assert.True(t, granted)
	assert.Equal(t, 1, standing.Remaining)
}
