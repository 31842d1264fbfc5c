package rest_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// sane is what every answer is, whatever was asked: none of our faults, and bytes that the Functions host lets through (it
// makes a 500 of a header that isn't ASCII).
func sane(t *testing.T, e *edge, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Less(t, w.Code, 500, "%s", e.log)
	for name, values := range w.Header() {
		for _, v := range values {
			for i := range len(v) {
				require.True(t, v[i] >= ' ' && v[i] <= '~', "%s: %q", name, v)
			}
		}
	}
	require.True(t, utf8.Valid(w.Body.Bytes()))
	if w.Code >= 400 {
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	}
}

// FuzzHeaders sends a request whose headers are anybody's, to a read, to a keyed write and to what needs a token.
func FuzzHeaders(f *testing.F) {
	e := open(f, func(c *rest.Config) { c.Origins = []string{shop} })
	handler := e.Handler()
	names := []string{
		"Accept", "Authorization", "Content-Encoding", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Origin", "Prefer", "Traceparent",
		"Tracestate", "X-Correlation-Id", "Access-Control-Request-Method", "X-Http-Method-Override",
	}
	for i, value := range []string{
		"application/json;q=0, */*", "Bearer a.b.c", "gzip", `application/json; charset="utf-8"`, `W/"a", "b,c"`, "*", `"a\"b"`, shop, "respond-async; x=\",\"",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1,b=2", "find-me", "PUT", "DELETE",
	} {
		f.Add(uint8(i), value, uint8(i+1), "")
	}
	f.Fuzz(func(t *testing.T, first uint8, one string, second uint8, two string) {
		for _, to := range []struct{ method, path, body string }{
			{http.MethodGet, things, ""},
			{http.MethodPut, things, correct},
			{http.MethodPost, "/api/v1/keyed", ""},
			{http.MethodGet, "/api/v1/secret", ""},
			{http.MethodOptions, things, ""},
		} {
			r := httptest.NewRequest(to.method, to.path, strings.NewReader(to.body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Add(names[int(first)%len(names)], one)
			r.Header.Add(names[int(second)%len(names)], two)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			sane(t, e, w)
			if to.path == "/api/v1/secret" {
				require.GreaterOrEqual(t, w.Code, 400, "let in without a token")
			}
		}
	})
}

// FuzzBody sends any bytes as a JSON body: they are taken, or refused with the place.
func FuzzBody(f *testing.F) {
	e := open(f)
	handler := e.Handler()
	for _, seed := range []string{
		correct, `{"name":"ok","count":1,"parts":[{"count":2}]}`, `{"name":"\ud800"}`, `{"name":"\u0000"}`, "[1e999]", "null", `{"a":{"a":{"a":[[[`, "\xef\xbb\xbf{}", `{"name":"ok","name":"ok"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPut, things, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		sane(t, e, w)
		require.Contains(t, []int{200, 400, 413, 422}, w.Code, "%s", w.Body)
	})
}

// FuzzTarget asks for any path and query.
func FuzzTarget(f *testing.F) {
	e := open(f)
	handler := e.Handler()
	for _, seed := range []string{"/api/v1/things/x?size=1", "/api/v1/things/%00", "//evil/", "/..%2f", "/api/v1/fail/sold-out?%zz", "/api/v1/things/x?a=%00&a=2", "/api/v1/things/%ff", "*"} {
		f.Add(http.MethodGet, seed)
		f.Add("PUT", seed)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		if strings.Contains(target, "/fail/") || strings.Contains(target, "/page/") {
			return // these fail on purpose
		}
		r, err := http.NewRequest(method, target, strings.NewReader(correct))
		if err != nil || r.URL.Path == "" {
			return
		}
		r.RequestURI = target
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		sane(t, e, w)
		require.NotContains(t, []int{301, 302, 307, 308}, w.Code, "nobody is sent elsewhere")
	})
}

// FuzzEntityTags: what matches strongly matches weakly, a weak tag never matches strongly, and more tags match no less.
func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{`"a"`, `W/"a"`, `"b", "a"`, "*", `"a`, `a"`, `"x,y",W/"a" ,"`, `,,"a",,`} {
		f.Add(seed, `"a"`)
		f.Add(seed, `W/"a"`)
	}
	f.Fuzz(func(t *testing.T, header, etag string) {
		strong, weak := rest.MatchStrong(header, etag), rest.MatchWeak(header, etag)
		assert.False(t, strong && !weak)
		if strings.HasPrefix(etag, "W/") && strings.TrimSpace(header) != "*" {
			assert.False(t, rest.MatchStrong(header, `"`+strings.Trim(etag[2:], `"`)+`"`) && !strings.Contains(header, `"`), "a tag without quotes")
		}
		if etag == "" {
			assert.False(t, strong || weak)
			return
		}
		if proper := regexp.MustCompile(`^"[^"]*"$`).MatchString(etag); proper {
			assert.True(t, rest.MatchStrong(etag, etag))
			assert.True(t, rest.MatchStrong(`"other", `+etag, etag))
			assert.False(t, rest.MatchStrong("W/"+etag, etag))
			assert.True(t, rest.MatchWeak("W/"+etag, etag))
		}
	})
}

// FuzzTraceParent: whatever comes as trace context leaves as one that is valid, or not at all (TC-01).
func FuzzTraceParent(f *testing.F) {
	e := open(f)
	valid := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)
	for _, seed := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "",
	} {
		f.Add(seed, "a=1")
	}
	var left string
	e.Handle("GET /trace", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { left = telemetry.TraceParent(r.Context()) }))
	handler := e.Handler()
	f.Fuzz(func(t *testing.T, parent, state string) {
		r := httptest.NewRequest(http.MethodGet, "/trace", nil)
		r.Header.Set("Traceparent", parent)
		r.Header.Set("Tracestate", state)
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if left == "" {
			return
		}
		parts := valid.FindStringSubmatch(left)
		require.NotNil(t, parts, "%q", left)
		require.NotEmpty(t, strings.Trim(parts[1], "0"))
		require.NotEmpty(t, strings.Trim(parts[2], "0"))
		require.Contains(t, parent, parts[1], "it is the client's own")
	})
}

func FuzzIsOrigin(f *testing.F) {
	for _, seed := range []string{shop, "http://localhost:3000", "https://[::1]:8443", "null", "*", "https://a/b", "https://a@b", "https://\u212a.com"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if rest.IsOrigin(s) {
			require.Regexp(t, `^https?://[a-z0-9.:\[\]-]+$`, s)
		}
	})
}
