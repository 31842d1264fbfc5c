package rest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/company/order-catalog-service/shared/rest"
)

const shop = "https://shop.example"

// API8: pages of the listed origins may call the service, and no others.
func TestAPI8OnlyListedOriginsMayRead(t *testing.T) {
	t.Parallel()
	e := open(t, func(c *rest.Config) { c.Origins = []string{shop, "http://localhost:3000"} })
	for _, origin := range []string{shop, "http://localhost:3000"} {
		for path, status := range map[string]int{things: 200, "/api/v1/secret": 401, "/nope": 404, "/api/v1/fail/sql": 500} {
			w := e.ask(t, http.MethodGet, path, "", "Origin", origin)
			assert.Equal(t, status, w.Code)
			assert.Equal(t, []string{origin}, w.Header().Values("Access-Control-Allow-Origin"), path)
			assert.Contains(t, w.Header().Get("Access-Control-Expose-Headers"), "ETag")
			assert.Contains(t, w.Header().Values("Vary"), "Origin")
			assert.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"), "nobody is known by a cookie")
		}
	}
	for _, origin := range []string{
		"", "null", "*", "https://shop.example.evil.com", "https://evil.com", "http://shop.example", "https://SHOP.example", "https://shop.example/",
		"https://shop.example:8443", "https://xshop.example", "https://shop.example, https://evil.com", "https://shop.example\r\nX: y",
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			w := e.ask(t, method, things, "", "Origin", origin, "Access-Control-Request-Method", "PUT")
			for name := range w.Header() {
				assert.NotContains(t, name, "Access-Control", "%q", origin)
			}
			assert.Contains(t, w.Header().Values("Vary"), "Origin", "a cache must not keep it for the allowed one")
		}
	}
	twice := e.ask(t, http.MethodGet, things, "", "Origin", shop, "Origin", "https://evil.com")
	assert.Empty(t, twice.Header().Get("Access-Control-Allow-Origin"))
}

func TestPreflights(t *testing.T) {
	t.Parallel()
	e := open(t, func(c *rest.Config) { c.Origins = []string{shop} })
	w := e.ask(t, http.MethodOptions, "/api/v1/secret", "", "Origin", shop, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	assert.Equal(t, http.StatusNoContent, w.Code, "a browser sends no token with it")
	assert.Equal(t, shop, w.Header().Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "GET, HEAD, OPTIONS", w.Header().Get("Access-Control-Allow-Methods"))
	for _, name := range []string{"Authorization", "Idempotency-Key", "If-Match", "Content-Type"} {
		assert.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), name)
	}
	assert.Equal(t, "600", w.Header().Get("Access-Control-Max-Age"))
	assert.Subset(t, w.Header().Values("Vary"), []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"})
	assert.Equal(t, 404, e.ask(t, http.MethodOptions, "/nope", "", "Origin", shop, "Access-Control-Request-Method", "GET").Code)

	closed := open(t).ask(t, http.MethodOptions, things, "", "Origin", shop, "Access-Control-Request-Method", "PUT")
	assert.Equal(t, http.StatusNoContent, closed.Code)
	assert.Empty(t, closed.Header().Get("Access-Control-Allow-Origin"), "none is allowed unless listed")
	assert.Empty(t, closed.Header().Values("Vary"))
}

func TestWhatAnOriginIs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://shop.example", "http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]:8443", "https://a-b.xn--bcher-kva.example"} {
		assert.True(t, rest.IsOrigin(good), good)
	}
	for _, bad := range []string{
		"", "*", "null", "shop.example", "https://", "https://shop.example/", "https://shop.example/x", "https://Shop.example", "HTTPS://shop.example", "https://*.shop.example",
		"https://shop.example:443", "http://shop.example:80", "ftp://shop.example", "https://ada@shop.example", "https://shop.example?x", "https://shop.example#x", "https://shop example",
	} {
		assert.False(t, rest.IsOrigin(bad), bad)
	}
}
