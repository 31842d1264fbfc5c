package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

func TestPD01TheRoutersRefusalsAreProblems(t *testing.T) {
	t.Parallel()
	e := open(t)
	for _, path := range []string{
		"/", "/nope", "/api/v1/things", things + "/", "/api/v2/things/1", "/%2e%2e/etc/passwd", "/api/v1/things/a%2Fb/c",
		"//api/v1/secret", "/api//v1/secret", "/api/v1/x/../secret", "/api/./v1/secret", "/api/v1/secret/.", "/api/v1/secret/..", "//evil.example/",
	} {
		problem(t, e.ask(t, http.MethodGet, path, ""), 404, "not-found")
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodTrace, http.MethodConnect, "FOO", "get"} {
		w := e.ask(t, method, things, correct)
		problem(t, w, 405, "")
		assert.Equal(t, "GET, HEAD, PUT, OPTIONS", w.Header().Get("Allow"))
	}
	doc := problem(t, e.ask(t, http.MethodGet, "/a%3Cb%3E%22", ""), 404, "not-found")
	assert.Contains(t, doc["instance"], "/a%3Cb%3E%22#", "still a URI")
	relative := open(t, func(c *rest.Config) { c.ProblemBase = "" }).ask(t, http.MethodGet, "/nope", "")
	assert.Contains(t, relative.Body.String(), `"type":"/docs/problems/not-found"`)
}

func TestPD02EveryKindOfProblemIsItsOwn(t *testing.T) {
	t.Parallel()
	slugs, titles := map[string]bool{}, map[string]bool{}
	for _, kind := range rest.Kinds {
		assert.Regexp(t, `^[a-z]+(-[a-z]+)*$`, kind.Slug)
		assert.False(t, slugs[kind.Slug], kind.Slug)
		assert.False(t, titles[kind.Title], kind.Title)
		slugs[kind.Slug], titles[kind.Title] = true, true
		assert.NotEmpty(t, http.StatusText(kind.Status))
		assert.GreaterOrEqual(t, kind.Status, 400)
		assert.NotEmpty(t, kind.Explain)
		assert.NotEmpty(t, kind.Mend)
		assert.False(t, kind.Standard, "standard kinds have no page")
	}
}

// PD-05: what went wrong inside is in the log, under the id that the caller was given, and nowhere else.
func TestPD05FailuresLeakNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, logged string }{
		{"/api/v1/fail/sql", cause},
		{"/api/v1/fail/boom", cause},
		{"/api/v1/fail/index", "index out of range"},
		{"/api/v1/fail/abort", "abort Handler"},
		{"/api/v1/fail/unencodable", "unsupported type"},
		{"/page/whole", cause},
	} {
		e := open(t)
		w := e.ask(t, http.MethodGet, c.path, "", "X-Correlation-ID", "find-me")
		if c.path != "/api/v1/fail/unencodable" {
			problem(t, w, 500, "")
		}
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.NotContains(t, w.Body.String(), "unsupported type")
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(e.log.String()), &line), "one line: logged once: %s", e.log)
		assert.Equal(t, "find-me", line["correlation_id"])
		assert.Equal(t, "ERROR", line["level"])
		assert.Contains(t, e.log.String(), c.logged)
		assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, things, "").Code, "and the next request is served")
	}
}

// A panic after the first byte can't become a 500 any more. The client must not take half an answer for a whole one.
func TestAHalfSentAnswerIsCut(t *testing.T) {
	t.Parallel()
	e := open(t)
	server := httptest.NewServer(e.Handler())
	defer server.Close()
	res, err := server.Client().Get(server.URL + "/page/half")
	require.NoError(t, err, "the host sends again what was cut before its first byte")
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, "the first half", string(got))
	assert.Contains(t, e.log.String(), cause)
	res, err = server.Client().Get(server.URL + things)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
}

func TestWhatIsAwayIs503WithRetryAfter(t *testing.T) {
	t.Parallel()
	e := open(t, func(c *rest.Config) { c.Deadline = 20 * time.Millisecond })
	for _, how := range []string{"away", "slow"} {
		w := e.ask(t, http.MethodGet, "/api/v1/fail/"+how, "", "X-Correlation-ID", "find-"+how)
		problem(t, w, 503, "dependency-unavailable")
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Contains(t, e.log.String(), `"correlation_id":"find-`+how+`"`)
	}
	unready := open(t, func(c *rest.Config) {
		c.Ready = func(context.Context) error { return errors.Join(postgres.ErrUnavailable, errors.New(cause)) }
	})
	token, err := unready.issuer.Token("ada", "catalog:read")
	require.NoError(t, err)
	problem(t, unready.ask(t, http.MethodGet, "/api/v1/secret", "", "Authorization", "Bearer "+token), 503, "dependency-unavailable")
}

func TestPD06AcceptIsNoReasonForNothing(t *testing.T) {
	t.Parallel()
	e := open(t)
	for _, accept := range []string{"application/xml", "text/html", "*/*", "application/json;q=0", "nonsense"} {
		ok := e.ask(t, http.MethodGet, things, "", "Accept", accept)
		assert.Equal(t, http.StatusOK, ok.Code, accept)
		assert.Equal(t, "application/json", ok.Header().Get("Content-Type"))
		problem(t, e.ask(t, http.MethodGet, "/nope", "", "Accept", accept), 404, "not-found")
		problem(t, e.ask(t, http.MethodPut, things, `{"name":""}`, "Accept", accept), 422, "validation")
		problem(t, e.ask(t, http.MethodGet, "/api/v1/fail/sold-out", "", "Accept", accept), 409, "sold-out")
	}
	for _, path := range []string{things, "/nope", "/api/v1/fail/sql", "/api/v1/fail/sold-out"} {
		get, head := e.ask(t, http.MethodGet, path, ""), e.ask(t, http.MethodHead, path, "")
		assert.Equal(t, get.Code, head.Code)
		assert.Equal(t, get.Header().Get("Content-Type"), head.Header().Get("Content-Type"))
		assert.Empty(t, head.Body.Bytes(), path)
	}
}

// JW-01: what is wrong is said in WWW-Authenticate, and only as much as the caller can use.
func TestJW01Challenges(t *testing.T) {
	t.Parallel()
	e := open(t)
	token := func(scope string, roles ...string) string {
		token, err := e.issuer.Token("ada", scope, roles...)
		require.NoError(t, err)
		return "Bearer " + token
	}
	const realm = `Bearer realm="order-catalog"`
	for _, c := range []struct {
		method, path, token string
		status              int
		slug, challenge     string
	}{
		{"GET", "/api/v1/secret", "", 401, "unauthorized", realm},
		{"GET", "/api/v1/secret?access_token=x", "", 401, "unauthorized", realm},
		{"GET", "/api/v1/secret", "Basic YTpi", 401, "unauthorized", realm},
		{"GET", "/api/v1/secret", "Bearer nonsense", 401, "unauthorized", realm + `, error="invalid_token"`},
		{"GET", "/api/v1/secret", "Bearer a b", 400, "malformed-request", realm + `, error="invalid_request"`},
		{"GET", "/api/v1/secret", token("order:read"), 403, "forbidden", realm + `, error="insufficient_scope", scope="catalog:read"`},
		{"POST", "/api/v1/boss", token("order:write"), 403, "forbidden", realm + `, error="insufficient_scope", scope="order:write"`},
		{"GET", "/api/v1/operate", token("order:write"), 403, "forbidden", realm + `, error="insufficient_scope"`},
		{"GET", "/api/v1/secret?access_token=x", token("catalog:read"), 400, "malformed-request", realm + `, error="invalid_request"`},
	} {
		var headers []string
		if c.token != "" {
			headers = []string{"Authorization", c.token}
		}
		w := e.ask(t, c.method, c.path, "", headers...)
		problem(t, w, c.status, c.slug)
		assert.Equal(t, c.challenge, w.Header().Get("WWW-Authenticate"), c.path)
	}
	w := e.ask(t, http.MethodGet, "/api/v1/secret", "", "Authorization", token("catalog:read"), "Authorization", token("catalog:read"))
	problem(t, w, 400, "malformed-request")
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, "/api/v1/secret", "", "Authorization", token("catalog:read")).Code)
	w = e.ask(t, http.MethodPost, "/api/v1/boss", "", "Authorization", token("order:write", "admin"))
	problem(t, w, 400, "idempotency-key-missing")
}

// What an operation asks of its caller is in the document, in words and for machines.
func TestTheDocumentSaysWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	raw, err := open(t).OpenAPI()
	require.NoError(t, err)
	type operation struct {
		Description string                `json:"description"`
		Security    []map[string][]string `json:"security"`
		Policy      map[string]string     `json:"x-policy"`
		Responses   map[string]any        `json:"responses"`
	}
	var doc struct {
		Paths map[string]map[string]operation `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(raw, &doc))
	for path, want := range map[string]struct {
		words  string
		needs  []string
		policy map[string]string
	}{
		"/api/v1/secret": {
			"Needs the scope `catalog:read`.",
			[]string{"catalog:read"},
			map[string]string{"name": "catalog:read", "scope": "catalog:read", "reach": "everyone's"},
		},
		"/api/v1/boss": {
			"Needs the scope `order:write`. Needs the role `admin`.",
			[]string{"order:write", "admin"},
			map[string]string{"name": "order:confirm", "scope": "order:write", "role": "admin", "reach": "everyone's"},
		},
		"/api/v1/any":   {"", []string{}, map[string]string{"name": "any-token", "reach": "own"}},
		"/api/v1/keyed": {"", nil, nil},
	} {
		for _, op := range doc.Paths[path] { // each has one
			assert.Equal(t, want.words, op.Description, path)
			assert.Equal(t, want.policy, op.Policy, path)
			assert.Equal(t, want.needs != nil, op.Responses["401"] != nil, path)
			assert.Equal(t, len(want.needs) > 0, op.Responses["403"] != nil, path)
			if want.needs != nil {
				assert.Equal(t, []map[string][]string{{"bearer": want.needs}}, op.Security, path)
			} else {
				assert.Empty(t, op.Security, path)
			}
		}
		assert.Len(t, doc.Paths[path], 1, path)
	}
}

func TestCorrelationIDs(t *testing.T) {
	t.Parallel()
	e := open(t)
	for _, good := range []string{"a", "0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d", "A.b_c:d-9", strings.Repeat("x", 128)} {
		assert.Equal(t, good, e.ask(t, http.MethodGet, things, "", "X-Correlation-ID", good).Header().Get("X-Correlation-ID"))
	}
	seen := map[string]bool{}
	for _, bad := range []string{"", strings.Repeat("x", 129), "a b", "a\tb", "a\"b", "{}", "a,b", "<script>", "ключ", "a/b", "a%0ab"} {
		got := e.ask(t, http.MethodGet, things, "", "X-Correlation-ID", bad).Header().Get("X-Correlation-ID")
		assert.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, got, "%q", bad)
		assert.False(t, seen[got], "each its own")
		seen[got] = true
	}
	twice := e.ask(t, http.MethodGet, things, "", "X-Correlation-ID", "a", "X-Correlation-ID", "a").Header()
	assert.Len(t, twice.Values("X-Correlation-ID"), 1)
	assert.NotEqual(t, "a", twice.Get("X-Correlation-ID"))
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	t.Parallel()
	e := open(t)
	etag := e.ask(t, http.MethodGet, things, "").Header().Get("ETag")
	for want, w := range map[int]*httptest.ResponseRecorder{
		200: e.ask(t, http.MethodGet, things, ""), 304: e.ask(t, http.MethodGet, things, "", "If-None-Match", etag),
		401: e.ask(t, http.MethodGet, "/api/v1/secret", ""), 404: e.ask(t, http.MethodGet, "/nope", ""),
		405: e.ask(t, http.MethodPost, things, ""), 415: e.ask(t, http.MethodPut, things, ""),
		422: e.ask(t, http.MethodPut, things, "{}"), 500: e.ask(t, http.MethodGet, "/page/whole", ""),
	} {
		assert.Equal(t, want, w.Code)
		for name, value := range map[string]string{
			"X-Content-Type-Options":    "nosniff",
			"Strict-Transport-Security": "max-age=63072000; includeSubDomains",
			"Content-Security-Policy":   "default-src 'none'; frame-ancestors 'none'",
			"Referrer-Policy":           "no-referrer",
			"Cache-Control":             "no-store",
		} {
			assert.Equal(t, value, w.Header().Get(name), want)
		}
		assert.NotEmpty(t, w.Header().Get("X-Correlation-ID"), want)
		if want == http.StatusNotModified {
			assert.Empty(t, w.Body.Bytes())
			assert.Equal(t, etag, w.Header().Get("ETag"))
			assert.Empty(t, w.Header().Get("Content-Type"))
		}
	}
}
