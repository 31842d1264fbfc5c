package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reopen opens the journal and returns what it replays.
func reopen(t *testing.T, path string) (*Journal, []string) {
	t.Helper()
	var got []string
	j, err := Open(path, false, func(record []byte) error {
		got = append(got, string(record))
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j, got
}

func TestWhatIsCommittedIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, fsync := range []bool{false, true} {
		t.Run(fmt.Sprintf("fsync=%v", fsync), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "folder", "journal")
			j, err := Open(path, fsync, func([]byte) error { return nil })
			require.NoError(t, err)
			var writers sync.WaitGroup
			for w := range 8 {
				writers.Go(func() {
					for i := range 50 {
						at := j.Append(fmt.Appendf(nil, "%d/%d", w, i))
						assert.NoError(t, j.Commit(at))
					}
				})
			}
			writers.Wait()
			data, err := os.ReadFile(path)
			require.NoError(t, err, "committed is in the file, before any Close")
			assert.Equal(t, j.Size(), int64(len(data)))
			require.NoError(t, j.Close())
			require.ErrorIs(t, j.Commit(j.Append([]byte("late"))), errClosed)

			_, got := reopen(t, path)
			assert.Len(t, got, 400)
			next := map[byte]int{}
			for _, r := range got {
				require.Equal(t, fmt.Sprintf("%c/%d", r[0], next[r[0]]), r, "each writer's records in their order")
				next[r[0]]++
			}
		})
	}
}

func TestAnUnfinishedLastRecordIsCutOff(t *testing.T) {
	t.Parallel()
	whole := appendRecord(appendRecord([]byte(magic), []byte("one")), []byte("two"))
	for name, tail := range map[string][]byte{
		"half a head":       {0, 0},
		"half a record":     appendRecord(nil, []byte("three"))[:10],
		"a wrong last byte": append(appendRecord(nil, []byte("three"))[:12], 'x'),
		"zeros":             make([]byte, 5000),
		// Longer than what is written next: its rest must not be taken for a record.
		"most of a long one": appendRecord(nil, []byte(strings.Repeat("x", 100)))[:90],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal")
			require.NoError(t, os.WriteFile(path, append(whole[:len(whole):len(whole)], tail...), 0o600))
			j, got := reopen(t, path)
			assert.Equal(t, []string{"one", "two"}, got)
			require.NoError(t, j.Commit(j.Append([]byte("three"))))
			require.NoError(t, j.Close())
			_, got = reopen(t, path)
			assert.Equal(t, []string{"one", "two", "three"}, got, "what comes after is not hidden by the rest of it")
		})
	}
}

func TestDamageIsAnErrorAndNotALoss(t *testing.T) {
	t.Parallel()
	whole := appendRecord(appendRecord([]byte(magic), []byte("one")), []byte("two"))
	for name, c := range map[string]struct{ content, says string }{
		"a byte in the middle": {strings.Replace(string(whole), "one", "onE", 1), "damaged at byte 21"},
		"another file":         {"something else altogether", "no journal"},
		"an empty file":        {"", "no journal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
			_, err := Open(path, false, func([]byte) error { return nil })
			require.ErrorContains(t, err, c.says)
			left, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, c.content, string(left), "nothing of it was touched")
		})
	}
}

func TestRewriteReplacesHistory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, _ := reopen(t, path)
	for range 1000 {
		j.Append([]byte("history"))
	}
	require.NoError(t, j.Commit(j.Position()))
	long := j.Size()
	at := j.Append([]byte("not yet committed, and part of the state"))
	require.NoError(t, j.Rewrite(func(add func([]byte)) { add([]byte("state")) }))
	require.NoError(t, j.Commit(at), "the snapshot covers it")
	assert.Less(t, j.Size(), long/100)
	require.NoError(t, j.Commit(j.Append([]byte("after"))))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, j.Size(), info.Size())
	require.NoError(t, j.Close())
	_, got := reopen(t, path)
	assert.Equal(t, []string{"state", "after"}, got)
}

func TestAFailedRewriteLeavesTheOldFileInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, _ := reopen(t, path)
	j.Append([]byte("one"))
	require.NoError(t, os.Mkdir(path+".new", 0o700)) // in the way of the new file
	require.Error(t, j.Rewrite(func(add func([]byte)) { add([]byte("never")) }))
	require.NoError(t, j.Commit(j.Append([]byte("two"))))
	require.NoError(t, j.Close())
	_, got := reopen(t, path)
	assert.Equal(t, []string{"one", "two"}, got)
}

func TestASecondOwnerIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, _ := reopen(t, path)
	refused := func(when string) {
		_, err := Open(path, false, func([]byte) error { return nil })
		require.ErrorContains(t, err, "another process", when)
	}
	refused("opened")
	require.NoError(t, j.Rewrite(func(func([]byte)) {}))
	refused("rewritten")
}

func TestAfterAFailedWriteNothingIsPromised(t *testing.T) {
	t.Parallel()
	j, _ := reopen(t, filepath.Join(t.TempDir(), "journal"))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	file := j.file
	j.file = full
	require.Error(t, j.Commit(j.Append([]byte("no room"))))
	j.file = file
	require.Error(t, j.Commit(j.Append([]byte("room again"))), "records before it may be missing")
	require.Error(t, j.Rewrite(func(func([]byte)) {}))
	j.err = nil // so that the cleanup can close it
	j.durable = j.appended
	require.NoError(t, full.Close())
}
