package docs_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/docs"
	"github.com/company/order-catalog-service/shared/rest"
)

type document struct{ err error }

func (d document) OpenAPI() ([]byte, error)     { return []byte(`{"openapi":"3.1.0"}`), d.err }
func (d document) OpenAPIYAML() ([]byte, error) { return []byte("openapi: 3.1.0\n"), d.err }

func handler(t *testing.T) http.Handler {
	t.Helper()
	h, err := docs.Handler(document{}, rest.Kinds)
	require.NoError(t, err)
	return h
}

func get(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var (
	link   = regexp.MustCompile(`(?:href|src)="([^"#]+)"`)
	inline = regexp.MustCompile(`<script(?:\s[^>]*)?>[^<]|<style|\son[a-z]+=|style=`)
)

// TestEveryLinkLeadsSomewhere walks the pages as a browser would.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	h := handler(t)
	seen := map[string]bool{}
	var walk func(at string)
	walk = func(at string) {
		if seen[at] {
			return
		}
		seen[at] = true
		w := get(h, http.MethodGet, at)
		require.Equal(t, http.StatusOK, w.Code, at)
		assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			return
		}
		assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		assert.NotRegexp(t, inline, w.Body.String(), "the policy blocks what is inside of a page")
		for _, m := range link.FindAllStringSubmatch(w.Body.String(), -1) {
			require.NotContains(t, m[1], "//", "%s: nothing is loaded from elsewhere", at)
			dir := at[:strings.LastIndexByte(at, '/')+1]
			next := path.Join(dir, m[1])
			if strings.HasSuffix(m[1], "/") {
				next += "/"
			}
			walk(next)
		}
	}
	walk("/docs/")
	for _, kind := range rest.Kinds {
		assert.True(t, seen["/docs/problems/"+kind.Slug], "%s has no page or no link to it", kind.Slug)
	}
	assert.True(t, seen["/openapi.json"] && seen["/openapi.yaml"])
}

func TestAProblemPageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w := get(handler(t), http.MethodGet, "/docs/problems/sold-out")
	body := w.Body.String()
	assert.Contains(t, body, "HTTP 409")
	assert.Contains(t, body, rest.SoldOut.Mend)
	_, rest1, ok := strings.Cut(body, "<code>{")
	require.True(t, ok)
	raw, _, _ := strings.Cut(rest1, "</code>")
	var example map[string]any
	require.NoError(t, json.Unmarshal([]byte("{"+strings.ReplaceAll(raw, "&#34;", `"`)), &example))
	assert.Equal(t, "/docs/problems/sold-out", example["type"])
	assert.Contains(t, example, "products")
}

func TestConditionalAndCompressed(t *testing.T) {
	t.Parallel()
	h := handler(t)
	const script = "/docs/assets/swagger-ui-bundle.js"
	zip := get(h, http.MethodGet, script, "Accept-Encoding", "br;q=1.0, gzip;q=0.8")
	assert.Equal(t, "gzip", zip.Header().Get("Content-Encoding"))
	plain := get(h, http.MethodGet, script, "Accept-Encoding", "gzip;q=0, *")
	assert.Empty(t, plain.Header().Get("Content-Encoding"))
	assert.NotEqual(t, zip.Header().Get("ETag"), plain.Header().Get("ETag"), "other bytes, other tag")
	unpacked, err := gzip.NewReader(zip.Body)
	require.NoError(t, err)
	inside, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	assert.Equal(t, sha256.Sum256(inside), sha256.Sum256(plain.Body.Bytes()), "both are the same script")

	for _, w := range []*httptest.ResponseRecorder{zip, plain} {
		assert.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
	}
	again := get(h, http.MethodGet, script, "Accept-Encoding", "gzip", "If-None-Match", zip.Header().Get("ETag"))
	assert.Equal(t, http.StatusNotModified, again.Code)
	assert.Empty(t, again.Body.Bytes())
	head := get(h, http.MethodHead, "/docs/", "Accept-Encoding", "gzip")
	assert.Equal(t, http.StatusOK, head.Code)
	assert.Empty(t, head.Body.Bytes())
	assert.NotEmpty(t, head.Header().Get("Content-Length"))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h := handler(t)
	w := get(h, http.MethodGet, "/docs")
	assert.Equal(t, http.StatusPermanentRedirect, w.Code)
	assert.Equal(t, "docs/", w.Header().Get("Location"))
	w = get(h, http.MethodGet, "/docs/problems/nope")
	assert.Equal(t, http.StatusNotFound, w.Code)
	assert.Contains(t, w.Body.String(), "No such page")
	assert.Equal(t, http.StatusNotFound, get(h, http.MethodGet, "/docs/assets/README.md").Code)
	w = get(h, http.MethodPost, "/docs/")
	assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
	assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))

	broken, err := docs.Handler(document{errors.New("two operations of one name")}, rest.Kinds)
	require.NoError(t, err)
	assert.Panics(t, func() { get(broken, http.MethodGet, "/openapi.json") }, "the edge makes it a 500 and logs it")
}

// TestBundledFilesAreTheNamedOnes keeps the digests in the README true.
func TestBundledFilesAreTheNamedOnes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("assets/README.md")
	require.NoError(t, err)
	for _, name := range []string{"swagger-ui-bundle.js", "swagger-ui.css"} {
		sum := sha256.Sum256(get(handler(t), http.MethodGet, "/docs/assets/"+name).Body.Bytes())
		assert.Contains(t, string(readme), hex.EncodeToString(sum[:]), name)
	}
}
