package secrets_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/tests/kit"
)

func tokens(t *testing.T, a *kit.Azure, logger *slog.Logger) *secrets.Tokens {
	t.Helper()
	identity, err := secrets.Identity(a.ClientID)
	require.NoError(t, err)
	return secrets.NewTokens(identity, secrets.ScopeRedis, logger)
}

// Many connections at once ask the identity's endpoint once.
func TestATokenIsFetchedOnceAndKept(t *testing.T) {
	a := kit.NewAzure(t)
	source := tokens(t, a, slog.New(slog.DiscardHandler))
	var (
		wait sync.WaitGroup
		seen sync.Map
	)
	for range 20 {
		wait.Go(func() {
			token, err := source.Get(t.Context())
			assert.NoError(t, err)
			seen.Store(token, true)
			id, err := secrets.ObjectID(token)
			assert.NoError(t, err)
			assert.Equal(t, a.ObjectID, id)
		})
	}
	wait.Wait()
	n := 0
	seen.Range(func(any, any) bool { n++; return true })
	assert.Equal(t, 1, n)
	_, resources := a.Log()
	assert.Equal(t, []string{"https://redis.azure.com"}, resources, "the scope as a resource")
}

// A token is replaced before it ends, and whoever uses it is told.
func TestATokenIsRenewedAheadOfItsEnd(t *testing.T) {
	a := kit.NewAzure(t)
	a.TokenLife(4 * time.Second)
	log := &journal{}
	source := tokens(t, a, slog.New(slog.NewTextHandler(log, nil)))
	first, err := source.Get(t.Context())
	require.NoError(t, err)
	a.TokenLife(time.Hour)
	var told atomic.Int32
	source.OnChange(func() { told.Add(1) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); source.Run(ctx) }()
	defer func() { cancel(); <-done }()
	require.Eventually(t, func() bool { return told.Load() > 0 }, 30*time.Second, 10*time.Millisecond)
	second, err := source.Get(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
	assert.Empty(t, log.String())
}

// While the identity can't be asked, the last token is good to its end; then there is an error that says why, and
// those who wait don't each try.
func TestAnIdentityThatIsAwayCostsNothingUntilTheTokenEnds(t *testing.T) {
	a := kit.NewAzure(t)
	a.TokenLife(3 * time.Second)
	source := tokens(t, a, slog.New(slog.DiscardHandler))
	first, err := source.Get(t.Context())
	require.NoError(t, err)
	var tries atomic.Int32
	a.FaultIdentity(func(w http.ResponseWriter, r *http.Request) bool {
		tries.Add(1)
		return kit.Refuse(http.StatusForbidden, "x", "no identity today")(w, r)
	})
	again, err := source.Get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, first, again)
	require.Eventually(t, func() bool { _, err = source.Get(t.Context()); return err != nil }, 10*time.Second, 100*time.Millisecond)
	require.ErrorContains(t, err, "403")
	require.ErrorContains(t, err, "no identity today")
	assert.NotContains(t, err.Error(), strings.Split(first, ".")[1], "nor the last token")
	before := tries.Load()
	for range 50 {
		_, err = source.Get(t.Context())
		require.Error(t, err)
	}
	assert.LessOrEqual(t, tries.Load()-before, int32(1))
	a.FaultIdentity(nil)
	require.Eventually(t, func() bool { _, err := source.Get(t.Context()); return err == nil }, 10*time.Second, 50*time.Millisecond)
}

func TestAnIdentityThatIsNotAssigned(t *testing.T) {
	kit.NewAzure(t)
	identity, err := secrets.Identity("11111111-2222-3333-4444-555555555555")
	require.NoError(t, err)
	_, err = secrets.NewTokens(identity, secrets.ScopePostgreSQL, slog.New(slog.DiscardHandler)).Get(t.Context())
	require.ErrorContains(t, err, "AZURE_CLIENT_ID")
	require.ErrorIs(t, err, secrets.ErrRefused)
}

func TestObjectIDOfWhatIsNoToken(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "a.b.c", "a.e30.c", "e30"} {
		_, err := secrets.ObjectID(token)
		assert.Error(t, err, token)
	}
}
