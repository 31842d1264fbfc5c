package main

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/auth"
)

// An order that waited for its queue until the request's deadline could not be queued any more.
func TestOrdersAreQueuedWellBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	for after, ok := range map[string]bool{"0s": true, "5s": true, "6s": false, "-1s": false} {
		_, err := load(environment(map[string]string{"REQUEST_TIMEOUT": "10s", "ORDER_QUEUE_AFTER": after}))
		if ok {
			assert.NoError(t, err, after)
			continue
		}
		assert.ErrorContains(t, err, "ORDER_QUEUE_AFTER", after)
	}
}

// environment is the least that load takes, with changes; "" takes a variable away.
func environment(changes map[string]string) map[string]string {
	all := map[string]string{
		"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing", "AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "test",
		"JWT_SIGNING_KEY": "a key for this test only", "WEBHOOK_SECRET": "a secret for this test only",
		"SERVICEBUS_CONNECTION": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;",
	}
	for name, value := range changes {
		if all[name] = value; value == "" {
			delete(all, name)
		}
	}
	return all
}

func TestIssuersComeFromTheOneFormOrTheListOrBoth(t *testing.T) {
	t.Parallel()
	const (
		entra   = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"
		partner = `[{"alias": "partner", "issuer": "https://id.example", "audiences": ["shop"]}]`
	)
	one := auth.Issuer{URL: "http://127.0.0.1:1", Audiences: []string{"test"}}
	other := auth.Issuer{Alias: "partner", URL: "https://id.example", Audiences: []string{"shop"}}
	for name, c := range map[string]struct {
		change map[string]string
		want   []auth.Issuer
		says   string
	}{
		"one":                       {nil, []auth.Issuer{one}, ""},
		"one with two audiences":    {map[string]string{"AUTH_AUDIENCE": "a,b"}, []auth.Issuer{{URL: one.URL, Audiences: []string{"a", "b"}}}, ""},
		"both":                      {map[string]string{"AUTH_ISSUERS": partner}, []auth.Issuer{one, other}, ""},
		"the list":                  {map[string]string{"AUTH_ISSUER": "", "AUTH_AUDIENCE": "", "AUTH_ISSUERS": partner}, []auth.Issuer{other}, ""},
		"neither":                   {map[string]string{"AUTH_ISSUER": ""}, nil, "AUTH_ISSUER is not set"},
		"no audience":               {map[string]string{"AUTH_AUDIENCE": ""}, nil, "AUTH_AUDIENCE is not set"},
		"an empty audience":         {map[string]string{"AUTH_AUDIENCE": "a,,b"}, nil, "AUTH_CUSTOMER_CLAIM: issuer 1: audiences"},
		"plain http":                {map[string]string{"AUTH_ISSUER": "http://id.example"}, nil, "want https"},
		"a claim that can change":   {map[string]string{"AUTH_CUSTOMER_CLAIM": "email"}, nil, "can change or be chosen"},
		"oid of anybody":            {map[string]string{"AUTH_CUSTOMER_CLAIM": "oid"}, nil, "oid means something in tokens of Entra"},
		"oid of Entra":              {map[string]string{"AUTH_CUSTOMER_CLAIM": "oid", "AUTH_ISSUER": entra}, []auth.Issuer{{URL: entra, Audiences: []string{"test"}, CustomerClaim: "oid"}}, ""},
		"no JSON":                   {map[string]string{"AUTH_ISSUERS": "https://id.example"}, nil, "AUTH_ISSUERS: is not a JSON array"},
		"a mistake in the list":     {map[string]string{"AUTH_ISSUERS": `[{"alias": "p", "issuer": "http://id.example", "audiences": ["a"]}]`}, nil, "AUTH_ISSUERS: issuer 1 (p): issuer is http"},
		"two without an alias":      {map[string]string{"AUTH_ISSUERS": `[{"issuer": "https://id.example", "audiences": ["a"]}]`}, nil, "from issuer 2 on): issuer 2: its alias"},
		"the same issuer twice":     {map[string]string{"AUTH_ISSUERS": `[{"alias": "p", "issuer": "http://127.0.0.1:1", "audiences": ["a"]}]`}, nil, "issuer 1 has tokens of the same iss"},
		"mistakes in both, at once": {map[string]string{"AUTH_ISSUER": "x", "AUTH_ISSUERS": "y"}, nil, "AUTH_ISSUERS: is not"},
	} {
		got, err := load(environment(c.change))
		if c.says != "" {
			assert.ErrorContains(t, err, c.says, name)
			continue
		}
		if assert.NoError(t, err, name) {
			assert.Equal(t, c.want, got.issuers, name)
		}
	}
}

// Settings that make no sense are all named at once, and none is quoted: some are secrets.
func TestConfigRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"DATABASE_URL": "postgres://x", "AUTH_ISSUER": "https://issuer.example", "AUTH_AUDIENCE": "a", "JWT_SIGNING_KEY": "0123456789abcdef",
		"WEBHOOK_SECRET": "0123456789abcdef", "SERVICEBUS_CONNECTION": "Endpoint=sb://x",
	}
	c, err := load(good)
	require.NoError(t, err)
	assert.Empty(t, c.CORSOrigins, "no page may call unless it is listed")
	assert.Equal(t, "off", c.RateLimitClients)

	wrong := map[string]string{
		"CORS_ALLOWED_ORIGINS": "https://shop.example,*", "RATE_LIMIT_CLIENTS": "quoted-client=many", "RATE_LIMIT_WITHOUT_REDIS": "checkout=quoted",
		"RATE_LIMIT_REST": "quoted", "JWT_SIGNING_KEY": "quoted", "REQUEST_TIMEOUT": "2h", "AUTH_ISSUER": "quoted",
	}
	all := maps.Clone(good)
	for variable, value := range wrong {
		one := maps.Clone(good)
		one[variable], all[variable] = value, value
		_, err := load(one)
		require.ErrorContains(t, err, variable)
		assert.NotContains(t, err.Error(), "quoted")
		assert.Equal(t, 1, strings.Count(err.Error(), "\n"), "%s alone is wrong: %v", variable, err)
	}
	_, err = load(all)
	for variable := range wrong {
		require.ErrorContains(t, err, variable)
	}
	for _, origins := range []string{"null", "https://shop.example/", "shop.example", "https://*.example"} {
		one := maps.Clone(good)
		one["CORS_ALLOWED_ORIGINS"] = origins
		_, err := load(one)
		require.ErrorContains(t, err, "CORS_ALLOWED_ORIGINS", origins)
	}
	good["CORS_ALLOWED_ORIGINS"] = "https://shop.example,http://localhost:3000"
	c, err = load(good)
	require.NoError(t, err)
	assert.Equal(t, []string{"https://shop.example", "http://localhost:3000"}, c.CORSOrigins)
}
