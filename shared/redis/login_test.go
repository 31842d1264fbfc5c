package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/tests/kit"
)

// admin is a plain client of the server for a test's own commands.
func admin(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func as(t *testing.T, url string, login *sharedredis.Login) *redis.Client {
	t.Helper()
	client, err := sharedredis.OpenAs(url, login)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// eventually pings until it works: a failure opens the breaker for a second.
func eventually(t *testing.T, client *redis.Client) {
	t.Helper()
	require.Eventually(t, func() bool { return sharedredis.Ping(t.Context(), client) == nil }, 10*time.Second, 50*time.Millisecond)
}

// The identity logs in under its object id with a token; a new token reaches the connection that is open, which Redis
// would close at the end of the first one.
func TestLoginByToken(t *testing.T) {
	a, url := kit.NewAzure(t), kit.NewRedis(t)
	server := admin(t, url)
	identity, err := secrets.Identity(a.ClientID)
	require.NoError(t, err)
	a.TokenLife(4 * time.Minute) // the SDK keeps none that is so short
	var source atomic.Pointer[secrets.Tokens]
	token := func() string {
		text, err := source.Load().Get(t.Context())
		require.NoError(t, err)
		return text
	}
	source.Store(secrets.NewTokens(identity, secrets.ScopeRedis, slog.New(slog.DiscardHandler)))
	first := token()
	require.NoError(t, server.Do(t.Context(), "ACL", "SETUSER", a.ObjectID, "on", ">"+first, "~*", "&*", "+@all").Err())

	login := sharedredis.NewLogin(func(ctx context.Context) (string, string, error) {
		text, err := source.Load().Get(ctx)
		if err != nil {
			return "", "", err
		}
		id, err := secrets.ObjectID(text)
		return id, text, err
	})
	client := as(t, url, login)
	who, err := client.Do(t.Context(), "ACL", "WHOAMI").Text()
	require.NoError(t, err)
	assert.Equal(t, a.ObjectID, who)
	id, err := client.Do(t.Context(), "CLIENT", "ID").Int()
	require.NoError(t, err)

	source.Store(secrets.NewTokens(identity, secrets.ScopeRedis, slog.New(slog.DiscardHandler)))
	second := token()
	require.NotEqual(t, first, second)
	require.NoError(t, server.Do(t.Context(), "ACL", "SETUSER", a.ObjectID, "resetpass", ">"+second).Err())
	login.Changed()
	require.Eventually(t, func() bool {
		_, _ = client.Ping(t.Context()).Result() // a connection logs in again between two uses
		stats, err := server.Info(t.Context(), "commandstats").Result()
		return err == nil && strings.Contains(stats, "cmdstat_auth:calls=")
	}, 10*time.Second, 20*time.Millisecond)
	stats, err := server.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	assert.Regexp(t, `cmdstat_auth:calls=\d+,usec=\d+,usec_per_call=[0-9.]+,rejected_calls=0,failed_calls=0`, stats)
	still, err := server.Do(t.Context(), "CLIENT", "LIST", "ID", id).Text()
	require.NoError(t, err)
	assert.Contains(t, still, "user="+a.ObjectID, "the connection that there was is open")
}

// A rotated access key: new connections bring the new one.
func TestARotatedAccessKeyIsUsed(t *testing.T) {
	t.Parallel()
	url := kit.NewRedis(t)
	server := admin(t, url)
	require.NoError(t, server.ConfigSet(t.Context(), "requirepass", "old").Err())
	var key atomic.Value
	key.Store("old")
	login := sharedredis.NewLogin(func(context.Context) (string, string, error) { return "", key.Load().(string), nil })
	client := as(t, url, login)
	eventually(t, client)

	require.NoError(t, server.ConfigSet(t.Context(), "requirepass", "new").Err())
	key.Store("new")
	login.Changed()
	require.NoError(t, server.Do(t.Context(), "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal").Err())
	eventually(t, client)
	key.Store("old")
	require.NoError(t, server.Do(t.Context(), "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal").Err())
	require.Eventually(t, func() bool {
		err := sharedredis.Ping(t.Context(), client)
		return err != nil && strings.Contains(err.Error(), "WRONGPASS")
	}, 10*time.Second, 50*time.Millisecond, "the server does ask")
}

// Without a login there is no connection, and the reason is told.
func TestALoginThatFails(t *testing.T) {
	t.Parallel()
	client := as(t, kit.NewRedis(t), sharedredis.NewLogin(func(context.Context) (string, string, error) {
		return "", "", errors.New("no token today")
	}))
	require.ErrorContains(t, sharedredis.Ping(t.Context(), client), "no token today")
}
