package kit

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/redisserver"
)

// NewRedis starts a Redis for the test alone, for what miniredis can't show or other tests would notice. It
// returns its URL. Where redis-server is not installed the test is skipped, unless CI is set.
func NewRedis(t testing.TB) string {
	t.Helper()
	if redisserver.Installed() == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is not on PATH")
		}
		t.Skip("redis-server is not on PATH")
	}
	port, err := child.FreePort()
	require.NoError(t, err)
	server, err := redisserver.Start(context.Background(), t.TempDir(), port)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server.URL()
}
