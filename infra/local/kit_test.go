package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
)

// newCheckout is an empty repository of its own.
func newCheckout(t *testing.T) checkout {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "host.json"), []byte("{}"), 0o600))
	return checkout(root)
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := child.FreePort()
	require.NoError(t, err)
	return port
}

// TestMain runs the command itself when a test starts this program for that.
func TestMain(m *testing.M) {
	if os.Getenv("LOCAL_TEST_COMMAND") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}
