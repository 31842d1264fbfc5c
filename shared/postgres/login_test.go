package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/tests/kit"
)

var few = postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: 5 * time.Second}

func loggedIn(t *testing.T, url string, options ...postgres.Option) *postgres.Pools {
	t.Helper()
	p, err := postgres.Open(t.Context(), url, few, options...)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// A token of the identity is the password, as Entra has it: each new connection has the one of its moment, and a server
// that knows another one refuses it.
func TestLoginByToken(t *testing.T) {
	a, d := kit.NewAzure(t), kit.NewDatabase(t)
	identity, err := secrets.Identity(a.ClientID)
	require.NoError(t, err)
	a.TokenLife(2 * time.Second)
	tokens := secrets.NewTokens(identity, secrets.ScopePostgreSQL, slog.New(slog.DiscardHandler))
	var last atomic.Value
	get := func(ctx context.Context) (string, error) {
		token, err := tokens.Get(ctx)
		last.Store(token)
		return token, err
	}
	first, err := get(t.Context())
	require.NoError(t, err)
	login := d.Login(t, first)
	p := loggedIn(t, login, postgres.WithLogin(postgres.Password(get), nil))
	a.TokenLife(time.Hour)
	require.Eventually(t, func() bool {
		now, err := tokens.Get(t.Context())
		return err == nil && now != first
	}, 10*time.Second, 50*time.Millisecond, "the first token has run out")

	err = p.Orders.Ping(t.Context())
	require.ErrorIs(t, err, postgres.ErrUnavailable, "it came with the next token, which the role doesn't have")
	assert.Equal(t, "28P01", postgres.Code(err))
	assert.NotEqual(t, first, last.Load())
	d.SetPassword(t, login, last.Load().(string))
	require.NoError(t, p.Orders.Ping(t.Context()))
	_, resources := a.Log()
	assert.Equal(t, []string{"https://ossrdbms-aad.database.windows.net", "https://ossrdbms-aad.database.windows.net"}, resources)

	// Migrations log in the same way.
	require.NoError(t, postgres.Migrate(t.Context(), d.OwnerURL, nil, postgres.WithLogin(postgres.Password(get), nil)))
}

// A password that was rotated: who is in stays in, who comes is refused until the new connection string is known, and
// the refusal is what asks for it.
func TestARotatedPasswordIsUsedForNewConnections(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	login := d.Login(t, "old")
	var (
		current atomic.Value
		refused atomic.Int32
	)
	with := func(password string) string {
		u, err := url.Parse(login)
		require.NoError(t, err)
		u.User = url.UserPassword(u.User.Username(), password)
		return u.String()
	}
	current.Store(with("old"))
	p := loggedIn(t, with("old"), postgres.WithLogin(postgres.Following(func() string { return current.Load().(string) }), func() { refused.Add(1) }))
	require.NoError(t, p.Orders.Ping(t.Context()))

	d.SetPassword(t, login, "new")
	require.NoError(t, p.Orders.Ping(t.Context()), "who is in stays in")
	require.Error(t, p.Reads.Ping(t.Context()), "and who comes is refused")
	assert.Positive(t, refused.Load())
	current.Store(with("new"))
	require.NoError(t, p.Reads.Ping(t.Context()))
	require.NoError(t, p.Background.Ping(t.Context()))

	current.Store("hush://")
	p.Close()
	p = loggedIn(t, with("new"), postgres.WithLogin(postgres.Following(func() string { return current.Load().(string) }), nil))
	err := p.Orders.Ping(t.Context())
	require.ErrorIs(t, err, postgres.ErrUnavailable)
	assert.NotContains(t, err.Error(), "hush")
}

// No login, no connection; the reason is told.
func TestALoginThatFailsIsUnavailability(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	p := loggedIn(t, d.AppURL, postgres.WithLogin(postgres.Password(func(context.Context) (string, error) { return "", errors.New("no token today") }), nil))
	err := p.Orders.Ping(t.Context())
	require.ErrorIs(t, err, postgres.ErrUnavailable)
	require.ErrorContains(t, err, "no token today")
	require.ErrorContains(t, postgres.Migrate(t.Context(), d.OwnerURL, nil, postgres.WithLogin(postgres.Password(func(context.Context) (string, error) { return "", errors.New("no token today") }), nil)), "no token today")
}
