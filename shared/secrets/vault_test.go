package secrets_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/tests/kit"
)

var all = []string{secrets.PostgreSQL, secrets.Redis, secrets.ServiceBus, secrets.JWTSigningKey, secrets.WebhookSecret}

// The SDK's way to a vault: the first request has no token, the answer names the resource to get one for, and the
// identity's endpoint gives it.
func TestTheFiveSecretsComeThroughTheVaultsChallenge(t *testing.T) {
	a := kit.NewAzure(t)
	for _, name := range all {
		a.SetAt(name, "value of "+name, ago(time.Hour))
	}
	s := open(t, a, all...)
	for _, name := range all {
		assert.Equal(t, "value of "+name, s.Get(name))
		assert.Equal(t, []string{"value of " + name}, texts(s.Keys(name)))
	}
	asked, resources := a.Log()
	assert.True(t, strings.HasPrefix(asked[0], "401 "), asked[0])
	for _, resource := range resources {
		assert.Equal(t, a.Audience, resource)
	}
	assert.Empty(t, s.Get("nothing"))
	assert.Empty(t, s.Keys("nothing"))
}

// The newest version that is enabled counts, wherever the pages put it; older ones of a key still read.
func TestVersionsAreFoundOverAllPages(t *testing.T) {
	a := kit.NewAzure(t)
	for i := range 4 * kit.PageSize {
		text := string(rune('a' + i))
		a.SetAt(secrets.WebhookSecret, text, ago(time.Duration(100-i)*time.Hour))
		a.SetAt(secrets.PostgreSQL, text, ago(time.Duration(100-i)*time.Hour))
		a.SetAt(secrets.JWTSigningKey, text, ago(time.Duration(100-i)*time.Hour))
	}
	withdrawn := a.SetAt(secrets.WebhookSecret, "withdrawn", ago(time.Hour))
	later := a.SetAt(secrets.WebhookSecret, "later", ago(time.Hour))
	a.Change(func() { withdrawn.Enabled, later.NotBefore = false, time.Now().Add(time.Hour) })
	s := open(t, a, secrets.WebhookSecret, secrets.PostgreSQL, secrets.JWTSigningKey)
	assert.Equal(t, "l", s.Get(secrets.WebhookSecret))
	assert.Equal(t, strings.Split("l k j i h g f e d c b a", " "), texts(s.Keys(secrets.WebhookSecret)))
	assert.Equal(t, strings.Split("l k j", " "), texts(s.Keys(secrets.JWTSigningKey)))
	assert.Equal(t, []string{"l"}, texts(s.Keys(secrets.PostgreSQL)))
}

// What is missing in the vault may stand in the environment; what is nowhere is named. Only a Redis may have no password.
func TestTheEnvironmentStandsInForWhatTheVaultLacks(t *testing.T) {
	a := kit.NewAzure(t)
	a.SetAt(secrets.PostgreSQL, "of the vault", ago(time.Hour))
	disabled := a.SetAt(secrets.WebhookSecret, "of the vault", ago(time.Hour))
	a.Change(func() { disabled.Enabled = false })
	o := options(t, a, secrets.PostgreSQL, secrets.WebhookSecret, secrets.Redis)
	o.Fallback = map[string][]string{secrets.PostgreSQL: {"of the environment"}, secrets.WebhookSecret: {"new", "former"}}
	s, err := secrets.Open(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, "of the vault", s.Get(secrets.PostgreSQL))
	assert.Equal(t, []string{"new", "former"}, texts(s.Keys(secrets.WebhookSecret)))
	assert.Empty(t, s.Get(secrets.Redis))

	o.Fallback, o.Wait = nil, time.Minute
	began := time.Now()
	_, err = secrets.Open(t.Context(), o)
	require.ErrorContains(t, err, "WebhookSecret is in neither the vault shop.example.com, as an enabled version, nor the environment")
	assert.Less(t, time.Since(began), 5*time.Second, "waiting would not bring it")
}

func TestWithoutAVaultTheEnvironmentIsAllThereIs(t *testing.T) {
	t.Parallel()
	s := secrets.Fixed(map[string][]string{secrets.JWTSigningKey: {"new", "former"}, secrets.WebhookSecret: {"only", ""}, secrets.Redis: {""}})
	assert.Equal(t, "new", s.Get(secrets.JWTSigningKey))
	assert.Equal(t, []string{"new", "former"}, texts(s.Keys(secrets.JWTSigningKey)))
	assert.Equal(t, []string{"only"}, texts(s.Keys(secrets.WebhookSecret)))
	assert.Empty(t, s.Get(secrets.Redis))
	assert.Zero(t, s.Settles(secrets.JWTSigningKey))
	s.Run(t.Context()) // ends at once
}

// A vault that says no is not asked again and again: the process ends with what to mend.
func TestARefusalIsSaidAtOnceWithWhatToMend(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*kit.Azure)
		says  []string
	}{
		"another tenant": {(*kit.Azure).MoveIdentity, []string{"401 Unauthorized", "AKV10032: Invalid issuer", "tenant"}},
		"no role": {func(a *kit.Azure) {
			a.Fault(onlyWithToken(kit.Refuse(http.StatusForbidden, "Forbidden", "Caller is not authorized to perform action on resource.")))
		}, []string{"403 Forbidden", "Caller is not authorized", "Key Vault Secrets User"}},
		"identity not assigned": {func(a *kit.Azure) {
			a.FaultIdentity(kit.Refuse(http.StatusBadRequest, "x", "No User Assigned or Delegated Managed Identity found"))
		}, []string{"no token", "400 Bad Request", "No User Assigned", "AZURE_CLIENT_ID"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := kit.NewAzure(t)
			a.SetAt(secrets.WebhookSecret, "hush-hush", ago(time.Hour))
			c.spoil(a)
			o := options(t, a, secrets.WebhookSecret)
			o.Wait = time.Minute
			began := time.Now()
			_, err := secrets.Open(t.Context(), o)
			for _, text := range append(c.says, "shop.example.com") {
				require.ErrorContains(t, err, text)
			}
			require.ErrorIs(t, err, secrets.ErrRefused)
			assert.Less(t, time.Since(began), 10*time.Second)
			assert.NotContains(t, err.Error(), "hush")
			assert.NotContains(t, err.Error(), "\n")
			assert.Less(t, len(err.Error()), 700)
		})
	}
}

func onlyWithToken(fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.Header.Get("Authorization") != "" && fault(w, r)
	}
}

// A vault, or who poses as one, can't have a token for something else.
func TestAChallengeForAnotherResourceGetsNoToken(t *testing.T) {
	a := kit.NewAzure(t)
	a.SetAt(secrets.WebhookSecret, "x", ago(time.Hour))
	a.Change(func() { a.Audience = "https://management.azure.com" })
	o := options(t, a, secrets.WebhookSecret)
	o.Wait = time.Second
	_, err := secrets.Open(t.Context(), o)
	require.ErrorContains(t, err, "doesn't match the requested domain")
	_, resources := a.Log()
	assert.Empty(t, resources)
}

func TestAnAddressThatIsNoVaultsIsRefused(t *testing.T) {
	a := kit.NewAzure(t)
	for _, url := range []string{"http://shop.example.com", "shop.example.com", "https://", "https://u:p@shop.example.com", "https://shop.example.com/secrets/x", ":"} {
		o := options(t, a, secrets.WebhookSecret)
		o.URL = url
		_, err := secrets.Open(t.Context(), o)
		require.ErrorContains(t, err, "KEY_VAULT_URL", url)
	}
}

// A start waits for a vault that is away, silent, slow or busy, but not for ever.
func TestAStartWithoutAVaultEndsInTime(t *testing.T) {
	slow := func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done() // until the client has had enough
		return true
	}
	for name, c := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		says  string
	}{
		"away": {kit.Hang, "can't be reached"}, "slow": {slow, "can't be reached"},
		"failing":   {kit.Refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "Try later."), "503 Service Unavailable"},
		"throttled": {kit.Refuse(http.StatusTooManyRequests, "Throttled", "Too many.", "Retry-After", "30"), "throttled"},
	} {
		t.Run(name, func(t *testing.T) {
			a := kit.NewAzure(t)
			a.SetAt(secrets.WebhookSecret, "x", ago(time.Hour))
			a.Fault(c.fault)
			o := options(t, a, secrets.WebhookSecret)
			o.Wait = 1500 * time.Millisecond
			began := time.Now()
			_, err := secrets.Open(t.Context(), o)
			require.ErrorContains(t, err, "could not be read within 1.5s")
			require.ErrorContains(t, err, c.says)
			assert.InDelta(t, 1.5, time.Since(began).Seconds(), 1)
		})
	}
}

// The vault throttles whole seconds and then answers; so does one that is just coming up.
func TestAStartGetsOverABadMoment(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"throttled": kit.Refuse(http.StatusTooManyRequests, "Throttled", "Too many.", "Retry-After", "1"), "away": kit.Hang,
	} {
		t.Run(name, func(t *testing.T) {
			a := kit.NewAzure(t)
			a.SetAt(secrets.WebhookSecret, "x", ago(time.Hour))
			var times atomic.Int32
			a.Fault(func(w http.ResponseWriter, r *http.Request) bool { return times.Add(1) <= 4 && fault(w, r) })
			o := options(t, a, secrets.WebhookSecret)
			o.Wait = 20 * time.Second
			s, err := secrets.Open(t.Context(), o)
			require.NoError(t, err)
			assert.Equal(t, "x", s.Get(secrets.WebhookSecret))
		})
	}
}
