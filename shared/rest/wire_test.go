package rest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/rest"
)

// API8: the method is the one in the request line, whatever else a client or a page says.
func TestAPI8TheMethodCannotBeOverridden(t *testing.T) {
	t.Parallel()
	e := open(t)
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x-http-method-override"} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost} {
			doc := problem(t, e.ask(t, method, things, correct, name, "DELETE"), 400, "malformed-request")
			assert.Contains(t, doc["detail"], "method")
		}
	}
	problem(t, e.ask(t, http.MethodPut, things+"?_method=DELETE", correct), 422, "validation")
}

// API8: each method does what it is for: HEAD is GET without a body, OPTIONS tells what is possible, TRACE is off.
func TestAPI8VerbsCannotBeTamperedWith(t *testing.T) {
	t.Parallel()
	e := open(t)
	for path, allow := range map[string]string{things: "GET, HEAD, PUT, OPTIONS", "/api/v1/keyed": "POST, OPTIONS", "/api/v1/secret": "GET, HEAD, OPTIONS"} {
		w := e.ask(t, http.MethodOptions, path, "")
		assert.Equal(t, http.StatusNoContent, w.Code)
		assert.Equal(t, allow, w.Header().Get("Allow"))
		assert.Empty(t, w.Body.Bytes())
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		for _, method := range []string{http.MethodTrace, "TRACK", "DEBUG", "PROPFIND", "GETS", "put"} {
			w := e.ask(t, method, path, "", "Authorization", "Bearer echo-me")
			problem(t, w, 405, "")
			assert.Equal(t, allow, w.Header().Get("Allow"))
			assert.NotContains(t, w.Body.String(), "echo-me", "TRACE would echo it")
		}
	}
	assert.Equal(t, 405, e.ask(t, http.MethodHead, "/api/v1/keyed", "").Code)
	problem(t, e.ask(t, http.MethodOptions, "/nope", ""), 404, "not-found")
	assert.Equal(t, 401, e.ask(t, http.MethodHead, "/api/v1/secret", "").Code, "HEAD needs what GET needs")
}

func TestAnAddressIsBounded(t *testing.T) {
	t.Parallel()
	e := open(t)
	at := func(n int) string { return "/api/v1/things/" + strings.Repeat("x", n-len("/api/v1/things/")) }
	assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, at(8<<10), "").Code)
	problem(t, e.ask(t, http.MethodGet, at(8<<10+1), ""), 414, "")
	problem(t, e.ask(t, http.MethodGet, "/nope?"+strings.Repeat("x", 8<<10), ""), 414, "")
}

// A body that is compressed is refused before a byte of it is unpacked, and the client told that this is the reason.
func TestAPI4CompressedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	e := open(t)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip", "identity"} {
		w := e.ask(t, http.MethodPut, things, correct, "Content-Encoding", coding)
		problem(t, w, 415, "unsupported-media-type")
		assert.Equal(t, "identity", w.Header().Get("Accept-Encoding"))
	}
	w := e.ask(t, http.MethodPut, things, correct, "Content-Type", "text/plain")
	assert.Empty(t, w.Header().Get("Accept-Encoding"))
}

// A body that dribbles in ends early: while it does, its request holds a place that others wait for.
func TestASlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	e := open(t, func(c *rest.Config) { c.BodyTime = 200 * time.Millisecond })
	server := httptest.NewServer(e.Handler())
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	began := time.Now()
	_, err = io.WriteString(conn, "PUT "+things+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"na")
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusRequestTimeout, res.StatusCode, "%s", body)
	assert.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	assert.True(t, res.Close)
	assert.Less(t, time.Since(began), 5*time.Second)
}

// Whoever sends a whole body before listening, as the host does, is told that it is too large, and not cut off.
func TestABodyThatIsTooLargeIsTakenBeforeItIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(open(t).Handler())
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	const size = 12 << 20
	_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", things, size)
	require.NoError(t, err)
	_, err = conn.Write(bytes.Repeat([]byte(" "), size))
	require.NoError(t, err, "cut off while it sent")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
}

// The time for the body is no time for the work: what is read in time is worked on for as long as it takes.
func TestTheBodysTimeEndsWithTheBody(t *testing.T) {
	t.Parallel()
	e := open(t, func(c *rest.Config) { c.BodyTime = 50 * time.Millisecond })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.Handler().ServeHTTP(w, r)
		if r.Method == http.MethodPut {
			time.Sleep(100 * time.Millisecond)
			assert.NoError(t, r.Context().Err(), "the request ended with its body's time")
		}
	}))
	defer server.Close()
	for range 3 { // on one connection
		req, err := http.NewRequest(http.MethodPut, server.URL+things, strings.NewReader(correct))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusOK, res.StatusCode)
	}
}
