package proc

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestALineIsReadWhateverTheProcessIsCalled(t *testing.T) {
	t.Parallel()
	p, err := parse([]byte("42 (a) b (c)) S 7 1 1 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 1 0 98765 1000 10 18446744073709551615\n"))
	require.NoError(t, err)
	assert.Equal(t, process{parent: 7, own: 2 * time.Second, dead: 500 * time.Millisecond}, p)
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", "1 (x) S y 1 1 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 1 0 98765"} {
		_, err := parse([]byte(bad))
		assert.Error(t, err, "%q", bad)
	}
}

func TestTimesGrowWithWorkAndChildrenCount(t *testing.T) {
	if !Available() {
		t.Skip("only Linux has /proc")
	}
	self := os.Getpid()
	parent, err := Parent(self)
	require.NoError(t, err)
	assert.Equal(t, os.Getppid(), parent)

	// A child that works, until it is told to end.
	child := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	require.NoError(t, child.Start())
	before, err := UsedByAll(self)
	require.NoError(t, err)
	busy, all, err := Machine()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		used, err := Used(child.Process.Pid)
		return err == nil && used >= 100*time.Millisecond
	}, time.Minute, 5*time.Millisecond)
	children, err := Children(self)
	require.NoError(t, err)
	assert.Contains(t, children, child.Process.Pid)
	ofChildren, err := UsedByChildren(self)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, ofChildren, 100*time.Millisecond)
	running, err := UsedByAll(self)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, running-before, 100*time.Millisecond)

	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	after, err := UsedByAll(self)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after, running, "who has ended still counts")
	busyThen, allThen, err := Machine()
	require.NoError(t, err)
	assert.Greater(t, busyThen, busy)
	assert.GreaterOrEqual(t, allThen-all, busyThen-busy)
	_, err = Used(child.Process.Pid)
	assert.Error(t, err)
}
