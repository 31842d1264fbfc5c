package rest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/company/order-catalog-service/shared/rest"
)

func TestCC02AndCC03ValidatorsAreCompared(t *testing.T) {
	t.Parallel()
	const tag = `"a"`
	for _, c := range []struct {
		header, etag string
		strong, weak bool
	}{
		{tag, tag, true, true},
		{`W/"a"`, tag, false, true},
		{tag, `W/"a"`, false, true},
		{`"b", "a"`, tag, true, true},
		{` , "b",, "a" ,`, tag, true, true},
		{`"b"`, tag, false, false},
		{"*", tag, true, true},
		{" * ", tag, true, true},
		{"*", "", false, false},
		{`"*"`, tag, false, false},
		{`"b", *`, tag, false, false}, // only alone
		{`a`, tag, false, false},
		{`a, "a"`, tag, true, true}, // what is no tag is passed over
		{`"a"x, "b"`, tag, false, false},
		{`"a`, tag, false, false},
		{`"b, "a"`, tag, false, false},
		{`"x,"a",y"`, `"x,"`, false, false},
		{`"x,y", "a"`, `"x,y"`, true, true}, // a comma inside of a tag
		{`w/"a"`, tag, false, false},        // W is case-sensitive
		{"", tag, false, false},
	} {
		assert.Equal(t, c.strong, rest.MatchStrong(c.header, c.etag), "%+v", c)
		assert.Equal(t, c.weak, rest.MatchWeak(c.header, c.etag), "%+v", c)
	}
	assert.NotEqual(t, rest.ETag([]byte("a")), rest.ETag([]byte("b")))
	assert.Regexp(t, `^"[A-Za-z0-9_-]{16}"$`, rest.ETag(nil))
}

// CC-02: a 304 carries what a cache needs and no body, however many lines and spellings the condition has.
func TestCC02NotModified(t *testing.T) {
	t.Parallel()
	e := open(t)
	whole := e.ask(t, http.MethodGet, things, "")
	etag := whole.Header().Get("ETag")
	for _, headers := range [][]string{
		{"If-None-Match", etag},
		{"If-None-Match", "W/" + etag},
		{"If-None-Match", `"x", ` + etag},
		{"If-None-Match", "*"},
		{"If-None-Match", `"x"`, "If-None-Match", etag},
		{"If-None-Match", "nonsense, " + etag},
		{"If-None-Match", etag, "If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := e.ask(t, method, things, "", headers...)
			assert.Equal(t, http.StatusNotModified, w.Code, headers)
			assert.Equal(t, etag, w.Header().Get("ETag"))
			assert.Equal(t, whole.Header().Get("Cache-Control"), w.Header().Get("Cache-Control"))
			assert.Empty(t, w.Body.Bytes())
			assert.Empty(t, w.Header().Get("Content-Length"))
		}
	}
	for _, tags := range []string{"", `"x"`, "nonsense", etag[1:], `"x`} {
		assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, things, "", "If-None-Match", tags).Code, tags)
	}
}

// CC-03 and CC-04: If-Match is asked before If-None-Match, dates are passed over as nothing here has one, and what would
// fail anyway fails for its own reason.
func TestCC04TheOrderOfConditions(t *testing.T) {
	t.Parallel()
	e := open(t)
	etag := e.ask(t, http.MethodGet, things, "").Header().Get("ETag")
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, things, "", "If-Match", etag).Code)
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, things, "", "If-Match", `"x"`, "If-Match", etag).Code, "two lines are one list")
	problem(t, e.ask(t, http.MethodGet, things, "", "If-Match", `"x"`), 412, "precondition-failed")
	problem(t, e.ask(t, http.MethodGet, things, "", "If-Match", "W/"+etag), 412, "precondition-failed")
	problem(t, e.ask(t, http.MethodGet, things, "", "If-Match", `"x"`, "If-None-Match", etag), 412, "precondition-failed")
	assert.Equal(t, http.StatusNotModified, e.ask(t, http.MethodGet, things, "", "If-Match", etag, "If-None-Match", etag).Code)
	const past, future = "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT"
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, things, "", "If-Unmodified-Since", past).Code)
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, things, "", "If-Modified-Since", future).Code)
	problem(t, e.ask(t, http.MethodGet, "/api/v1/secret", "", "If-Match", `"x"`), 401, "unauthorized")
	problem(t, e.ask(t, http.MethodGet, "/nope", "", "If-Match", "*"), 404, "not-found")
	problem(t, e.ask(t, http.MethodGet, "/api/v1/fail/sold-out", "", "If-Match", `"x"`), 409, "sold-out")
}

// CC-03: what a change may not be made to, asked by the handler under its lock.
func TestCC03ChangesHaveConditions(t *testing.T) {
	t.Parallel()
	e := open(t)
	const now = `"now"`
	change := func(ctx context.Context, in *struct{ Body thing }) (rest.Answer, error) {
		call := rest.From(ctx)
		if p := call.Unmet(now, "The thing"); p != nil {
			assert.True(t, call.Conditional())
			return rest.Answer{}, p
		}
		return rest.JSON(http.StatusOK, in.Body)
	}
	rest.Register(e.API, rest.Operation{ID: "change", Method: http.MethodPatch, Path: "/api/v1/change", Tag: "T", Status: 200}, change)
	for _, ok := range [][]string{
		nil, {"If-Match", now}, {"If-Match", `"x"`, "If-Match", now}, {"If-Match", "*"}, {"If-None-Match", `"x"`}, {"If-Match", now, "If-None-Match", `"x"`},
	} {
		assert.Equal(t, http.StatusOK, e.ask(t, http.MethodPatch, "/api/v1/change", correct, ok...).Code, ok)
	}
	for _, failed := range [][]string{
		{"If-Match", `"x"`},
		{"If-Match", `W/"now"`},
		{"If-Match", "now"},
		{"If-None-Match", now},
		{"If-None-Match", "*"},
		{"If-None-Match", `W/"now"`},
		{"If-Match", now, "If-None-Match", now},
	} {
		problem(t, e.ask(t, http.MethodPatch, "/api/v1/change", correct, failed...), 412, "precondition-failed")
	}
	problem(t, e.ask(t, http.MethodPatch, "/api/v1/change", `{"name":""}`, "If-Match", `"x"`), 422, "validation")
}

// CC-08 and CC-10: what was refused, and what was done, is kept by no cache.
func TestCC08AndCC10RefusalsAndWritesAreNotCached(t *testing.T) {
	t.Parallel()
	e := open(t)
	for path, status := range map[string]int{"/nope": 404, "/api/v1/fail/sql": 500, "/api/v1/fail/away": 503, "/api/v1/fail/sold-out": 409} {
		w := e.ask(t, http.MethodGet, path, "")
		assert.Equal(t, status, w.Code)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), path)
	}
	w := e.ask(t, http.MethodPost, "/api/v1/keyed", "", "Idempotency-Key", "k")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}
