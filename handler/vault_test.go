package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/telemetry"
	"github.com/company/order-catalog-service/tests/kit"
)

const (
	oldSecret = "the old secret of this test"
	newSecret = "the new secret of this test"
)

// vaulted is a vault with all that a process needs and the stores that it leads to.
type vaulted struct {
	*kit.Azure
	db     *kit.Database
	login  string // without the password
	redis  string
	broker *kit.Broker
}

func newVault(t *testing.T) *vaulted {
	t.Helper()
	v := &vaulted{Azure: kit.NewAzure(t), db: kit.NewDatabase(t), redis: kit.NewRedis(t), broker: kit.NewBroker(t)}
	v.login = v.db.Login(t, "first-password")
	require.NoError(t, v.operator(t, "").ConfigSet(t.Context(), "requirepass", "access-key").Err())
	then := time.Now().Add(-time.Hour)
	v.SetAt(secrets.PostgreSQL, v.withPassword(t, "first-password"), then)
	v.SetAt(secrets.Redis, "access-key", then)
	v.SetAt(secrets.ServiceBus, v.broker.Connection, then)
	v.SetAt(secrets.JWTSigningKey, oldSecret, then)
	v.SetAt(secrets.WebhookSecret, oldSecret, then)
	return v
}

// operator is a client of the Redis for the test's own commands.
func (v *vaulted) operator(t *testing.T, password string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(v.redis)
	require.NoError(t, err)
	options.Password = password
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func (v *vaulted) withPassword(t *testing.T, password string) string {
	t.Helper()
	u, err := url.Parse(v.login)
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

func (v *vaulted) config(t *testing.T) config {
	t.Helper()
	c, err := load(map[string]string{
		"KEY_VAULT_URL": v.VaultURL, "AZURE_CLIENT_ID": v.ClientID, "MIGRATIONS_DATABASE_URL": v.db.OwnerURL, "REDIS_URL": v.redis,
		"AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "test", "SECRETS_REFRESH": "10s", "DB_POOL_ORDERS": "1", "DB_POOL_READS": "1",
	})
	require.NoError(t, err)
	return c
}

func (v *vaulted) open(t *testing.T, c config) *access {
	t.Helper()
	a, err := open(t.Context(), c, slog.New(slog.DiscardHandler), v.Transport)
	require.NoError(t, err)
	return a
}

// With nothing secret in its environment a process finds everything in the vault, reaches its stores, and follows each
// rotation while it runs.
func TestAProcessLivesOnTheVault(t *testing.T) {
	v := newVault(t)
	a := v.open(t, v.config(t))
	s, err := wire(t.Context(), a.config, a, &telemetry.Telemetry{Logger: slog.New(slog.DiscardHandler), Page: http.NotFoundHandler()})
	require.NoError(t, err)
	defer s.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	background.Go("secrets", func() { a.store.Run(ctx) })
	s.bringUp(ctx)

	require.NoError(t, s.pools.Orders.Ping(ctx))
	require.NoError(t, s.redis.Ping(ctx).Err())
	_, err = s.bus.Sender(servicebus.QueueOrderRequests).Send(ctx, []servicebus.Message{{ID: "1", Body: []byte("x")}})
	require.NoError(t, err)
	cursor, err := s.cursors.Encode("list", 1)
	require.NoError(t, err)

	// A password that is rotated in the database before anybody looks at the vault: the refusal makes the process look.
	v.db.SetPassword(t, v.login, "second-password")
	v.Set(secrets.PostgreSQL, v.withPassword(t, "second-password"))
	require.Eventually(t, func() bool { return s.pools.Reads.Ping(ctx) == nil }, 9*time.Second, 20*time.Millisecond)
	require.NoError(t, s.pools.Orders.Ping(ctx), "who was in stays in")

	// Who is in brings the new key; who comes does too.
	client := v.operator(t, "access-key")
	require.NoError(t, client.ConfigSet(ctx, "requirepass", "second-key").Err())
	v.Set(secrets.Redis, "second-key")
	require.Eventually(t, func() bool {
		a.store.Hurry()
		return a.store.Get(secrets.Redis) == "second-key"
	}, 30*time.Second, 50*time.Millisecond)
	require.NoError(t, client.Do(ctx, "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal").Err())
	require.Eventually(t, func() bool { return s.redis.Ping(ctx).Err() == nil }, 10*time.Second, 50*time.Millisecond)

	v.Set(secrets.JWTSigningKey, newSecret)
	elsewhere := kit.NewBroker(t)
	v.Set(secrets.ServiceBus, elsewhere.Connection)
	require.Eventually(t, func() bool {
		a.store.Hurry()
		return a.store.Get(secrets.ServiceBus) == elsewhere.Connection && len(a.store.Keys(secrets.JWTSigningKey)) == 2
	}, 30*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		_, err = s.bus.Sender(servicebus.QueueOrderRequests).Send(ctx, []servicebus.Message{{ID: uuid.NewString(), Body: []byte("x")}})
		depth, _ := elsewhere.Depth(servicebus.QueueOrderRequests)
		return err == nil && depth.Active > 0
	}, 10*time.Second, 20*time.Millisecond)
	var at int
	require.NoError(t, s.cursors.Decode("list", cursor, &at), "cursors of the old key are still good")
}

// What a vault holds is checked like what the environment holds, and never shown.
func TestAVaultWithBadValuesEndsTheStart(t *testing.T) {
	v := newVault(t)
	v.Set(secrets.WebhookSecret, "hush")
	v.Set(secrets.PostgreSQL, "hush hush")
	_, err := open(t.Context(), v.config(t), slog.New(slog.DiscardHandler), v.Transport)
	require.ErrorContains(t, err, "WebhookSecret is shorter than 16 bytes")
	require.ErrorContains(t, err, "PostgreSQL-ConnectionString is not a PostgreSQL connection string")
	assert.NotContains(t, err.Error(), "hush")
}

// Where an identity is used, the connection's secret is not even asked for.
func TestAnIdentityNeedsNoConnectionSecrets(t *testing.T) {
	v := newVault(t)
	c := v.config(t)
	c.DatabaseIdentity, c.RedisIdentity, c.DatabaseURL = true, true, secret(v.login)
	c.ServiceBusNamespace = "shop.servicebus.windows.net"
	a := v.open(t, c)
	assert.Empty(t, a.store.Get(secrets.PostgreSQL)+a.store.Get(secrets.Redis)+a.store.Get(secrets.ServiceBus))
	asked, _ := v.Log()
	for _, line := range asked {
		assert.NotContains(t, line, "Connection")
		assert.NotContains(t, line, "AccessKey")
	}
	// And the pools log in with the token.
	token, err := a.database.Get(t.Context())
	require.NoError(t, err)
	v.db.SetPassword(t, v.login, token)
	s, err := wire(t.Context(), c, a, &telemetry.Telemetry{Logger: slog.New(slog.DiscardHandler), Page: http.NotFoundHandler()})
	require.NoError(t, err)
	defer s.close()
	require.NoError(t, s.pools.Orders.Ping(t.Context()))
	assert.Len(t, a.tokens(), 2)
	_, resources := v.Log()
	assert.Contains(t, strings.Join(resources, " "), "ossrdbms-aad")
}

// seal puts n endpoints into the database with secrets under the old key.
func (v *vaulted) seal(t *testing.T, n int) {
	t.Helper()
	box, err := secretbox.New(boxEndpoints, []byte(oldSecret))
	require.NoError(t, err)
	for range n {
		id := uuid.New()
		v.db.Exec(t, `INSERT INTO webhook_endpoints (id, owner_key, owner, url, events, signature, secret) VALUES ($1, $1, 'o', 'https://example.com', '{*}', 'hmac', $2)`,
			id, box.Seal([]byte("whsec_"+id.String()), id[:]))
	}
}

// The command does what its --help says: it tells how far it is, leaves its work in the log, and ends with nothing left.
func TestRotateWebhookKeys(t *testing.T) {
	v := newVault(t)
	v.seal(t, 5)
	v.SetAt(secrets.WebhookSecret, newSecret, time.Now().Add(-30*time.Minute))
	a := v.open(t, v.config(t))
	var out bytes.Buffer
	run := func(dry bool) string {
		out.Reset()
		r := &rotation{access: a, out: &out, batch: 2, dry: dry, who: auth.Identity{Issuer: "command", Subject: "operator"}}
		require.NoError(t, r.run(t.Context()))
		return out.String()
	}
	assert.Contains(t, run(true), "5 to seal")
	text := run(false)
	for _, line := range []string{"endpoint secrets: 2 of 5", "endpoint secrets: 4 of 5", "endpoint secrets: 5 of 5", "stored answers: 0, part 1 of 1", "nothing is left"} {
		assert.Contains(t, text, line)
	}
	assert.NotContains(t, text, newSecret)
	assert.Contains(t, run(false), "endpoint secrets: 0 to seal")
	alone, err := secretbox.New(boxEndpoints, []byte(newSecret))
	require.NoError(t, err)
	assert.Equal(t, 5, kit.One[int](t, v.db, `SELECT count(*) FROM webhook_endpoints WHERE substr(secret, 1, 9) = $1`, alone.Prefix()))
	assert.Equal(t, 3, kit.One[int](t, v.db, `SELECT count(*) FROM audit_log WHERE action = 'keys.rotated' AND subject = 'operator' AND details->>'key' = $1`, alone.KeyID()))

	v.db.Exec(t, `UPDATE webhook_endpoints SET secret = '\x02ffffffffffffffff00' WHERE id = (SELECT id FROM webhook_endpoints LIMIT 1)`)
	err = (&rotation{access: a, out: &out, batch: 2, who: auth.Identity{Subject: "operator"}}).run(t.Context())
	require.ErrorContains(t, err, "1 endpoint secrets are left")
}

// A version that not every instance knows yet is waited for.
func TestRotateWebhookKeysWaitsForEveryInstance(t *testing.T) {
	v := newVault(t)
	v.seal(t, 1)
	v.Set(secrets.WebhookSecret, newSecret)
	a := v.open(t, v.config(t))
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := (&rotation{access: a, out: &out, batch: 2, who: auth.Identity{Subject: "operator"}}).run(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Contains(t, out.String(), "waiting until")
	old, err := secretbox.New(boxEndpoints, []byte(oldSecret))
	require.NoError(t, err)
	assert.Equal(t, 1, kit.One[int](t, v.db, `SELECT count(*) FROM webhook_endpoints WHERE substr(secret, 1, 9) = $1`, old.Prefix()))
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, rotate(t.Context(), []string{"--help"}, nil, &out))
	for _, text := range []string{"rotate-webhook-keys", "-batch", "-dry-run", "-actor", "disable the old versions"} {
		assert.Contains(t, out.String(), text)
	}
	for _, arguments := range [][]string{{"--batch", "0"}, {"--batch", "x"}, {"extra"}, {"--actor", ""}, {"--nothing"}} {
		require.Error(t, rotate(t.Context(), arguments, nil, &out), fmt.Sprint(arguments))
	}
	require.ErrorContains(t, do(t.Context(), []string{"rotate"}, nil), "there is no command")
	require.ErrorContains(t, rotate(t.Context(), nil, nil, &out), "DATABASE_URL")
}

// What can't be right is said before anything is asked; a token is given to no server that need not prove itself.
func TestSettingsOfSecrets(t *testing.T) {
	t.Parallel()
	base := map[string]string{
		"DATABASE_URL": "postgres://app@db.example.com/orders?sslmode=verify-full", "AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "test",
		"JWT_SIGNING_KEY": oldSecret, "WEBHOOK_SECRET": oldSecret, "SERVICEBUS_CONNECTION": "x", "REDIS_URL": "rediss://r.example.com:10000",
	}
	for _, c := range []struct{ change, says string }{
		{"", ""},
		{"DATABASE_URL=", "DATABASE_URL is not set"},
		{"JWT_SIGNING_KEY=", "JWT_SIGNING_KEY is not set"},
		{"WEBHOOK_SECRET=", "WEBHOOK_SECRET is not set"},
		{"SERVICEBUS_CONNECTION=", "SERVICEBUS_CONNECTION"},
		{"WEBHOOK_SECRET_PREVIOUS=hush", "WEBHOOK_SECRET_PREVIOUS is shorter"},
		{"JWT_SIGNING_KEY_PREVIOUS=hush", "JWT_SIGNING_KEY_PREVIOUS is shorter"},
		{"KEY_VAULT_URL=https://v.example.com DATABASE_URL= JWT_SIGNING_KEY= WEBHOOK_SECRET= SERVICEBUS_CONNECTION=", ""},
		{"KEY_VAULT_URL=http://v.example.com", "KEY_VAULT_URL"},
		{"SECRETS_REFRESH=1s", "SECRETS_REFRESH"},
		{"SECRETS_WAIT=0s", "SECRETS_WAIT"},
		{"DATABASE_IDENTITY=true", ""},
		{"DATABASE_IDENTITY=true DATABASE_URL=", "names host, database"},
		{"DATABASE_IDENTITY=true DATABASE_URL=postgres://app@db.example.com/orders", "sslmode=verify-full"},
		{"DATABASE_IDENTITY=true DATABASE_URL=postgres://app@db.example.com/orders?sslmode=require", "sslmode=verify-full"},
		{"DATABASE_IDENTITY=true DATABASE_URL=postgres://app@127.0.0.1/orders?sslmode=disable", ""},
		{"DATABASE_IDENTITY=true DATABASE_URL=postgres://app:hush@db.example.com/orders?sslmode=verify-full", "has a password"},
		{"DATABASE_IDENTITY=true MIGRATIONS_DATABASE_URL=postgres://app@db.example.com/orders", "MIGRATIONS_DATABASE_URL needs sslmode"},
		{"REDIS_IDENTITY=true", ""},
		{"REDIS_IDENTITY=true REDIS_URL=", "REDIS_URL is not set"},
		{"REDIS_IDENTITY=true REDIS_URL=redis://r.example.com:6379", "rediss://"},
	} {
		environment := make(map[string]string)
		for name, value := range base {
			environment[name] = value
		}
		for _, one := range strings.Fields(c.change) {
			name, value, _ := strings.Cut(one, "=")
			environment[name] = value
		}
		_, err := load(environment)
		if c.says == "" {
			assert.NoError(t, err, c.change)
			continue
		}
		if assert.ErrorContains(t, err, c.says, c.change) {
			assert.NotContains(t, err.Error(), "hush")
		}
	}
}
