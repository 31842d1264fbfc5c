package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
	"github.com/company/order-catalog-service/tests/kit/forge"
)

const (
	tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	appID  = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
)

// TestJW02AttacksAreRefusedOverHTTP sends every token of the corpus to the running service.
func TestJW02AttacksAreRefusedOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := forge.Listen(t, "")
	s := w.start(t, w.AppURL, host.Limits{}, `AUTH_ISSUERS=[{"alias": "forge", "issuer": "`+p.URL+`", "audiences": ["`+forge.Audience+`"]}]`)
	read := func(token string) reply {
		got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders", token: token})
		require.NoError(t, err)
		return got
	}
	got := read(p.Token(nil, nil))
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)
	for _, attack := range forge.Attacks(p) {
		got := read(attack.Token)
		if strings.ContainsAny(attack.Token, " ,") { // no token has these: the header is wrong, not what is in it
			assert.Equal(t, http.StatusBadRequest, got.status, attack.Name)
			assert.Equal(t, `Bearer realm="order-catalog", error="invalid_request"`, got.header.Get("WWW-Authenticate"), attack.Name)
			continue
		}
		assert.Equal(t, http.StatusUnauthorized, got.status, "%s: %s", attack.Name, got.body)
		assert.Equal(t, `Bearer realm="order-catalog", error="invalid_token"`, got.header.Get("WWW-Authenticate"), attack.Name)
		assert.Contains(t, string(got.body), attack.Says, attack.Name)
		assert.NotContains(t, string(got.body), attack.Token, attack.Name)
	}
	assert.LessOrEqual(t, p.Calls.Load(), int64(2), "unknown key ids made us ask at most once")
	require.Equal(t, http.StatusOK, read(p.Token(nil, nil)).status, "and the good ones go on")
}

// TestJW06IssuersSideBySideOverHTTP: the same name at three issuers is three customers, and none sees another's.
func TestJW06IssuersSideBySideOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	partner, corp := forge.Listen(t, "/realm"), forge.Listen(t, "/"+tenant+"/v2.0")
	s := w.start(t, w.AppURL, host.Limits{}, `AUTH_ISSUERS=[
		{"alias": "partner", "issuer": "`+partner.URL+`", "audiences": ["`+forge.Audience+`"], "algorithms": ["ES256"]},
		{"alias": "corp", "kind": "entra", "issuer": "`+corp.URL+`", "audiences": ["api://`+appID+`"]}]`)
	name := "customer-" + kit.Unique(t)
	admin, err := w.issuer.Token("admin", kit.Everything, "admin")
	require.NoError(t, err)
	product := w.Product(t, 10).String()
	tokens := map[string]string{
		name:              w.token(t, name),
		"partner|" + name: partner.Token(forge.Object{"alg": "ES256", "kid": "ec"}, forge.Object{"sub": name, "scp": kit.Everything}),
		"corp|" + name:    corp.Token(nil, forge.Object{"tid": tenant, "oid": name, "aud": appID, "scp": kit.Everything, "sub": "pairwise"}),
	}
	orders := map[string]string{}
	for customer, token := range tokens {
		got, err := s.send(t.Context(), call{
			method: http.MethodPost, path: "/api/v1/orders", token: token, key: "the same key", body: draft(customer, map[string]int{product: 1}),
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, got.status, "%s: %s", customer, got.body)
		assert.Empty(t, got.header.Get("Idempotent-Replayed"), "a key is its caller's")
		orders[customer] = got.header.Get("Location")
	}
	for owner, path := range orders {
		for customer, token := range tokens {
			got, err := s.send(t.Context(), call{method: http.MethodGet, path: path, token: token})
			require.NoError(t, err)
			want := http.StatusNotFound
			if owner == customer {
				want = http.StatusOK
			}
			assert.Equal(t, want, got.status, "%s reads the order of %s", customer, owner)
		}
		got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders?customerId=" + url.QueryEscape(owner), token: admin})
		require.NoError(t, err)
		assert.Contains(t, string(got.body), path[strings.LastIndex(path, "/")+1:], "an admin names a customer as they are shown: %s", got.body)
		assert.Equal(t, 1, strings.Count(string(got.body), `"orderNumber"`), "%s", got.body)
	}
	for says, token := range map[string]string{
		"wrong tenant": corp.Token(nil, forge.Object{"tid": uuid.NewString(), "oid": name, "aud": appID}),
		"algorithm":    partner.Token(nil, forge.Object{"sub": name}),
		"claim oid":    corp.Token(nil, forge.Object{"tid": tenant, "aud": appID, "email": "a@b.example"}),
	} {
		got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders", token: token})
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, got.status)
		assert.Contains(t, string(got.body), says)
	}
}

// TestJW09RotationOverHTTP: a key that was published ahead is taken at once, one that nobody has seen after one look, and
// tokens of keys that are gone are worth nothing from then on.
func TestJW09RotationOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	status := func(token string) int {
		got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders", token: token})
		require.NoError(t, err)
		return got.status
	}
	first := w.token(t, "ada")
	require.Equal(t, http.StatusOK, status(first))
	require.NoError(t, w.issuer.Rotate(false))
	second := w.token(t, "ada")
	require.Equal(t, http.StatusOK, status(second), "nobody had to look")
	require.Equal(t, http.StatusOK, status(first), "the former key's tokens live on")

	require.NoError(t, w.issuer.Rotate(true))
	third := w.token(t, "ada")
	require.Eventually(t, func() bool { return status(third) == http.StatusOK }, 30*time.Second, 500*time.Millisecond,
		"the issuer is asked anew, though not more than once in ten seconds")
	assert.Equal(t, http.StatusUnauthorized, status(first), "remembered or not")
	assert.Equal(t, http.StatusUnauthorized, status(second))
}
