package host

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tables of this file are what the real host was seen to do in proxy mode, a row each. Beside them, TestTargetArrivesAsSeen
// has the rows of paths and queries, TestRefusals those of what never reaches the handler, TestResending those of a request
// without an answer, TestEnvelopeAnswers those of triggers, and timer_test.go those of timers.

// TestRequestsAsObserved sends requests as bytes and looks at what the handler got, which it echoes.
func TestRequestsAsObserved(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	for _, c := range []struct {
		seen    string
		request string // its lines, without what every request ends with
		has     []string
		hasNot  []string
	}{
		{"HTTP/1.0 is taken", "GET /api HTTP/1.0\r\nHost: x", []string{"HTTP/1.0 200 OK", `"Method":"GET"`}, nil},
		{
			"the client's trace goes through", "GET /api HTTP/1.1\r\nHost: x\r\ntraceparent: 00-1-2-01\r\ntracestate: a=b\r\nbaggage: c=d",
			[]string{`"Traceparent":["00-1-2-01"]`, `"Tracestate":["a=b"]`, `"Baggage":["c=d"]`},
			nil,
		},
		{"no trace is begun", "GET /api HTTP/1.1\r\nHost: x", nil, []string{"Traceparent", "Request-Id"}},
		{"an Upgrade that is none is dropped", "GET /api HTTP/1.1\r\nHost: x\r\nUpgrade: h2c", []string{"200 OK"}, []string{`"Upgrade"`}},
		{
			"content headers go through, whatever they say", "POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Language: de\r\nContent-Disposition: inline\r\nContent-MD5: no\r\nContent-Type: ///\r\n\r\nx",
			[]string{`"Content-Language":["de"]`, `"Content-Disposition":["inline"]`, `"Content-Md5":["no"]`, `"Content-Type":["///"]`, `"Body":"x"`},
			nil,
		},
		{
			"the host's name for the handler replaces the client's", "GET /api HTTP/1.1\r\nHost: shop.example",
			[]string{`"Host":"127.0.0.1:`, `"X-Forwarded-Host":["shop.example"]`},
			[]string{`"Host":"shop.example`},
		},
		{"keys are nobody's business", "GET /api HTTP/1.1\r\nHost: x\r\nx-functions-key: k", []string{`"X-Functions-Key":["k"]`}, nil},
		{"a POST without a body says so", "POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 0", []string{`"Length":0,"Chunked":false`}, nil},
		{"a GET may have a body", "GET /api HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", []string{`"Body":"hi"`, `"Length":2`}, nil},
		{"an empty chunked body stays chunked", "POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0", []string{"200 OK", `"Body":""`}, nil},
	} {
		request := c.request
		if !strings.Contains(request, "\r\n\r\n") {
			request += "\r\nConnection: close\r\n\r\n"
		} else {
			request = strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
			if strings.HasSuffix(request, "0") {
				request += "\r\n\r\n"
			}
		}
		back := f.raw(request)
		for _, text := range c.has {
			assert.Contains(t, back, text, c.seen)
		}
		for _, text := range c.hasNot {
			assert.NotContains(t, back, text, c.seen)
		}
	}

	ids := map[string]bool{}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		s := f.do(method, "/api", nil).seen(t)
		assert.Equal(t, method, s.Method, "a method arrives as it is")
		ids[s.Header.Get("X-Ms-Invocation-Id")] = true
	}
	assert.Len(t, ids, 6, "each request is an invocation of its own")
	head := f.do(http.MethodHead, "/moved", nil)
	assert.Equal(t, "2", head.header.Get("Content-Length"), "a HEAD's length is what a GET's would be")
	for _, method := range []string{http.MethodTrace, http.MethodConnect, "QUERY"} {
		back := f.raw(method + " /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		assert.Equal(t, "HTTP/1.1 404 Not Found", firstLine(bufio.NewReader(strings.NewReader(back))), method)
	}
}

// A body of unknown length arrives while it is being sent, and as chunks.
func TestASlowBodyArrivesAsItComes(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.host.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	for _, part := range []struct{ sent, noted string }{
		{"POST /drip HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", "drip one"}, {"3\r\ntwo\r\n", "drip two"},
	} {
		_, err = io.WriteString(conn, part.sent)
		require.NoError(t, err)
		eventually(t, func() bool { return slices.Contains(f.notes(), part.noted) })
	}
	_, err = io.WriteString(conn, "0\r\n\r\n")
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	var s seen
	require.NoError(t, json.NewDecoder(res.Body).Decode(&s))
	assert.True(t, s.Chunked)
}

// TestAnswersAsObserved has the handler answer some bytes and looks at the client's.
func TestAnswersAsObserved(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	for _, c := range []struct {
		seen, answer string
		has          []string
		hasNot       []string
	}{
		{"a status of one's own", "HTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n", []string{"HTTP/1.1 299 "}, nil},
		{"the highest status", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", []string{"HTTP/1.1 999 "}, nil},
		{
			"two challenges stay two lines", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
			[]string{"Www-Authenticate: Bearer\r\nWww-Authenticate: Basic\r\n"},
			nil,
		},
		{"Retry-After stays", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n", []string{"HTTP/1.1 503 ", "Retry-After: 3\r\n"}, nil},
		{
			"what is packed stays packed", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\x00\xff",
			[]string{"Content-Encoding: gzip\r\n", "Content-Length: 5\r\n", "\r\n\r\n\x1f\x8b\x08\x00\xff"},
			nil,
		},
		{
			"a part of something", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Disposition: attachment\r\nLink: </x>; rel=\"next\"\r\nContent-Length: 2\r\n\r\nhi",
			[]string{"HTTP/1.1 206 ", "Content-Range: bytes 0-1/9\r\n", "Content-Disposition: attachment\r\n", "Link: </x>; rel=\"next\"\r\n", "\r\n\r\nhi"},
			nil,
		},
		{
			"chunks stay chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
			[]string{"Transfer-Encoding: chunked\r\n", "\r\n2\r\nhi\r\n0\r\n\r\n"},
			[]string{"Content-Length"},
		},
		{
			"a 304 keeps its tag", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nCache-Control: no-cache\r\n\r\n",
			[]string{"HTTP/1.1 304 ", "Etag: \"x\"\r\n", "Cache-Control: no-cache\r\n"},
			nil,
		},
		{"an empty value is a value", "HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n", []string{"X-Empty: \r\n"}, nil},
		{"lists aren't sorted", "HTTP/1.1 405 No\r\nAllow: PUT, GET\r\nContent-Length: 0\r\n\r\n", []string{"Allow: PUT, GET\r\n"}, nil},
		{
			"what is the connection's own ends here", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9\r\nUpgrade: x\r\nAlt-Svc: clear\r\nContent-Length: 0\r\n\r\n",
			nil,
			[]string{"Keep-Alive", "Upgrade", "Alt-Svc"},
		},
	} {
		back := f.raw(fmt.Sprintf("POST /answer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(c.answer), c.answer))
		for _, text := range c.has {
			assert.Contains(t, back, text, c.seen)
		}
		for _, text := range c.hasNot {
			assert.NotContains(t, back, text, c.seen)
		}
	}
	assert.Len(t, f.starts(), 1)
}

// TestRoutesAsObserved asks for addresses with other functions beside them.
func TestRoutesAsObserved(t *testing.T) {
	t.Parallel()
	catchAll := map[string]string{"all": httpFunction("{*rest}"), "tick": everyHour}
	for _, c := range []struct {
		seen      string
		functions map[string]string
		request   string
		status    int
		handler   bool // whether the request reached it
	}{
		{"with a catch-all the public reaches a trigger's address", catchAll, "POST /tick", 200, true},
		{"without one it doesn't", map[string]string{"api": httpFunction("api/{*rest}"), "tick": everyHour}, "POST /tick", 404, false},
		{"what the host's own pages leave belongs to a catch-all", catchAll, "GET /robots.txt", 200, true},
		{"and so does what they don't know", catchAll, "GET /admin/nothing", 200, true},
		{"extensions' addresses don't", catchAll, "POST /runtime/webhooks/x", 401, false},
		{"nor does ping", catchAll, "GET /admin/host/ping", 200, false},
		{"two slashes match nothing, not even a catch-all", catchAll, "GET //tick", 404, false},
		{"a method that isn't listed is nobody's", map[string]string{"api": httpFunction("api", `, "methods": ["get"]`)}, "PUT /api", 404, false},
		{"OPTIONS is the handler's when it is listed", map[string]string{"api": httpFunction("api", `, "methods": ["options"]`)}, "OPTIONS /api", 200, true},
		{"and nobody's when it isn't", map[string]string{"api": httpFunction("api", `, "methods": ["get"]`)}, "OPTIONS /api", 404, false},
		{"a constraint that fails is another address", map[string]string{"api": httpFunction("api/{id:int}")}, "GET /api/x", 404, false},
	} {
		t.Run(c.seen, func(t *testing.T) {
			t.Parallel()
			f := start(t, setup{functions: c.functions})
			method, path, _ := strings.Cut(c.request, " ")
			a := f.do(method, path, strings.NewReader(`{"Data": {"answer": {"How": "echo"}}}`), "X-Ask", "1")
			assert.Equal(t, c.status, a.status)
			reached := strings.Contains(a.body, `"X-Ask"`) || slices.ContainsFunc(f.notes(), func(n string) bool { return strings.HasPrefix(n, "echo ") })
			assert.Equal(t, c.handler, reached, "%s %v", a.body, f.notes())
			if c.handler && strings.HasSuffix(path, "/tick") {
				// What tells such a request from the host's own call.
				assert.Contains(t, strings.Join(f.notes(), "\n"), `"X-Ms-Invocation-Id":`)
				assert.Contains(t, strings.Join(f.notes(), "\n"), `"X-Forwarded-Host":`)
			}
		})
	}
}

// What customHeaders add, they add to the host's own answers too, and where the handler says nothing.
func TestCustomHeadersAsObserved(t *testing.T) {
	t.Parallel()
	f := start(t, setup{hostJSON: map[string]any{"extensions": map[string]any{"http": map[string]any{
		"routePrefix": "", "customHeaders": map[string]any{"X-Frame-Options": "DENY", "Server": "mine"}, "hsts": map[string]any{"isEnabled": true},
	}}}})
	for _, path := range []string{"/api", "/admin/host/ping", "/runtime/webhooks/x"} {
		a := f.get(path)
		assert.Equal(t, "DENY", a.header.Get("X-Frame-Options"), path)
		assert.Equal(t, []string{"mine"}, a.header["Server"], path)
		assert.NotContains(t, a.header, "Strict-Transport-Security", "hsts sends nothing over http: the handler must")
	}
}

// TestTheProbeAsObserved: a handler is ready when it has answered GET / with a Host header and nothing else.
func TestTheProbeAsObserved(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	text, err := os.ReadFile(filepath.Join(f.dir, "notes.probe"))
	require.NoError(t, err)
	var probe seen
	require.NoError(t, json.Unmarshal(text, &probe))
	assert.Equal(t, "GET /", probe.Method+" "+probe.URI)
	assert.Equal(t, "127.0.0.1:"+probe.Env["FUNCTIONS_CUSTOMHANDLER_PORT"], probe.Host)
	assert.Empty(t, probe.Header)
}

// TestEndsOfTheHandlerAsObserved: how its process ends, and what becomes of requests and of the host.
func TestEndsOfTheHandlerAsObserved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		seen   string
		end    func(f *fixture)
		again  bool // it is started again
		counts bool // towards the three that end the host
	}{
		{"it exits with 1", func(f *fixture) { f.do(http.MethodPost, "/exit/1", strings.NewReader("x")) }, true, true},
		{"it is killed", func(f *fixture) { _ = syscall.Kill(f.host.HandlerPID(), syscall.SIGKILL) }, true, true},
		{"it exits with 200", func(f *fixture) { f.do(http.MethodPost, "/exit/200", strings.NewReader("x")) }, true, false},
		{"it exits with 0", func(f *fixture) { f.do(http.MethodPost, "/exit/0", strings.NewReader("x")) }, false, false},
		{"it takes longer than functionTimeout", func(f *fixture) { f.do(http.MethodPost, "/until", strings.NewReader("x")) }, true, false},
	} {
		t.Run(c.seen, func(t *testing.T) {
			t.Parallel()
			limit := "00:01:00"
			if strings.Contains(c.seen, "functionTimeout") {
				limit = "00:00:01"
			}
			f := start(t, setup{limits: quick, hostJSON: map[string]any{"functionTimeout": limit}})
			before := f.get("/api").seen(t)
			beside := f.going(http.MethodPost, "/until", strings.NewReader("y")) // with a body it is sent once
			c.end(f)
			assert.Equal(t, http.StatusInternalServerError, (<-beside).status, "a request beside it is cut off with it")
			assert.Equal(t, http.StatusOK, f.get("/admin/host/ping").status, "and ping knows nothing of it")
			if !c.again {
				assert.Equal(t, http.StatusInternalServerError, f.get("/api").status)
				assert.Len(t, f.starts(), 1)
				return
			}
			eventually(t, func() bool { return len(f.starts()) == 2 && f.host.job.Load().handler.ready.Load() != nil })
			after := f.get("/api").seen(t)
			assert.NotEqual(t, before.PID, after.PID)
			assert.Equal(t, before.Env["FUNCTIONS_CUSTOMHANDLER_PORT"], after.Env["FUNCTIONS_CUSTOMHANDLER_PORT"], "on the same port")
			crashes := &f.host.job.Load().handler.crashes
			assert.Equal(t, map[bool]int{true: 1}[c.counts], crashes.count)
			assert.NotContains(t, strings.Join(f.notes(), "\n"), "signal", "it is never asked to stop")
		})
	}
}

// A body is sent once, and its client waits for the attempts that aren't made all the same: 1.9 s.
func TestABodyWithoutAnAnswerWaits(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	began := time.Now()
	a := f.do(http.MethodPost, "/close", strings.NewReader("x"))
	assert.Equal(t, http.StatusInternalServerError, a.status)
	assert.GreaterOrEqual(t, time.Since(began), 1850*time.Millisecond)
	assert.Len(t, f.notes(), 2, "the start and one request")
}

// TestStartsAsObserved: a request that comes before the handler is ready waits for it; when it never gets ready, the
// host goes down under those who wait, without a word.
func TestStartsAsObserved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		seen, patience string
		comes          bool
	}{{"a slow start is waited for", "00:01:00", true}, {"one that never ends isn't", "00:00:01", false}} {
		t.Run(c.seen, func(t *testing.T) {
			t.Parallel()
			f, err := load(t, setup{hostJSON: map[string]any{"initializationTimeout": c.patience}, options: func(o *Options) {
				o.Env = append(o.Env, "LISTEN_WHEN="+filepath.Join(filepath.Dir(o.StateDir), "listen"))
			}})
			require.NoError(t, err)
			started := make(chan error, 1)
			go func() { started <- f.host.Start(t.Context()) }()
			t.Cleanup(f.stop)
			eventually(t, func() bool { return len(f.starts()) == 1 })
			waiting := make(chan answer, 1)
			go func() { waiting <- f.do(http.MethodGet, "/api", nil) }()
			eventually(t, func() bool { return f.host.inFlight.count.Load() == 1 })
			if c.comes {
				f.write("listen", "")
				require.NoError(t, <-started)
				assert.Equal(t, http.StatusOK, (<-waiting).status)
				return
			}
			require.ErrorIs(t, <-started, ErrCrashed)
			a := <-waiting
			require.Error(t, a.err, "%d %s", a.status, a.body)
		})
	}
}

// TestStopsAsObserved: what a stop does to the handler, and that nothing is left of an idle host at once.
func TestStopsAsObserved(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	pid := f.host.HandlerPID()
	began := time.Now()
	f.stop()
	assert.Less(t, time.Since(began), 5*time.Second, "an idle host waits for nothing")
	assert.False(t, alive(pid))
	assert.NotContains(t, strings.Join(f.notes(), "\n"), "signal", "SIGKILL, and nothing gentler before it")
}

// TestAnOrphanAsObserved: the handler of a host that is killed lives on and keeps its port, if that is asked for.
func TestAnOrphanAsObserved(t *testing.T) {
	t.Parallel()
	f, err := load(t, setup{})
	require.NoError(t, err)
	pid := killedHost(t, f, "ORPHANS=1")
	assert.True(t, alive(pid))
	text, err := os.ReadFile(filepath.Join(f.dir, "notes.probe"))
	require.NoError(t, err)
	var probe seen
	require.NoError(t, json.Unmarshal(text, &probe))
	res, err := client.Get("http://" + probe.Host + "/api")
	require.NoError(t, err, "it still answers")
	require.NoError(t, res.Body.Close())
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() bool { return !alive(pid) || zombie(pid) })
}
