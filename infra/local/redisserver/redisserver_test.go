package redisserver

import (
	"context"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
)

func ping(t *testing.T, s *Server) error {
	t.Helper()
	options, err := redis.ParseURL(s.URL())
	require.NoError(t, err)
	options.MaxRetries, options.DialerRetries = -1, 1
	client := redis.NewClient(options)
	defer func() { require.NoError(t, client.Close()) }()
	return client.Ping(context.Background()).Err()
}

func TestRedisRunsUntilStopped(t *testing.T) {
	for _, kind := range []string{"redis-server", "miniredis"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "redis-server" && Installed() == "" {
				t.Skip("redis-server is not on PATH")
			}
			if kind == "miniredis" {
				t.Setenv("PATH", t.TempDir())
			}
			port, err := child.FreePort()
			require.NoError(t, err)
			s, err := Start(t.Context(), t.TempDir(), port)
			require.NoError(t, err)
			t.Cleanup(s.Stop)
			assert.Equal(t, kind, s.Kind)
			assert.Equal(t, "redis://127.0.0.1:"+strconv.Itoa(port)+"/0", s.URL())
			require.NoError(t, ping(t, s))

			_, err = Start(t.Context(), t.TempDir(), port)
			require.Error(t, err, "the port is taken")

			s.Stop()
			require.Error(t, ping(t, s))
		})
	}
}
