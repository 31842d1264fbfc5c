package auth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit/forge"
)

const (
	tenant  = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	tenant2 = "11111111-2222-3333-4444-555555555555"
	appID   = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
)

// root is the address of the provider's server.
func root(t *testing.T, p *forge.Provider) string {
	t.Helper()
	u, err := url.Parse(p.URL)
	require.NoError(t, err)
	return u.Scheme + "://" + u.Host
}

// entra starts an Entra-like tenant; its tokens have what a user's have.
func entra(t *testing.T) (*forge.Provider, object) {
	t.Helper()
	return forge.Listen(t, "/"+tenant+"/v2.0"), object{"tid": tenant, "oid": "o-1", "aud": appID, "ver": "2.0", "azp": "client-1"}
}

func TestIssuersComeFromJSON(t *testing.T) {
	t.Parallel()
	list, err := ParseIssuers(`[
		{"issuer": "https://login.microsoftonline.com/` + tenant + `/v2.0", "audiences": ["` + appID + `"]},
		{"alias": "old", "issuer": "https://sts.windows.net/` + tenant2 + `/", "audiences": ["api://shop"]},
		{"alias": "people", "issuer": "https://` + tenant + `.ciamlogin.com/` + tenant + `/v2.0", "audiences": ["` + appID + `"]},
		{"alias": "many", "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0", "tenants": ["` + tenant2 + `"], "audiences": ["` + appID + `"]},
		{"alias": "b2c", "issuer": "https://shop.b2clogin.com/` + tenant + `/v2.0/", "audiences": ["` + appID + `"], "policies": ["B2C_1_signin"],
		 "discovery": "https://shop.b2clogin.com/shop.onmicrosoft.com/{policy}/v2.0/.well-known/openid-configuration"},
		{"alias": "any", "issuer": "https://id.example/", "audiences": ["shop"], "algorithms": ["ES256"]}
	]`)
	require.NoError(t, err)
	all, err := sources(list)
	require.NoError(t, err)
	type seen struct{ kind, claim, iss, name, tenant, policy, discovery string }
	var got []seen
	for _, s := range all {
		got = append(got, seen{s.Kind, s.CustomerClaim, s.iss, s.name, s.tenant, s.policy, s.keys.discovery})
	}
	const well = ".well-known/openid-configuration"
	assert.Equal(t, []seen{
		{"entra", "oid", "https://login.microsoftonline.com/" + tenant + "/v2.0", "", tenant, "", "https://login.microsoftonline.com/" + tenant + "/v2.0/" + well},
		{"entra", "oid", "https://sts.windows.net/" + tenant2 + "/", "old", tenant2, "", "https://sts.windows.net/" + tenant2 + "/" + well},
		{"entra", "oid", "https://" + tenant + ".ciamlogin.com/" + tenant + "/v2.0", "people", tenant, "", "https://" + tenant + ".ciamlogin.com/" + tenant + "/v2.0/" + well},
		{"entra", "oid", "https://login.microsoftonline.com/" + tenant2 + "/v2.0", "many/" + tenant2, tenant2, "", "https://login.microsoftonline.com/organizations/v2.0/" + well},
		{"b2c", "sub", "https://shop.b2clogin.com/" + tenant + "/v2.0/", "b2c", tenant, "b2c_1_signin", "https://shop.b2clogin.com/shop.onmicrosoft.com/B2C_1_signin/v2.0/" + well},
		{"openid", "sub", "https://id.example/", "any", "", "", "https://id.example/" + well},
	}, got)
	assert.Equal(t, []string{appID, "api://" + appID}, all[0].Audiences, "both forms")
	assert.Equal(t, []string{"api://shop"}, all[1].Audiences)
	assert.Equal(t, []string{"RS256"}, all[0].Algorithms)
	assert.Equal(t, []string{"ES256"}, all[5].Algorithms)

	for _, bad := range []string{``, `{}`, `[{"isuer": "https://id.example"}]`, `[] []`, `[{"issuer": 7}]`, `["https://id.example"]`} {
		_, err := ParseIssuers(bad)
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "json:", bad)
	}
}

func TestMistakesInIssuersSayWhatToMend(t *testing.T) {
	t.Parallel()
	good := Issuer{URL: "https://id.example", Audiences: []string{"shop"}}
	require.NoError(t, CheckIssuers([]Issuer{good}))
	require.NoError(t, CheckIssuers([]Issuer{{URL: "http://[::1]:7072", Audiences: []string{"shop"}}}))
	v2 := Issuer{URL: "https://login.microsoftonline.com/" + tenant + "/v2.0", Audiences: []string{"shop"}}
	v1 := Issuer{URL: "https://sts.windows.net/" + tenant + "/", Audiences: []string{"shop"}}
	require.NoError(t, CheckIssuers([]Issuer{v1, v2}), "two forms of one tenant's tokens name the same people")
	b2c := Issuer{
		URL: "https://shop.b2clogin.com/" + tenant + "/v2.0/", Audiences: []string{"shop"}, Policies: []string{"a"}, Discovery: "https://shop.b2clogin.com/{policy}/x",
	}
	require.NoError(t, CheckIssuers([]Issuer{b2c}))
	change := func(i Issuer, f func(*Issuer)) []Issuer {
		f(&i)
		return []Issuer{i}
	}
	for says, list := range map[string][]Issuer{
		"no issuer":                     nil,
		"issuer is not an https URL":    change(good, func(i *Issuer) { i.URL = "id.example" }),
		"issuer is http, which is for":  change(good, func(i *Issuer) { i.URL = "http://id.example" }),
		"issuer has a user, a query":    change(good, func(i *Issuer) { i.URL += "?a=b" }),
		"discovery is http":             change(good, func(i *Issuer) { i.Discovery = "http://10.0.0.1/x" }),
		"audiences must name":           change(good, func(i *Issuer) { i.Audiences = nil }),
		"and no empty one":              change(good, func(i *Issuer) { i.Audiences = []string{"a", ""} }),
		"algorithms may hold":           change(good, func(i *Issuer) { i.Algorithms = []string{"HS256"} }),
		"kind must be":                  change(good, func(i *Issuer) { i.Kind = "oidc" }),
		"can change or be chosen":       change(good, func(i *Issuer) { i.CustomerClaim = "email" }),
		"oid means something":           change(good, func(i *Issuer) { i.CustomerClaim = "oid" }),
		"alias must be":                 change(good, func(i *Issuer) { i.Alias = "a|b" }),
		"policies are for":              change(good, func(i *Issuer) { i.Policies = []string{"a"} }),
		"needs policies":                change(b2c, func(i *Issuer) { i.Policies = nil }),
		"needs discovery with {policy}": change(b2c, func(i *Issuer) { i.Discovery = "" }),
		"only in the tenant's place":    change(good, func(i *Issuer) { i.URL = "https://id.example/{tenantid}" }),
		"needs tenants":                 change(v2, func(i *Issuer) { i.URL = "https://login.microsoftonline.com/{tenantid}/v2.0" }),
		"tenants are for":               change(v2, func(i *Issuer) { i.Tenants = []string{tenant} }),
		"tenants are ids": change(v2, func(i *Issuer) {
			i.URL, i.Tenants = "https://login.microsoftonline.com/{tenantid}/v2.0", []string{"shop.example"}
		}),
		"common, organizations and domain":  change(v2, func(i *Issuer) { i.URL = "https://login.microsoftonline.com/common/v2.0" }),
		"issuer 2: its alias is another":    {good, {URL: "https://other.example", Audiences: []string{"shop"}}},
		"issuer 2 (a): its alias":           {{Alias: "a", URL: "https://x.example", Audiences: []string{"shop"}}, {Alias: "a", URL: "https://y.example", Audiences: []string{"shop"}}},
		"issuer 2 (a): issuer 1 has tokens": {good, {Alias: "a", URL: good.URL, Audiences: []string{"shop"}}},
		"issuer 2: its alias is":            {v1, change(v2, func(i *Issuer) { i.CustomerClaim = "sub" })[0]},
	} {
		err := CheckIssuers(list)
		require.ErrorContains(t, err, says)
		_, err = NewVerifier(Config{Issuers: list, Client: http.DefaultClient})
		require.Error(t, err, says)
	}
	err := CheckIssuers([]Issuer{{URL: "x"}, {Alias: "b", URL: "y"}})
	require.Error(t, err)
	assert.Len(t, strings.Split(err.Error(), "\n"), 4, "all mistakes at once: %v", err)
}

func TestJW03EntraTenantIsExact(t *testing.T) {
	t.Parallel()
	p, user := entra(t)
	issuer := Issuer{URL: p.URL, Kind: KindEntra, Audiences: []string{"api://" + appID}}
	v := verifier(t, http.DefaultClient, issuer)
	for name, c := range map[string]struct {
		change object
		says   string
	}{
		"v2, the app's id":          {nil, ""},
		"v1, the app's URI":         {object{"aud": "api://" + appID}, ""},
		"another app":               {object{"aud": tenant2}, "wrong audience"},
		"a part of the URI":         {object{"aud": "api://" + appID + "/.default"}, "wrong audience"},
		"another tenant's guest":    {object{"tid": tenant2}, "wrong tenant"},
		"no tenant":                 {object{"tid": nil}, "wrong tenant"},
		"another tenant's issuer":   {object{"iss": strings.Replace(p.URL, tenant, tenant2, 1), "tid": tenant2}, "wrong issuer"},
		"the template":              {object{"iss": strings.Replace(p.URL, tenant, "{tenantid}", 1)}, "wrong issuer"},
		"no object id":              {object{"oid": nil, "email": "ada@example.com"}, "claim oid"},
		"the subject is no object":  {object{"oid": "", "sub": "s"}, "claim oid"},
		"scope is not Entra's":      {object{"scp": nil, "scope": "order:write"}, "not an access token"},
		"an algorithm not listed":   {object{"alg": "ES256"}, "algorithm"},
		"an ID token":               {object{"scp": nil, "azp": nil, "nonce": "n"}, "not an access token"},
		"an ID token with roles":    {object{"scp": nil, "azp": nil, "roles": []string{"order:write", "admin"}}, "not an access token"},
		"with a hash of its own":    {object{"at_hash": "x"}, "not an access token"},
		"scopes of an application?": {object{"idtyp": "app"}, "an application's"},
		"bound to a key":            {object{"cnf": object{"jkt": "x"}}, "bound to a key"},
	} {
		header := object{}
		claims := forge.With(user, c.change)
		if alg, ok := claims["alg"]; ok {
			header = object{"alg": alg, "kid": "ec"} // the alg of the token, not a claim
			delete(claims, "alg")
		}
		id, err := v.Verify(t.Context(), p.Token(header, claims))
		if c.says == "" {
			require.NoError(t, err, name)
			assert.Equal(t, "o-1", id.CustomerID(), name)
			assert.Equal(t, "client-1", id.Client)
			continue
		}
		require.ErrorIs(t, err, ErrInvalidToken, name)
		assert.ErrorContains(t, err, c.says, name)
	}
}

func TestJW05EntraApplications(t *testing.T) {
	t.Parallel()
	p, user := entra(t)
	v := verifier(t, http.DefaultClient, Issuer{URL: p.URL, Kind: KindEntra, Audiences: []string{appID}})
	app := forge.With(user, object{"scp": nil, "roles": []string{"order:read"}})
	for name, c := range map[string]struct {
		change  object
		says    string
		appOnly bool
		scopes  []string
	}{
		"a user":                      {object{"scp": "order:write", "idtyp": "user"}, "", false, []string{"order:write"}},
		"an application, v2":          {object{"idtyp": "app"}, "", true, []string{"order:read"}},
		"by its secret":               {object{"azpacr": "1"}, "", true, []string{"order:read"}},
		"v1, by its certificate":      {object{"azp": nil, "appid": "client-2", "appidacr": "2"}, "", true, []string{"order:read"}},
		"a public client has no such": {object{"azpacr": "0"}, "neither scopes nor an application", false, nil},
		"a user's without scopes":     {object{"azpacr": "1", "idtyp": "user"}, "neither scopes nor an application", false, nil},
	} {
		id, err := v.Verify(t.Context(), p.Token(nil, forge.With(app, c.change)))
		if c.says != "" {
			require.ErrorIs(t, err, ErrInvalidToken, name)
			assert.ErrorContains(t, err, c.says, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, c.appOnly, id.AppOnly, name)
		assert.Equal(t, c.scopes, id.Scopes, name)
		assert.Equal(t, []string{"order:read"}, id.Roles, name)
		assert.False(t, id.Admin(), name)
	}
}

// Of OpenID providers at large, RFC 9068's typ is what tells an access token, else what only such tokens carry.
func TestJW02AccessTokensOfManyKinds(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	for name, c := range map[string]struct{ header, change object }{
		"with scopes":             {nil, object{"nonce": "n"}},
		"Keycloak's":              {nil, object{"typ": "Bearer"}},
		"RFC 9068 without scopes": {object{"typ": "at+jwt"}, object{"scp": nil}},
		"a client's":              {nil, object{"scp": nil, "client_id": "batch"}},
	} {
		_, err := v.Verify(t.Context(), p.Token(c.header, c.change))
		require.NoError(t, err, name)
	}
}

func TestJW03ManyTenants(t *testing.T) {
	t.Parallel()
	p := forge.Listen(t, "/{tenantid}/v2.0")
	p.Self = p.URL
	template := p.URL
	own, consumers := forge.RSAKey("rsa", forge.RSA()), forge.RSAKey("consumers", forge.Stranger())
	own["issuer"] = template
	consumers["issuer"] = strings.Replace(template, anyTenant, "9188040d-6c67-4c5b-b112-36a304b66dad", 1)
	p.Publish(own, consumers)
	v := verifier(t, http.DefaultClient, Issuer{
		Alias: "work", URL: template, Kind: KindEntra, Tenants: []string{tenant, tenant2}, Audiences: []string{appID},
	})
	of := func(tid string, more object) object {
		return forge.With(object{"iss": strings.Replace(template, anyTenant, tid, 1), "tid": tid, "oid": "o-1", "aud": appID}, more)
	}
	one, err := v.Verify(t.Context(), p.Token(nil, of(tenant, nil)))
	require.NoError(t, err)
	two, err := v.Verify(t.Context(), p.Token(nil, of(tenant2, nil)))
	require.NoError(t, err)
	assert.Equal(t, "work/"+tenant+"|o-1", one.CustomerID())
	assert.NotEqual(t, one.Key(), two.Key(), "JW-06: the same object id in two tenants is two people")
	assert.Equal(t, one.Key(), v.CustomerKey(one.CustomerID()))
	assert.EqualValues(t, 1, p.Calls.Load(), "one set of keys for all of them")

	const third = "99999999-2222-3333-4444-555555555555"
	for name, c := range map[string]struct{ token, says string }{
		"a tenant not listed":                 {p.Token(nil, of(third, nil)), "wrong issuer"},
		"its issuer in a listed one's name":   {p.Token(nil, of(tenant, object{"tid": tenant2})), "wrong tenant"},
		"the template itself":                 {p.Token(nil, of(tenant, object{"iss": template})), "wrong issuer"},
		"by a key of another issuer's tokens": {forge.Mint(object{"alg": "RS256", "kid": "consumers"}, p.Claims(of(tenant, nil)), forge.Stranger()), "another issuer's tokens"},
	} {
		_, err := v.Verify(t.Context(), c.token)
		require.ErrorIs(t, err, ErrInvalidToken, name)
		assert.ErrorContains(t, err, c.says, name)
	}
}

// Each B2C policy has keys of its own under the same iss.
func TestJW06B2CPoliciesHaveTheirOwnKeys(t *testing.T) {
	t.Parallel()
	p := forge.Listen(t, "/"+tenant+"/v2.0/")
	other := forge.Listen(t, "")
	other.Self = p.URL
	other.Publish(forge.RSAKey("rsa", forge.Stranger()))
	mux := http.NewServeMux()
	mux.Handle("/B2C_1_signin/", http.StripPrefix("/B2C_1_signin", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Host = host(p); p.ServeHTTP(w, r) })))
	mux.Handle("/B2C_1_edit/", http.StripPrefix("/B2C_1_edit", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Host = host(other); other.ServeHTTP(w, r) })))
	v := verifier(t, &http.Client{Transport: routes{mux}}, Issuer{
		URL: p.URL, Kind: KindB2C, Audiences: []string{appID}, Policies: []string{"B2C_1_signin", "B2C_1_edit"},
		Discovery: root(t, p) + "/{policy}/.well-known/openid-configuration",
	})
	claims := func(more object) object { return p.Claims(forge.With(object{"aud": appID}, more)) }
	header := object{"alg": "RS256", "typ": "JWT", "kid": "rsa"}
	for name, token := range map[string]string{
		"by tfp":           forge.Mint(header, claims(object{"tfp": "B2C_1_signin"}), forge.RSA()),
		"by acr, as older": forge.Mint(header, claims(object{"acr": "b2c_1_signin"}), forge.RSA()),
		"the other policy": forge.Mint(header, claims(object{"tfp": "B2C_1_edit"}), forge.Stranger()),
		"with its tenant":  forge.Mint(header, claims(object{"tfp": "B2C_1_edit", "tid": tenant}), forge.Stranger()),
	} {
		id, err := v.Verify(t.Context(), token)
		require.NoError(t, err, name)
		assert.Equal(t, "customer-1", id.CustomerID())
	}
	for name, c := range map[string]struct{ token, says string }{
		"another policy's key": {forge.Mint(header, claims(object{"tfp": "B2C_1_edit"}), forge.RSA()), "signature"},
		"a policy not listed":  {forge.Mint(header, claims(object{"tfp": "B2C_1_reset"}), forge.RSA()), "wrong policy"},
		"no policy":            {forge.Mint(header, claims(nil), forge.RSA()), "wrong policy"},
		"tfp rules over acr":   {forge.Mint(header, claims(object{"tfp": "B2C_1_reset", "acr": "b2c_1_signin"}), forge.RSA()), "wrong policy"},
		"another tenant":       {forge.Mint(header, claims(object{"tfp": "B2C_1_signin", "tid": tenant2}), forge.RSA()), "wrong tenant"},
	} {
		_, err := v.Verify(t.Context(), c.token)
		require.ErrorIs(t, err, ErrInvalidToken, name)
		assert.ErrorContains(t, err, c.says, name)
	}
}

// Several issuers side by side: each token is held against its own issuer's keys, audience and algorithms.
func TestJW06IssuersStandSideBySide(t *testing.T) {
	t.Parallel()
	first, partner := forge.Listen(t, ""), forge.Listen(t, "/realm")
	partner.Publish(forge.RSAKey("rsa", forge.Stranger()), forge.ECKey("ec", forge.EC()))
	v := verifier(t, http.DefaultClient, issuerOf(first), Issuer{Alias: "partner", URL: partner.URL, Audiences: []string{"shop"}, Algorithms: []string{"ES256"}})
	es := object{"alg": "ES256", "typ": "JWT", "kid": "ec"}

	ours, err := v.Verify(t.Context(), first.Token(nil, nil))
	require.NoError(t, err)
	theirs, err := v.Verify(t.Context(), partner.Token(es, object{"aud": "shop"}))
	require.NoError(t, err)
	assert.Equal(t, "customer-1", ours.CustomerID())
	assert.Equal(t, "partner|customer-1", theirs.CustomerID(), "JW-06: the same sub of two issuers is two people")
	assert.NotEqual(t, ours.Key(), theirs.Key())
	for _, id := range []Identity{ours, theirs} {
		assert.Equal(t, id.Key(), v.CustomerKey(id.CustomerID()), "who is shown so is who is meant so")
	}
	assert.Equal(t, KeyOf("", "stranger|customer-1"), v.CustomerKey("stranger|customer-1"), "no issuer of ours is called so")

	for name, c := range map[string]struct{ token, says string }{
		"the other's audience":            {partner.Token(es, nil), "wrong audience"},
		"an algorithm of the other's":     {forge.Mint(object{"alg": "RS256", "kid": "rsa"}, partner.Claims(object{"aud": "shop"}), forge.Stranger()), "algorithm"},
		"the partner's key in our name":   {forge.Mint(object{"alg": "RS256", "kid": "rsa"}, first.Claims(nil), forge.Stranger()), "signature"},
		"a sub like a partner's customer": {first.Token(nil, object{"sub": "partner|customer-1"}), "another issuer's customer"},
	} {
		_, err := v.Verify(t.Context(), c.token)
		require.ErrorIs(t, err, ErrInvalidToken, name)
		assert.ErrorContains(t, err, c.says, name)
	}
	id, err := v.Verify(t.Context(), first.Token(nil, object{"sub": "google|5"}))
	require.NoError(t, err, "a bar alone is no issuer's")
	assert.Equal(t, KeyOf("", "google|5"), id.Key())

	calls := partner.Calls.Load()
	first.Down.Store(true)
	_, err = v.Verify(t.Context(), partner.Token(es, object{"aud": "shop", "sub": "another"}))
	require.NoError(t, err, "one issuer's trouble is not the others'")
	_, err = v.Verify(t.Context(), forge.Mint(es, object{"iss": "https://evil.example"}, nil))
	require.ErrorIs(t, err, ErrInvalidToken)
	assert.Equal(t, calls, partner.Calls.Load(), "nobody is asked about an issuer that isn't ours")
}

func TestJW06WhatNamesACustomer(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	for name, sub := range map[string]any{"empty": "", "a number": 7, "too long": strings.Repeat("x", 256), "a NUL": "a\x00b"} {
		_, err := v.Verify(t.Context(), p.Token(nil, object{"sub": sub}))
		require.ErrorIs(t, err, ErrInvalidToken, name)
	}
	id, err := v.Verify(t.Context(), p.Token(nil, object{"sub": strings.Repeat("x", 255)}))
	require.NoError(t, err)
	assert.Len(t, id.CustomerID(), 255)
}

func host(p *forge.Provider) string { return strings.TrimSuffix(strings.SplitN(p.URL, "/", 4)[2], "/") }

// routes sends what is below a path of the mux there, and the rest out.
type routes struct{ mux *http.ServeMux }

// RoundTrip implements http.RoundTripper.
func (r routes) RoundTrip(req *http.Request) (*http.Response, error) {
	h, pattern := r.mux.Handler(req)
	if pattern == "" {
		return http.DefaultTransport.RoundTrip(req)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result(), nil
}
