package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheCheckoutIsFoundFromAnyFolderOfIt(t *testing.T) {
	root := newCheckout(t)
	deep := filepath.Join(string(root), "a", "b")
	require.NoError(t, os.MkdirAll(deep, 0o750))
	t.Chdir(deep)
	found, err := findCheckout()
	require.NoError(t, err)
	assert.Equal(t, root, found)
	t.Chdir(os.TempDir())
	_, err = findCheckout()
	require.ErrorContains(t, err, "no host.json here or above")
}

func TestASecretIsMadeOnce(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	require.NoError(t, root.makeLocal())
	first, err := root.secret("key")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(first), 32)
	again, err := root.secret("key")
	require.NoError(t, err)
	assert.Equal(t, first, again)
	other, err := root.secret("another")
	require.NoError(t, err)
	assert.NotEqual(t, first, other)
	info, err := os.Stat(root.local("key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOneStackPerCheckout(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	lock, err := root.lock()
	require.NoError(t, err)
	assert.False(t, lock.unclean)

	_, err = root.lock()
	require.ErrorContains(t, err, "running (process "+strconv.Itoa(os.Getpid())+")")
	require.ErrorContains(t, (&resetCommand{}).Run(root), "a stack of this checkout is running")
	other, err := newCheckout(t).lock()
	require.NoError(t, err, "another clone has its own")
	require.NoError(t, other.release())

	require.NoError(t, lock.release())
	again, err := root.lock()
	require.NoError(t, err)
	assert.False(t, again.unclean, "the last one came to its end")
	require.NoError(t, again.held.Close()) // as the kernel does for one that was killed
	after, err := root.lock()
	require.NoError(t, err)
	assert.True(t, after.unclean)
	require.NoError(t, after.release())
}

func TestResetDeletesEverythingButItsOwnLock(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	require.NoError(t, os.MkdirAll(root.local("postgres", "base"), 0o750))
	require.NoError(t, os.WriteFile(root.local("signing-key"), nil, 0o600))
	require.NoError(t, (&resetCommand{}).Run(root))
	left, err := os.ReadDir(root.local())
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, lockFile, left[0].Name())
	require.NoError(t, (&resetCommand{}).Run(root), "twice is once")
}

func TestThrowAwayFoldersGoAlsoWhenTheirOwnerWasKilled(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	mine, remove, err := root.throwAway()
	require.NoError(t, err)
	require.ErrorContains(t, (&resetCommand{}).Run(root), mine, "tests that run keep their data")

	old, fresh := root.local("services-1"), root.local("services-2")
	for _, dir := range []string{old, fresh} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "postgres"), 0o750))
	}
	ages := time.Now().Add(-time.Minute)
	require.NoError(t, os.Chtimes(old, ages, ages))
	require.NoError(t, os.Chtimes(mine, ages, ages))
	inUse, err := root.sweep()
	require.NoError(t, err)
	assert.Equal(t, []string{mine}, inUse)
	assert.NoDirExists(t, old, "nobody holds it")
	assert.DirExists(t, fresh, "its owner may be about to lock it")
	assert.DirExists(t, mine)
	remove()
	assert.NoDirExists(t, mine)
}
