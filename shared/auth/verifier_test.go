package auth

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJW01BearerIsOneHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []string
		want   string
		err    error
	}{
		{[]string{"Bearer abc"}, "abc", nil},
		{[]string{"bearer  abc "}, "abc", nil},
		{nil, "", ErrNoToken},
		{[]string{"Basic YTpi"}, "", ErrNoToken},
		{[]string{"Bearerabc"}, "", ErrNoToken},
		{[]string{""}, "", ErrNoToken},
		{[]string{"Bearer"}, "", ErrBadRequest},
		{[]string{"Bearer "}, "", ErrBadRequest},
		{[]string{"Bearer a b"}, "", ErrBadRequest},
		{[]string{"Bearer a, Bearer b"}, "", ErrBadRequest},
		{[]string{"Bearer a", "Bearer b"}, "", ErrBadRequest},
		{[]string{"Bearer a", "Basic YTpi"}, "", ErrBadRequest},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?token=abc", strings.NewReader("access_token=abc"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header["Authorization"] = c.values
		if c.values == nil {
			r.Header.Del("Authorization")
		}
		got, err := Bearer(r)
		require.ErrorIs(t, err, c.err, "%q", c.values)
		assert.Equal(t, c.want, got, "%q", c.values)

		r.URL.RawQuery = "access_token=abc"
		got, err = Bearer(r)
		assert.Empty(t, got, "%q", c.values)
		if c.err == nil {
			c.err = ErrBadRequest // two ways at once
		}
		require.ErrorIs(t, err, c.err, "%q", c.values)
	}
}

func TestJW02AcceptedAlgorithms(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	for _, header := range []object{
		{}, {"alg": "PS256"}, {"alg": "ES256", "kid": "ec"}, {"typ": "at+jwt"}, {"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"typ": nil},
	} {
		id, err := v.Verify(t.Context(), p.token(header, nil))
		require.NoError(t, err, "%v", header)
		assert.Equal(t, "customer-1", id.CustomerID())
	}
}

// TestJW02NoTokenChoosesHowItIsChecked is RFC 8725, section 2: the ways to make a verifier use what the attacker has.
func TestJW02NoTokenChoosesHowItIsChecked(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	good := p.token(nil, nil)
	_, err := v.Verify(t.Context(), good)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	modulus := rsaKey().N.Bytes()
	jwkDoc, err := json.Marshal(rsaJWK("rsa", rsaKey()))
	require.NoError(t, err)
	parts := strings.Split(good, ".")
	hs := object{"alg": "HS256", "typ": "JWT", "kid": "rsa"}
	const rs256 = `{"alg":"RS256","kid":"rsa"}`
	for name, c := range map[string]struct{ token, says string }{
		"alg none":                     {mint(object{"alg": "none", "kid": "rsa"}, p.claims(nil), nil), "algorithm"},
		"alg None":                     {mint(object{"alg": "None", "kid": "rsa"}, p.claims(nil), nil), ""},
		"alg missing":                  {mint(object{"kid": "rsa"}, p.claims(nil), nil), ""},
		"alg none, old signature":      {b64([]byte(`{"alg":"none","kid":"rsa"}`)) + "." + parts[1] + "." + parts[2], "algorithm"},
		"HS256 with the public PEM":    {mac(hs, p.claims(nil), public), "algorithm"},
		"HS256 with the public DER":    {mac(hs, p.claims(nil), der), "algorithm"},
		"HS256 with the modulus":       {mac(hs, p.claims(nil), modulus), "algorithm"},
		"HS256 with the JWK":           {mac(hs, p.claims(nil), jwkDoc), "algorithm"},
		"RS512, which is not listed":   {mint(object{"alg": "RS512", "kid": "rsa"}, p.claims(nil), rsaKey()), "algorithm"},
		"ES256 said of an RSA key":     {mint(object{"alg": "ES256", "kid": "rsa"}, p.claims(nil), nil), ""},
		"RS256 said of an EC key":      {mint(object{"alg": "RS256", "kid": "ec"}, p.claims(nil), rsaKey()), ""},
		"a stranger's key":             {mint(object{"alg": "RS256", "kid": "rsa"}, p.claims(nil), otherKey()), ""},
		"a stranger's key, sent along": {mint(object{"alg": "RS256", "kid": "rsa", "jwk": rsaJWK("rsa", otherKey())}, p.claims(nil), otherKey()), "header jwk"},
		"jwk, though unused":           {p.token(object{"jwk": rsaJWK("rsa", rsaKey())}, nil), "header jwk"},
		"jku":                          {p.token(object{"jku": p.url + "/keys"}, nil), "header jku"},
		"x5u":                          {p.token(object{"x5u": p.url + "/keys"}, nil), "header x5u"},
		"x5c":                          {p.token(object{"x5c": []string{"MIIB"}}, nil), ""},
		"crit":                         {p.token(object{"crit": []string{"exp"}, "exp": 1}, nil), "header crit"},
		"b64":                          {p.token(object{"b64": true}, nil), "header b64"},
		"nested":                       {p.token(object{"cty": "JWT"}, nil), "header cty"},
		"zip":                          {p.token(object{"zip": "DEF"}, nil), "header zip"},
		"alg twice":                    {sign(`{"alg":"none","kid":"rsa","alg":"RS256"}`, text(p.claims(nil))), "names a member twice"},
		"kid twice":                    {sign(`{"alg":"RS256","kid":"x","kid":"rsa"}`, text(p.claims(nil))), "names a member twice"},
		"sub twice":                    {sign(rs256, text(p.claims(nil))[1:], `{"sub":"admin",`), "names a member twice"},
		"a member twice, inside":       {sign(rs256, text(p.claims(object{"x": json.RawMessage(`[{"a":{"b":1,"b":2}}]`)}))), "names a member twice"},
		"two payloads":                 {sign(rs256, text(p.claims(nil))+text(p.claims(nil))), "goes on after its end"},
		"a payload that is a token":    {sign(rs256, good), "not a JSON object"},
		"a payload that is a list":     {sign(rs256, "["+text(p.claims(nil))+"]"), "not a JSON object"},
		"a payload without an end":     {sign(rs256, strings.TrimSuffix(text(p.claims(nil)), "}")), "is not JSON"},
		"padded":                       {parts[0] + "=." + parts[1] + "." + parts[2], "base64url"},
		"loose last bits":              {parts[0] + "." + parts[1] + "." + loose(parts[2]), "base64url"},
		"kid of a kilobyte":            {p.token(object{"kid": strings.Repeat("k", 1<<10)}, nil), "no key id"},
		"kid that is a number":         {p.token(object{"kid": 7}, nil), "no key id"},
		"alg that is a number":         {p.token(object{"alg": 7}, nil), "algorithm"},
		"typ that is a number":         {p.token(object{"typ": 7}, nil), "typ is not"},
		"names are exact":              {sign(`{"ALG":"RS256","kid":"rsa"}`, text(p.claims(nil))), "algorithm"},
		"typ of another kind":          {p.token(object{"typ": "logout+jwt"}, nil), "typ is not"},
		"kid missing":                  {p.token(object{"kid": nil}, nil), "no key id"},
		"kid empty":                    {p.token(object{"kid": ""}, nil), "no key id"},
		"payload changed":              {parts[0] + "." + b64([]byte(`{"sub":"admin"}`)) + "." + parts[2], ""},
		"signature cut off":            {parts[0] + "." + parts[1] + ".", ""},
		"no signature part":            {parts[0] + "." + parts[1], ""},
		"five parts, an encrypted one": {good + ".a.b", ""},
		"JSON serialization":           {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "not a signed JWT"},
		"no JWT":                       {"abc", "not a signed JWT"},
		"empty":                        {"", "not a signed JWT"},
	} {
		_, err := v.Verify(t.Context(), c.token)
		require.ErrorIs(t, err, ErrInvalidToken, name)
		assert.ErrorContains(t, err, c.says, name)
		assert.NotContains(t, err.Error(), parts[2], "an error is shown and logged; tokens are neither")
	}
}

func TestJW02OversizedTokensAreNotParsed(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	fits := p.token(nil, object{"pad": strings.Repeat("x", 4<<10)})
	require.Less(t, len(fits), maxToken)
	_, err := v.Verify(t.Context(), fits)
	require.NoError(t, err)
	over := p.token(nil, object{"pad": strings.Repeat("x", 7<<10)})
	require.Greater(t, len(over), maxToken)
	_, err = v.Verify(t.Context(), over)
	require.ErrorIs(t, err, ErrInvalidToken)
	assert.ErrorContains(t, err, "longer than")
}

func TestJW03JW04IssuerAndAudienceAreExact(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	for _, c := range []struct {
		change object
		says   string // "" lets it in
	}{
		{object{"aud": []string{"other", audience}}, ""},
		{object{"aud": []string{audience}}, ""},
		{object{"iss": p.url + "/"}, "wrong issuer"},
		{object{"iss": strings.ToUpper(p.url)}, "wrong issuer"},
		{object{"iss": p.url + ".evil.example"}, "wrong issuer"},
		{object{"iss": nil}, "wrong issuer"},
		{object{"aud": "other"}, "wrong audience"},
		{object{"aud": audience + "/x"}, "wrong audience"},
		{object{"aud": audience[:len(audience)-1]}, "wrong audience"},
		{object{"aud": "x " + audience}, "wrong audience"},
		{object{"aud": []string{}}, "wrong audience"},
		{object{"aud": nil}, "wrong audience"},
	} {
		_, err := v.Verify(t.Context(), p.token(nil, c.change))
		if c.says == "" {
			require.NoError(t, err, "%v", c.change)
			continue
		}
		require.ErrorIs(t, err, ErrInvalidToken, "%v", c.change)
		assert.ErrorContains(t, err, c.says, "%v", c.change)
	}
}

func TestJW05ScopesAndRoles(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	for name, c := range map[string]struct {
		change        object
		scopes, roles []string
	}{
		"delegated":                   {object{"scp": "a  b"}, []string{"a", "b"}, nil},
		"scp as an array":             {object{"scp": []any{"a", 7, "b"}}, []string{"a", "b"}, nil},
		"delegated with a user role":  {object{"scp": "a", "roles": []string{"admin"}}, []string{"a"}, []string{"admin"}},
		"a role is no scope":          {object{"scp": "a", "roles": []string{"order:write"}}, []string{"a"}, []string{"order:write"}},
		"a scope is no role":          {object{"scp": "admin"}, []string{"admin"}, nil},
		"empty scp is still one":      {object{"scp": "", "roles": []string{"order:write"}}, nil, []string{"order:write"}},
		"app-only":                    {object{"scp": nil, "roles": []string{"order:write"}}, []string{"order:write"}, []string{"order:write"}},
		"neither":                     {object{"scp": nil}, nil, nil},
		"scope, as RFC 9068 has it":   {object{"scp": nil, "scope": "a b"}, []string{"a", "b"}, nil},
		"a role beside scope":         {object{"scp": nil, "scope": "a", "roles": []string{"order:write"}}, []string{"a"}, []string{"order:write"}},
		"scope adds nothing to scp":   {object{"scp": "a", "scope": "order:write"}, []string{"a"}, nil},
		"roles that are no names":     {object{"scp": "a", "roles": object{"admin": true}}, []string{"a"}, nil},
		"scp that is no text at all":  {object{"scp": 7, "roles": []string{"order:write"}}, nil, []string{"order:write"}},
		"a longer name is not a part": {object{"scp": "order:writes"}, []string{"order:writes"}, nil},
	} {
		id, err := v.Verify(t.Context(), p.token(object{"typ": "at+jwt"}, c.change))
		require.NoError(t, err, name)
		assert.ElementsMatch(t, c.scopes, id.Scopes, name)
		assert.ElementsMatch(t, c.roles, id.Roles, name)
	}
}

func TestJW07TimesHaveAMinuteOfLeeway(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, c := range map[string]struct {
		change object
		says   string
	}{
		"expired within the leeway":  {object{"exp": at(-30 * time.Second)}, ""},
		"expired":                    {object{"exp": at(-90 * time.Second)}, "expired"},
		"early within the leeway":    {object{"nbf": at(30 * time.Second)}, ""},
		"early":                      {object{"nbf": at(90 * time.Second)}, "not valid yet"},
		"issued within the leeway":   {object{"iat": at(30 * time.Second)}, ""},
		"issued in the future":       {object{"iat": at(90 * time.Second)}, "wrong"},
		"no exp":                     {object{"exp": nil}, "exp is missing"},
		"exp as a text":              {object{"exp": "tomorrow"}, "not of its type"},
		"neither nbf nor iat needed": {object{"nbf": nil, "iat": nil}, ""},
	} {
		_, err := v.Verify(t.Context(), p.token(nil, c.change))
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, ErrInvalidToken, name)
		assert.ErrorContains(t, err, c.says, name)
	}
}

// CX-18: whatever a subject is made of, two callers never share a key.
func TestCX18IdentityKeysAreDigestsWithLengths(t *testing.T) {
	t.Parallel()
	seen := map[string]Identity{}
	for _, id := range []Identity{
		{Issuer: "a", Subject: "bc"},
		{Issuer: "ab", Subject: "c"},
		{Subject: "abc"},
		{Issuer: "abc"},
		{Issuer: "google", Subject: "5"},
		{Subject: "google|5"},
		{Issuer: "google|5"},
		{Issuer: "google", Subject: "|5"},
		{Subject: "a}b"},
		{Subject: "a{b"},
		{Subject: "a}"},
		{Subject: "}"},
		{Subject: "a|b"},
		{Issuer: "a", Subject: "b"},
		{Subject: "Ada"},
		{Subject: "ada"},
		{Subject: "ada "},
	} {
		key := id.Key().String()
		assert.Regexp(t, `^[0-9a-f-]{36}$`, key, "nothing of a subject reaches into a name made from the key")
		assert.NotContains(t, seen, key, "%+v and %+v are one", id, seen[key])
		seen[key] = id
		assert.Equal(t, key, KeyOf(id.Issuer, id.Subject).String())
		id.Scopes, id.Roles = []string{"x"}, []string{RoleAdmin}
		assert.Equal(t, key, id.Key().String(), "who, not what they may")
	}
	// Rows carry the digest: another one would orphan them all.
	assert.Equal(t, "86deca57-4df3-fb6e-284e-7ffd85c19c2c", KeyOf("", "customer-1").String())
	assert.Equal(t, "google|5", Identity{Issuer: "google", Subject: "5"}.CustomerID(), "shown, never compared")
}
