package main

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What could not be scanned fails in CI. A laptop without a network may go on, and is told.
func TestNoDatabaseIsNoSilence(t *testing.T) {
	cause := errors.New("NOT SCANNED")
	require.ErrorIs(t, (&vulnCommand{CI: true}).instead(cause), cause)
	said := captureStderr(t, func() { require.NoError(t, (&vulnCommand{}).instead(cause)) })
	assert.Contains(t, said, "*** NOT SCANNED ***")
}

func captureStderr(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	before := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = before }()
	f()
	require.NoError(t, w.Close())
	said, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(said)
}
