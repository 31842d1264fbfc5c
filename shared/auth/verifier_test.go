package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit/forge"
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
		id, err := v.Verify(t.Context(), p.Token(header, nil))
		require.NoError(t, err, "%v", header)
		assert.Equal(t, "customer-1", id.CustomerID())
	}
}

// RFC 8725, section 2: the ways to make a verifier use what the attacker has, or take what was not meant for it. Each is
// refused for its own reason, so that a check that is gone is not made up for by another one's luck.
func TestJW02AttacksAreRefusedForWhatTheyAre(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	_, err := v.Verify(t.Context(), p.Token(nil, nil))
	require.NoError(t, err)
	for _, attack := range forge.Attacks(p) {
		_, err := v.Verify(t.Context(), attack.Token)
		require.ErrorIs(t, err, ErrInvalidToken, attack.Name)
		assert.ErrorContains(t, err, attack.Says, attack.Name)
		if _, signature, _ := strings.Cut(attack.Token, "."); len(signature) > 100 {
			assert.NotContains(t, err.Error(), signature[len(signature)-20:], "an error is shown and logged; tokens are neither")
		}
	}
	assert.EqualValues(t, 1, p.Calls.Load(), "and none of them made us ask the issuer")
}

func TestJW02LongTokensFitAndOversizedOnesAreNotParsed(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	fits := p.Token(nil, object{"pad": strings.Repeat("x", 5<<10)})
	require.Less(t, len(fits), maxToken)
	_, err := v.Verify(t.Context(), fits)
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), strings.Repeat("x", maxToken+1))
	require.ErrorContains(t, err, "longer than", "before it is looked into")
}

func TestJW04AnyOneOfTheAudiences(t *testing.T) {
	t.Parallel()
	p := forge.Listen(t, "")
	issuer := issuerOf(p)
	issuer.Audiences = []string{"first", "second"}
	v := verifier(t, http.DefaultClient, issuer)
	for _, aud := range []any{"first", "second", []string{"second"}, []string{"other", "first"}} {
		_, err := v.Verify(t.Context(), p.Token(nil, object{"aud": aud}))
		require.NoError(t, err, "%v", aud)
	}
	_, err := v.Verify(t.Context(), p.Token(nil, object{"aud": []string{"first second", "other"}}))
	require.ErrorContains(t, err, "wrong audience")
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
		id, err := v.Verify(t.Context(), p.Token(object{"typ": "at+jwt"}, c.change))
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
		_, err := v.Verify(t.Context(), p.Token(nil, c.change))
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
