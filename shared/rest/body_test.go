package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const limit = 256 << 10

func TestBodiesAreOneJSONValueOfBoundedSize(t *testing.T) {
	t.Parallel()
	e := open(t)
	pad := func(n int) string { return correct + strings.Repeat(" ", n-len(correct)) }
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodPut, things, pad(limit)).Code)
	problem(t, e.ask(t, http.MethodPut, things, pad(limit+1)), 413, "payload-too-large")

	// Without Content-Length it is the bytes that count, and a length that lies changes nothing.
	for _, length := range []int64{-1, 10} {
		r := httptest.NewRequest(http.MethodPut, things, strings.NewReader(pad(limit+1)))
		r.ContentLength = length
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e.Handler().ServeHTTP(w, r)
		problem(t, w, 413, "payload-too-large")
	}
	for name, body := range map[string]string{
		"no body":           " ",
		"cut off":           `{"name":"ok"`,
		"two values":        correct + correct,
		"no JSON":           `name=ok`,
		"not UTF-8":         "{\"name\":\"\xff\"}",
		"a member twice":    `{"name":"ok","name":"no"}`,
		"too deep":          strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"ten thousand deep": strings.Repeat(`{"a":`, 10_000),
		"a comment":         `{"name":"ok"/* */}`,
	} {
		doc := problem(t, e.ask(t, http.MethodPut, things, body), 400, "malformed-request")
		assert.Contains(t, doc["detail"], "The body is not valid JSON", name)
	}
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	e := open(t)
	send := func(headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPut, things, strings.NewReader(correct))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		e.Handler().ServeHTTP(w, r)
		return w
	}
	for _, good := range []string{"application/json", "Application/JSON", "application/json; charset=utf-8", `application/json;charset="UTF-8"`} {
		assert.Equal(t, http.StatusOK, send("Content-Type", good).Code, good)
	}
	problem(t, send(), 415, "unsupported-media-type")
	for _, bad := range []string{
		"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/problem+json",
		"application/json; charset=iso-8859-1", "application/jsonp", "json", "application/json; charset",
	} {
		problem(t, send("Content-Type", bad), 415, "unsupported-media-type")
	}
	problem(t, send("Content-Type", "application/json", "Content-Encoding", "gzip"), 415, "unsupported-media-type")
}

// API3: what an operation does not know is refused, however it is spelled, and not passed over.
func TestUnknownMembersAndParametersAreRefused(t *testing.T) {
	t.Parallel()
	e := open(t)
	for body, pointer := range map[string]string{
		`{"name":"ok","price":1}`:                               "/price",
		`{"name":"ok","parts":[{"count":1,"price":1}]}`:         "/parts/0/price",
		`{"name":"ok","Count":5}`:                               "/Count",
		`{"name":"ok","COUNT":-5}`:                              "/COUNT",
		`{"name":"ok","count":1,"Count":-5}`:                    "/Count",
		`{"name":"ok","NAME":"longer than five"}`:               "/NAME",
		`{"name":"ok","parts":[{"count":1,"COUNT":-1}]}`:        "/parts/0/COUNT",
		`{"name":"ok","a/b~c":1}`:                               "/a~1b~0c",
		`{"name":"ok","__proto__":{"admin":true}}`:              "/__proto__",
		`{"name":"ok","$schema":"https://shop.example/x"}`:      "/$schema",
		"{\"name\":\"ok\",\"n\\u0061me\\u200b\":\"invisible\"}": "/name\u200b",
	} {
		doc := problem(t, e.ask(t, http.MethodPut, things, body), 422, "validation")
		assert.Equal(t, []any{map[string]any{"pointer": pointer, "detail": "unexpected property"}}, doc["errors"], body)
	}
	doc := problem(t, e.ask(t, http.MethodPut, things+"?sise=1", correct), 422, "validation")
	assert.Equal(t, []any{map[string]any{"parameter": "sise", "detail": "unknown query parameter"}}, doc["errors"])
	problem(t, e.ask(t, http.MethodPut, things+"?size=%zz", correct), 400, "malformed-request")
}

// PD-04: all that is wrong at once, each with its place.
func TestPD04EveryWrongPlaceIsNamed(t *testing.T) {
	t.Parallel()
	e := open(t)
	places := func(w *httptest.ResponseRecorder) (list []string) {
		for _, one := range problem(t, w, 422, "validation")["errors"].([]any) {
			field := one.(map[string]any)
			assert.NotEmpty(t, field["detail"])
			pointer, _ := field["pointer"].(string)
			parameter, _ := field["parameter"].(string)
			list = append(list, pointer+parameter)
		}
		return list
	}
	assert.ElementsMatch(t, []string{"/name", "/count", "/parts/0/count", "/parts/1/count", "/parts/2"},
		places(e.ask(t, http.MethodPut, things, `{"name":"","count":0,"parts":[{"count":0},{"count":"a"},{}]}`)))
	assert.ElementsMatch(t, []string{"id"}, places(e.ask(t, http.MethodPut, "/api/v1/things/7", correct)))
	assert.ElementsMatch(t, []string{"size"}, places(e.ask(t, http.MethodPut, things+"?size=10", correct)))
	assert.ElementsMatch(t, []string{"size"}, places(e.ask(t, http.MethodPut, things+"?size=x", correct)))
	assert.ElementsMatch(t, []string{""}, places(e.ask(t, http.MethodPut, things, `{"name":"ok","count":99999999999999999999}`)))
	assert.ElementsMatch(t, []string{""}, places(e.ask(t, http.MethodPut, things, `null`)), "the body as a whole")
	many := `{"name":"ok","parts":[` + strings.TrimSuffix(strings.Repeat(`{"count":0},`, 1000), ",") + `]}`
	w := e.ask(t, http.MethodPut, things, many)
	assert.Len(t, places(w), 20)
	assert.Less(t, w.Body.Len(), 4<<10, "a body of nothing but mistakes is not worth a long answer")
}

// IK-02 and IK-07: keyed writes need a key, also those without a body.
func TestKeyedWritesNeedAKey(t *testing.T) {
	t.Parallel()
	e := open(t)
	problem(t, e.ask(t, http.MethodPost, "/api/v1/keyed", ""), 400, "idempotency-key-missing")
	for _, bad := range []string{"", `""`, `"open`, strings.Repeat("k", 256), "a\tb"} {
		problem(t, e.ask(t, http.MethodPost, "/api/v1/keyed", "", "Idempotency-Key", bad), 400, "idempotency-key-invalid")
	}
	problem(t, e.ask(t, http.MethodPost, "/api/v1/keyed", "", "Idempotency-Key", "a", "Idempotency-Key", "a"), 400, "idempotency-key-invalid")
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodPost, "/api/v1/keyed", "", "Idempotency-Key", `"k"`).Code)
}
