package host

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Section 2 of the observations, column PRX: what the handler sees of a request's target.
func TestTargetArrivesAsSeen(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	for _, c := range [][2]string{
		{"/api/a%2Fb", "/api/a%252Fb"},
		{"/api/a%2fb", "/api/a%252fb"},
		{"/api/a+b", "/api/a+b"},
		{"/api/a%20b", "/api/a%20b"},
		{"/api/a//b", "/api/a//b"},
		{"/api/a/b/", "/api/a/b/"},
		{"/api/caf%C3%A9", "/api/caf%C3%A9"},
		{"/api/a%25b", "/api/a%25b"},
		{"/api/a%3Fb", "/api/a%3Fb"},
		{"/api/a/../b", "/api/b"},
		{"/api/a/%2e%2e/b", "/api/b"},
		{`/api/a\b`, "/api/a%5Cb"},
		{"/api/a%7Eb%41", "/api/a~bA"},
		{"/api?r=a+b", "/api?r=a+b"},
		{"/api?a=1&a=2&b=3", "/api?a=1&a=2&b=3"},
		{"/api?u=&v", "/api?u=&v"},
		{"/api?q=[1]&p={x}", "/api?q=[1]&p=%7Bx%7D"},
		{"/api?q=%zz;x", "/api?q=%zz;x"},
		{"/api/x?", "/api/x?"},
		{"/api", "/api"},
		{"/api/", "/api/"},
		{"/API/PRODUCTS/1", "/API/PRODUCTS/1"},
		{"/api/PRODUCTS/1?x={", "/api/PRODUCTS/1?x=%7B"},
	} {
		back := f.raw("GET " + c[0] + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		assert.Contains(t, back, `"URI":"`+strings.ReplaceAll(c[1], "&", `\u0026`)+`"`, c[0])
	}
	assert.Equal(t, http.StatusNotFound, f.get("//api/products/1").status, "two slashes match nothing, not even a catch-all")
}

// Section 3: the header rules of proxy mode.
func TestHeadersArriveAsSeen(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	a := f.get("/api/hdr",
		"Connection", "keep-alive, X-Named", "X-Named", "kept", "Keep-Alive", "timeout=5", "TE", "trailers", "Proxy-Authorization", "x",
		"Upgrade-Insecure-Requests", "1", "Forwarded", "for=1.2.3.4", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil",
		"X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/p", "X-Forwarded-Port", "1", "x-ms-invocation-id", "spoof", "X-Azure-Functions-InvocationId", "spoof",
		"User-Agent", "curl/7", "X-Multi", "one", "X-Multi", "two", "traceparent", "00-1-2-3", "X-Empty", "")
	s := a.seen(t)
	for _, gone := range []string{"Connection", "Keep-Alive", "Te", "Proxy-Authorization", "Upgrade-Insecure-Requests", "Forwarded", "X-Forwarded-Prefix", "Accept-Encoding"} {
		assert.NotContains(t, s.Header, gone)
	}
	for name, value := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": f.host.Addr(), "X-Forwarded-Proto": "http", "X-Forwarded-Port": "1",
		"X-Azure-Functions-Hostversion": "4.1037.0.0", "X-Named": "kept", "User-Agent": "curl/7", "Traceparent": "00-1-2-3", "X-Empty": "",
	} {
		assert.Equal(t, []string{value}, s.Header[name], name)
	}
	assert.Equal(t, []string{"one", "two"}, s.Header["X-Multi"])
	assert.Equal(t, "127.0.0.1:"+s.Env["FUNCTIONS_CUSTOMHANDLER_PORT"], s.Host)
	require.Len(t, s.Header["X-Ms-Invocation-Id"], 1)
	assert.Equal(t, s.Header["X-Ms-Invocation-Id"], s.Header["X-Azure-Functions-Invocationid"])
	assert.Len(t, s.Header.Get("X-Ms-Invocation-Id"), 36)

	assert.NotContains(t, f.raw("GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "User-Agent", "none is invented")
}

func TestBodiesArriveAsSeen(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	odd := "\x00\xff{not utf-8}"
	s := f.do(http.MethodPost, "/api", strings.NewReader(odd), "Content-Type", "application/json;charset=x", "Content-Encoding", "gzip").seen(t)
	assert.Equal(t, []string{"application/json;charset=x"}, s.Header["Content-Type"])
	assert.Equal(t, []string{"gzip"}, s.Header["Content-Encoding"])
	assert.EqualValues(t, len(odd), s.Length)

	s = f.do(http.MethodPost, "/api", io.MultiReader(strings.NewReader("piece"), strings.NewReader("meal"))).seen(t)
	assert.True(t, s.Chunked, "a chunked request passes chunked")
	assert.Equal(t, "piecemeal", s.Body)
	s = f.do(http.MethodDelete, "/api", strings.NewReader("why")).seen(t)
	assert.Equal(t, "why", s.Body)
	s = f.do(http.MethodPost, "/api", http.NoBody).seen(t)
	assert.Zero(t, s.Length)
	assert.False(t, s.Chunked, "a POST without a body isn't turned into a chunked one")

	big := strings.Repeat("0123456789", 1<<20)
	s = f.do(http.MethodPut, "/api", strings.NewReader(big)).seen(t)
	assert.Len(t, s.Body, len(big))

	back := f.raw("POST /api HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
	assert.True(t, strings.HasPrefix(back, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), back)
	assert.Contains(t, back, `"Body":"hi"`)
}

// Section 2 and 8: what the host refuses before a function is asked.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{"api": httpFunction("api/{*rest}", `, "methods": ["get", "post"]`)}})
	long := strings.Repeat("x", maxRequestLine)
	manyHeaders := strings.Repeat("X-A: b\r\n", maxHeaderLines)
	for request, status := range map[string]string{
		"GET /api/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n":                                "414",
		"GET /api HTTP/1.1\r\nHost: x\r\n" + manyHeaders + "\r\n":                          "431",
		"GET /api HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("x", 33<<10) + "\r\n\r\n": "431",
		"GET /api HTTP/1.1\r\nHost: x\r\nX-A: \xe9\r\n\r\n":                                "400",
		"GET /api HTTP/1.1\r\nConnection: close\r\n\r\n":                                   "400",
		"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 104857601\r\n\r\n":               "500",
		"PUT /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                        "404",
		"TRACE /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                      "404",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                       "404",
		"GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                      "404",
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                           "204",
		"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                          "404",
	} {
		back := f.raw(request)
		assert.True(t, strings.HasPrefix(back, "HTTP/1.1 "+status+" "), "%s for %.60s", back, request)
		if status == "404" {
			assert.Contains(t, back, "Content-Length: 0\r\n")
		}
	}
	// 99 lines and Host are taken.
	assert.Contains(t, f.raw("GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+strings.Repeat("X-A: b\r\n", maxHeaderLines-2)+"\r\n"), "200 OK")
	assert.Len(t, f.notes(), 1, "nothing but the start reached the handler") // echo notes nothing; refusals must not crash it either
}

// A body of unknown length is cut off where one of known length is refused.
func TestChunkedBodyIsBounded(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.host.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "POST /close HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	require.NoError(t, err)
	piece := []byte("100000\r\n" + strings.Repeat("x", 1<<20) + "\r\n")
	for range maxBody >> 20 {
		_, err = conn.Write(piece)
		require.NoError(t, err)
	}
	_, err = io.WriteString(conn, "1\r\nx\r\n") // no end: the answer comes all the same
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 500 Internal Server Error", firstLine(bufio.NewReader(conn)))
}

// "A UTF-8 byte in any request header is a 500 before the handler": after 1.9 s of attempts.
func TestHeaderBeyondASCII(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	began := time.Now()
	a := f.get("/exit/9", "X-Name", "Zoë")
	assert.Equal(t, http.StatusInternalServerError, a.status)
	assert.Empty(t, a.body)
	assert.GreaterOrEqual(t, time.Since(began), 1850*time.Millisecond)
	assert.Len(t, f.notes(), 1)

	a = f.do(http.MethodPost, "/answer", strings.NewReader("HTTP/1.1 200 OK\r\nX-Name: Zo\xc3\xab\r\nContent-Length: 2\r\n\r\nhi"))
	assert.Equal(t, http.StatusInternalServerError, a.status, "and so is one in an answer")
	assert.Empty(t, a.body)
}

// Section 4: what the client sees of an answer.
func TestAnswersPassAsSeen(t *testing.T) {
	t.Parallel()
	f := start(t, setup{hostJSON: map[string]any{"extensions": map[string]any{"http": map[string]any{
		"routePrefix": "", "customHeaders": map[string]any{"X-Frame-Options": "DENY", "X-Mine": "host"},
	}}}})
	answer := func(text string) answer { return f.do(http.MethodPost, "/answer", strings.NewReader(text)) }

	a := answer("HTTP/1.1 418 I'm a teapot\r\nX-Mine: handler\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: mine\r\nDate: then\r\nAlt-Svc: clear\r\n" +
		"Keep-Alive: 5\r\nConnection: close\r\nCache-Control: private, no-store\r\nContent-Length: 1\r\n\r\nx")
	assert.Equal(t, http.StatusTeapot, a.status)
	assert.Equal(t, []string{"a=1", "b=2"}, a.header["Set-Cookie"])
	for name, value := range map[string]string{
		"Server": "mine", "Date": "then", "Alt-Svc": "", "Keep-Alive": "", "Connection": "", "Content-Type": "",
		"Cache-Control": "private, no-store", "X-Mine": "handler", "X-Frame-Options": "DENY",
	} {
		assert.Equal(t, value, a.header.Get(name), name)
	}
	assert.NotContains(t, a.header, "Content-Type", "none is guessed")

	a = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	assert.Equal(t, "Kestrel", a.header.Get("Server"))
	assert.NotEmpty(t, a.header.Get("Date"))
	a = answer("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
	assert.Equal(t, http.StatusNoContent, a.status)
	assert.NotContains(t, a.header, "Content-Length")
	a = answer("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n")
	assert.Equal(t, `"x"`, a.header.Get("ETag"))
	a = answer("HTTP/1.1 302 Found\r\nLocation: /x?a=b c\r\nContent-Length: 0\r\n\r\n")
	assert.Equal(t, "/x?a=b c", a.header.Get("Location"), "a proxied redirect is the client's to follow")
	a = answer("HTTP/1.1 500 Oops\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}")
	assert.Equal(t, "{}", a.body, "an answer, not a failed invocation")
	trailing := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
	back := f.raw(fmt.Sprintf("POST /answer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(trailing), trailing))
	assert.Contains(t, back, "Trailer: X-Sum\r\n", "announced")
	assert.NotContains(t, back, "X-Sum: 1", "and not delivered")
	for _, garbage := range []string{"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", "garbage\r\n\r\n"} {
		assert.Equal(t, http.StatusInternalServerError, answer(garbage).status, garbage)
	}
}

func TestStreamsAndAborts(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.host.Addr())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	event := make([]byte, 9)
	_, err = io.ReadFull(res.Body, event)
	require.NoError(t, err)
	assert.Equal(t, "data: 1\n\n", string(event), "an event arrives while the answer goes on")
	require.NoError(t, conn.Close())
	eventually(t, func() bool { return slices.Contains(f.notes(), "gone") }) // the handler learns that the client left

	conn, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", f.host.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
	require.NoError(t, err)
	back := bufio.NewReader(conn)
	require.Equal(t, "HTTP/1.1 101 Switching Protocols", firstLine(back))
	for firstLine(back) != "" {
	}
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	shouted, err := io.ReadAll(back)
	require.NoError(t, err)
	assert.Equal(t, "HELLO", string(shouted), "upgrades work both ways")

	a := f.do(http.MethodGet, "/partial", nil) // the handler dies in the middle of its answer
	assert.Equal(t, "half\n", a.body)
	require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
}

// Section 8: functions are tried in the order of their names, a method that isn't listed falls through.
func TestOrderOfFunctions(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{
		"b":     httpFunction("api/{x}", `, "methods": ["get"]`),
		"Catch": httpFunction("{*rest}", `, "methods": ["get", "put"]`),
		"keyed": httpFunction("api/keyed", `, "methods": ["put", "post"]`),
	}})
	warning := f.logs.wait(t, "function keyed (api/keyed) is never reached for PUT")
	assert.Equal(t, "Host.Startup", warning.category)
	for request, function := range map[string]string{"GET /api/keyed": "b", "PUT /api/keyed": "Catch", "POST /api/keyed": "keyed", "GET /api/x/y": "Catch", "GET /": "Catch", "POST /x": ""} {
		method, path, _ := strings.Cut(request, " ")
		found := f.host.job.Load().match(method, path)
		if function == "" {
			assert.Nil(t, found, request)
		} else if assert.NotNil(t, found, request) {
			assert.Equal(t, function, found.Name, request)
		}
	}
	assert.Equal(t, "/", f.get("/").seen(t).URI, "no homepage where a function takes the root")
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{"all": httpFunction("{*rest}"), "tick": everyHour}})
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		a := f.do(method, "/admin/host/ping", nil)
		assert.Equal(t, http.StatusOK, a.status)
		assert.Equal(t, "no-store,no-cache", a.header.Get("Cache-Control"))
		assert.Equal(t, "no-cache", a.header.Get("Pragma"))
	}
	assert.Contains(t, f.get("/admin/host/status").body, `"state":"Running"`)
	assert.Equal(t, "/admin/other", f.get("/admin/other").seen(t).URI, "what the host doesn't know belongs to the functions")
	assert.Equal(t, http.StatusNotFound, f.do(http.MethodPost, "/admin/functions/nope", nil).status)
	assert.Equal(t, http.StatusBadRequest, f.do(http.MethodPost, "/admin/functions/all", nil).status)
	assert.Equal(t, http.StatusBadRequest, f.do(http.MethodPost, "/admin/functions/tick", strings.NewReader("x")).status)

	a := f.do(http.MethodPost, "/admin/functions/Tick", strings.NewReader(`{"input": "x"}`))
	assert.Equal(t, http.StatusAccepted, a.status)
	assert.Empty(t, a.body)
	eventually(t, func() bool { return len(f.notes()) == 2 })
	assert.Contains(t, f.notes()[1], `"Metadata":{"timer":"\"x\"","sys":{"MethodName":"tick"`)
}

// BenchmarkProxy is what a small answer costs through the host, both processes on this machine.
func BenchmarkProxy(b *testing.B) {
	f := start(b, setup{})
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := f.do(http.MethodGet, "/moved", nil); a.status != http.StatusOK {
				b.Error(a.status, a.err)
			}
		}
	})
}
