package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/shared/secrets"
)

// What is sealed for one purpose does not open for another; the names must stay as they are.
const (
	boxAnswers   = "stored answers"
	boxEndpoints = "endpoint secrets"
)

// access is how the process gets to its stores and what it signs and seals with: secrets of a vault or the
// environment, and tokens of its identity where no secret is used.
type access struct {
	config   config
	store    *secrets.Store
	database *secrets.Tokens        // nil: the connection string's password
	redis    *secrets.Tokens        // nil: a password, or none
	bus      azcore.TokenCredential // nil: a connection string
	login    *redis.Login           // made by redisLogin
}

// open reads the secrets. It waits for a vault no longer than SECRETS_WAIT. transport carries the requests to it; nil
// is the usual one.
func open(ctx context.Context, c config, logger *slog.Logger, transport policy.Transporter) (*access, error) {
	a := &access{config: c}
	busByIdentity := c.ServiceBus == "" && c.ServiceBusNamespace != ""
	var (
		identity azcore.TokenCredential
		err      error
	)
	if c.KeyVaultURL != "" || c.DatabaseIdentity || c.RedisIdentity || busByIdentity {
		if identity, err = secrets.Identity(c.AzureClientID); err != nil {
			return nil, err
		}
	}
	if c.DatabaseIdentity {
		a.database = secrets.NewTokens(identity, secrets.ScopePostgreSQL, logger)
	}
	if c.RedisIdentity {
		a.redis = secrets.NewTokens(identity, secrets.ScopeRedis, logger)
	}
	if busByIdentity {
		a.bus = identity
		if c.ServiceBusClientID != "" {
			if a.bus, err = secrets.Identity(c.ServiceBusClientID); err != nil {
				return nil, err
			}
		}
	}
	here := map[string][]string{
		secrets.PostgreSQL:    {string(c.DatabaseURL)},
		secrets.Redis:         {string(c.RedisAccessKey)},
		secrets.ServiceBus:    {string(c.ServiceBus)},
		secrets.JWTSigningKey: {string(c.JWTSigningKey), string(c.JWTSigningKeyPrevious)},
		secrets.WebhookSecret: {string(c.WebhookSecret), string(c.WebhookSecretPrevious)},
	}
	if c.KeyVaultURL == "" {
		a.store = secrets.Fixed(here)
		return a, nil
	}
	a.store, err = secrets.Open(ctx, secrets.Options{
		URL: c.KeyVaultURL, Credential: identity, Names: a.names(), Fallback: here, Every: c.SecretsRefresh, Wait: c.SecretsWait,
		Logger: logger, Transport: transport,
	})
	if err != nil {
		return nil, err
	}
	return a, a.check()
}

// names are the secrets that this configuration needs: none for what an identity opens.
func (a *access) names() []string {
	list := []string{secrets.JWTSigningKey, secrets.WebhookSecret}
	if a.database == nil {
		list = append(list, secrets.PostgreSQL)
	}
	if a.bus == nil {
		list = append(list, secrets.ServiceBus)
	}
	if a.config.RedisURL != "" && a.redis == nil {
		list = append(list, secrets.Redis)
	}
	return list
}

// check looks at what came from the vault as load looks at the environment.
func (a *access) check() error {
	var wrong []error
	for _, name := range []string{secrets.JWTSigningKey, secrets.WebhookSecret} {
		for _, key := range a.store.Keys(name) {
			if len(key) < secretbox.MinSecret {
				wrong = append(wrong, fmt.Errorf("a version of the vault's %s is shorter than %d bytes", name, secretbox.MinSecret))
			}
		}
	}
	if _, err := pgx.ParseConfig(a.databaseURL()); err != nil {
		wrong = append(wrong, fmt.Errorf("the vault's %s is not a PostgreSQL connection string (postgres://user:password@host:port/database)", secrets.PostgreSQL))
	}
	return errors.Join(wrong...)
}

func (a *access) databaseURL() string {
	if a.database != nil {
		return string(a.config.DatabaseURL)
	}
	return a.store.Get(secrets.PostgreSQL)
}

// databaseLogin is how connections of the pools log in: with a token, or as the vault says at the moment.
func (a *access) databaseLogin() []postgres.Option {
	switch {
	case a.database != nil:
		return []postgres.Option{postgres.WithLogin(postgres.Password(a.database.Get), nil)}
	case a.config.KeyVaultURL != "":
		return []postgres.Option{postgres.WithLogin(postgres.Following(a.databaseURL), a.store.Hurry)}
	default:
		return nil
	}
}

// migrationsURL is the owner's, or else the one of requests.
func (a *access) migrationsURL() string {
	if a.config.MigrationsDatabaseURL != "" {
		return string(a.config.MigrationsDatabaseURL)
	}
	return a.databaseURL()
}

func (a *access) migrationsLogin() []postgres.Option {
	if a.database == nil && a.config.MigrationsDatabaseURL != "" {
		return nil // its own password
	}
	return a.databaseLogin()
}

// redisLogin is nil where the URL says it all.
func (a *access) redisLogin() *redis.Login {
	u, err := url.Parse(string(a.config.RedisURL))
	if err != nil {
		return nil // whoever opens it says so
	}
	user := u.User.Username()
	switch _, hasPassword := u.User.Password(); {
	case a.redis != nil:
		a.login = redis.NewLogin(func(ctx context.Context) (string, string, error) {
			token, err := a.redis.Get(ctx)
			if err != nil || user != "" {
				return user, token, err
			}
			id, err := secrets.ObjectID(token)
			return id, token, err
		})
		a.redis.OnChange(a.login.Changed)
	case !hasPassword && a.store.Get(secrets.Redis) != "":
		a.login = redis.NewLogin(func(context.Context) (string, string, error) { return user, a.store.Get(secrets.Redis), nil })
		a.follow(secrets.Redis, func(string) error {
			a.login.Changed()
			return nil
		}, slog.Default())
	}
	return a.login
}

// box is a box of a purpose that follows the WebhookSecret.
func (a *access) box(purpose string, logger *slog.Logger) (*secretbox.Box, error) {
	box, err := secretbox.New(purpose, a.store.Keys(secrets.WebhookSecret)...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", secrets.WebhookSecret, err)
	}
	box.OnMissing(a.store.Hurry)
	a.store.OnChange(func() {
		if err := box.Use(a.store.Keys(secrets.WebhookSecret)...); err != nil {
			logger.Warn("the new WebhookSecret can't be used: the old one stays", "error", err)
		}
	})
	return box, nil
}

// follow has use called with each new value of a secret.
func (a *access) follow(name string, use func(string) error, logger *slog.Logger) {
	last := a.store.Get(name)
	a.store.OnChange(func() {
		value := a.store.Get(name)
		if value == last || value == "" {
			return
		}
		last = value
		if err := use(value); err != nil {
			logger.Warn("a new secret can't be used: the old one stays", "name", name, "error", err)
		}
	})
}

// tokens are the sources of tokens to renew.
func (a *access) tokens() map[string]*secrets.Tokens {
	list := make(map[string]*secrets.Tokens)
	if a.database != nil {
		list["PostgreSQL"] = a.database
	}
	if a.redis != nil {
		list["Redis"] = a.redis
	}
	return list
}

// checkSecrets says what is missing or wrong of what opens the stores and keys what we sign and seal.
func (c config) checkSecrets() (wrong []error) {
	check := func(ok bool, text string) {
		if !ok {
			wrong = append(wrong, errors.New(text))
		}
	}
	vault := c.KeyVaultURL != ""
	check(vault || c.DatabaseURL != "", "DATABASE_URL is not set, nor KEY_VAULT_URL for a vault that holds it")
	check(vault || c.JWTSigningKey != "", "JWT_SIGNING_KEY is not set, nor KEY_VAULT_URL for a vault that holds it")
	check(vault || c.WebhookSecret != "", "WEBHOOK_SECRET is not set, nor KEY_VAULT_URL for a vault that holds it")
	check(vault || c.ServiceBus != "" || c.ServiceBusNamespace != "",
		"SERVICEBUS_CONNECTION (or SERVICEBUS_CONNECTION__fullyQualifiedNamespace, to use an identity) is not set")
	for variable, value := range map[string]secret{
		"JWT_SIGNING_KEY": c.JWTSigningKey, "JWT_SIGNING_KEY_PREVIOUS": c.JWTSigningKeyPrevious,
		"WEBHOOK_SECRET": c.WebhookSecret, "WEBHOOK_SECRET_PREVIOUS": c.WebhookSecretPrevious,
	} {
		check(value == "" || len(value) >= secretbox.MinSecret, fmt.Sprintf("%s is shorter than %d bytes", variable, secretbox.MinSecret))
	}
	check(!vault || strings.HasPrefix(c.KeyVaultURL, "https://"), "KEY_VAULT_URL is not the address of a vault (https://name.vault.azure.net)")
	check(c.SecretsRefresh >= 10*time.Second, "SECRETS_REFRESH must be at least 10s: a vault that is asked more often refuses to answer")
	check(c.SecretsWait > 0, "SECRETS_WAIT must be longer than 0, as in 20s")
	if c.DatabaseIdentity {
		check(c.DatabaseURL != "", "DATABASE_IDENTITY is on and DATABASE_URL is not set: it names host, database and the identity as user")
		for variable, text := range map[string]secret{"DATABASE_URL": c.DatabaseURL, "MIGRATIONS_DATABASE_URL": c.MigrationsDatabaseURL} {
			wrong = append(wrong, mayCarryToken(variable, string(text))...)
		}
	}
	check(!c.RedisIdentity || c.RedisURL != "", "REDIS_IDENTITY is on and REDIS_URL is not set")
	if u, err := url.Parse(string(c.RedisURL)); c.RedisIdentity && err == nil {
		check(u.Scheme == "rediss" || isLoopback(u.Hostname()), "REDIS_IDENTITY needs a REDIS_URL with TLS (rediss://): a token must not be sent in the clear")
	}
	return wrong
}

// mayCarryToken refuses to send a token to a server that need not prove who it is.
func mayCarryToken(variable, text string) (wrong []error) {
	if text == "" {
		return nil
	}
	to, err := pgx.ParseConfig(text)
	if err != nil {
		return nil // said by who opens it
	}
	if to.Password != "" {
		wrong = append(wrong, fmt.Errorf("%s has a password and DATABASE_IDENTITY is on: one of the two", variable))
	}
	// Every host of several, and every way to reach one: some modes of sslmode try again without TLS.
	ways := append([]*pgconn.FallbackConfig{{Host: to.Host, TLSConfig: to.TLSConfig}}, to.Fallbacks...)
	if slices.ContainsFunc(ways, func(w *pgconn.FallbackConfig) bool {
		return !isLoopback(w.Host) && (w.TLSConfig == nil || w.TLSConfig.InsecureSkipVerify)
	}) {
		wrong = append(wrong, fmt.Errorf("%s needs sslmode=verify-full: with DATABASE_IDENTITY it would give a token to whoever answers", variable))
	}
	return wrong
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
}
