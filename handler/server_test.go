package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/rest"
)

// wired is the server as the process runs it, with two operations that count what reaches them.
type wired struct {
	addr  string
	asked atomic.Int64 // requests that reached an operation
	body  atomic.Value // the last body that one saw
}

func serveWire(t *testing.T, change ...func(*http.Server)) *wired {
	t.Helper()
	api, err := rest.New(rest.Config{
		Title: "Test", Version: "1", Logger: slog.New(slog.DiscardHandler), Ready: func(context.Context) error { return nil }, Deadline: time.Minute,
	})
	require.NoError(t, err)
	w := &wired{}
	rest.Register(api, rest.Operation{ID: "read", Method: http.MethodGet, Path: "/api/v1/thing", Tag: "T", Status: 200}, func(context.Context, *struct{}) (rest.Answer, error) {
		w.asked.Add(1)
		return rest.JSON(http.StatusOK, "read")
	})
	rest.Register(api, rest.Operation{ID: "write", Method: http.MethodPost, Path: "/api/v1/thing", Tag: "T", Status: 200}, func(_ context.Context, in *struct{ Body []int }) (rest.Answer, error) {
		w.asked.Add(1)
		w.body.Store(fmt.Sprint(in.Body))
		return rest.JSON(http.StatusOK, "written")
	})
	server := newServer(api.Handler(), slog.New(slog.DiscardHandler))
	for _, f := range change {
		f(server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	w.addr = listener.Addr().String()
	return w
}

// raw sends bytes as they are and reads all answers until the server closes, or there is silence.
func (w *wired) raw(t *testing.T, bytes string) (statuses []int, all string) {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(3*time.Second)))
	go func() { _, _ = io.WriteString(conn, bytes) }() // a server that has had enough doesn't read the rest
	var seen strings.Builder
	in := bufio.NewReader(io.TeeReader(conn, &seen))
	for {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses, seen.String()
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		statuses = append(statuses, res.StatusCode)
	}
}

// API8: what two readers could take for different requests is refused, and never becomes two. Whatever follows it on the
// connection is not answered: that is what a smuggled request would be.
func TestAPI8SmuggledRequests(t *testing.T) {
	t.Parallel()
	const (
		smuggled = "GET /api/v1/thing HTTP/1.1\r\nHost: x\r\n\r\n"
		post     = "POST /api/v1/thing HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	)
	for name, c := range map[string]struct {
		bytes    string
		statuses []int
		asked    int64
	}{
		// The first line is what a good request of this form looks like, so that the others fail for what they say.
		"a good one, and a second":         {post + "Content-Length: 3\r\n\r\n[1]" + smuggled, []int{200, 200}, 2},
		"chunked, alone on its connection": {post + "Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n" + smuggled, []int{200}, 1},

		// Transfer-Encoding rules (RFC 9112, section 6.1), and such a connection is not used again.
		"CL and TE":                   {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"TE and CL":                   {post + "Transfer-Encoding: chunked\r\nContent-Length: 38\r\n\r\n3\r\n[1]\r\n0\r\n\r\n" + smuggled, []int{200}, 1},
		"two lengths":                 {post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"one length twice":            {post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n[1]", []int{200}, 1},
		"a list of lengths":           {post + "Content-Length: 3, 4\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"a length with a sign":        {post + "Content-Length: +3\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"a negative length":           {post + "Content-Length: -1\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"a hexadecimal length":        {post + "Content-Length: 0x3\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"a length beyond 64 bits":     {post + "Content-Length: 18446744073709551619\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"two codings":                 {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, []int{501}, 0},
		"an unknown coding":           {post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, []int{501}, 0},
		"compressed by the transfer":  {post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled, []int{501}, 0},
		"a coding hidden by a tab":    {post + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"a blank before the colon":    {post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"a folded line is one line":   {post + "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n[1]", []int{200}, 1},
		"a folded coding":             {post + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 3\r\n\r\n[1]" + smuggled, []int{400}, 0},
		"a line that starts blank":    {"GET /api/v1/thing HTTP/1.1\r\n Host: x\r\n\r\n", []int{400}, 0},
		"a NUL in a header":           {"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", []int{400}, 0},
		"a bare CR in a header":       {"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nX-A: a\rX-B: c\r\n\r\n", []int{400}, 0},
		"two hosts":                   {"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", []int{400}, 0},
		"no host":                     {"GET /api/v1/thing HTTP/1.1\r\n\r\n", []int{400}, 0},
		"a host with a path":          {"GET /api/v1/thing HTTP/1.1\r\nHost: x/y\r\n\r\n", []int{400}, 0},
		"HTTP/0.9":                    {"GET /api/v1/thing\r\n\r\n", []int{400}, 0},
		"HTTP/2 without agreement":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled, []int{404}, 0},
		"HTTP/3":                      {"GET /api/v1/thing HTTP/3.0\r\nHost: x\r\n\r\n", []int{505}, 0},
		"a chunk of a negative size":  {post + "Transfer-Encoding: chunked\r\n\r\n-3\r\n[1]\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"a chunk of a huge size":      {post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n[1]\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"a chunk longer than it says": {post + "Transfer-Encoding: chunked\r\n\r\n2\r\n[1]\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"a chunk's line with bare LF": {post + "Transfer-Encoding: chunked\r\n\r\n3;x=\n[1]\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		"endless chunk extensions":    {post + "Transfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("x", 1<<20) + "\r\n[1]\r\n0\r\n\r\n", []int{400}, 0},
		"many chunk extensions":       {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\n \r\n", 1000) + "0\r\n\r\n" + smuggled, []int{400}, 0},
		"a length that lies":          {post + "Content-Length: 2\r\n\r\n[]GET /api/v1/thing HTTP/1.1\r\nHost: x\r\n\r\n", []int{200, 200}, 2}, // no smuggling: it says so
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serveWire(t)
			statuses, all := w.raw(t, c.bytes)
			assert.Equal(t, c.statuses, statuses, "%s", all)
			assert.Equal(t, c.asked, w.asked.Load())
		})
	}
}

// API8: a proxy is what we are not, nor a server of other protocols.
func TestAPI8RequestTargets(t *testing.T) {
	t.Parallel()
	w := serveWire(t)
	for _, c := range []struct {
		bytes  string
		status int
		asked  int64
	}{
		// A server must take the absolute form (RFC 9112, section 3.2.2). Whose name it says changes nothing.
		{"GET http://elsewhere.example/api/v1/thing HTTP/1.1\r\nHost: x\r\n\r\n", 200, 1},
		{"GET http://elsewhere.example/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0},
		{"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n", 404, 0},
		{"CONNECT /api/v1/thing HTTP/1.1\r\nHost: x\r\n\r\n", 405, 0},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0},
		{"TRACE /api/v1/thing HTTP/1.1\r\nHost: x\r\nCookie: secret\r\n\r\n", 405, 0},
		{"GET thing HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
		{"GET /api/v1/thing?%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
		{"GET /api/v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
		{"GET /api/v1/thing#x HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0},
		{"G\x00T /api/v1/thing HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
		{"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n", 200, 1},
		{"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 200, 1},
		{"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nExpect: nonsense\r\n\r\n", 417, 0},
		{"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, 1}, // a body means nothing to GET
		{"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", 431, 0},
		{"GET /api/v1/thing HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 20_000) + "\r\n", 431, 0},
		{"GET /api/v1/" + strings.Repeat("x", 9<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 414, 0},
	} {
		before := w.asked.Load()
		statuses, all := w.raw(t, c.bytes)
		if assert.Len(t, statuses, 1, "%.80q: %s", c.bytes, all) {
			assert.Equal(t, c.status, statuses[0], "%.80q: %s", c.bytes, all)
		}
		assert.Equal(t, c.asked, w.asked.Load()-before, "%.80q", c.bytes)
		assert.NotContains(t, all, "secret", "an answer echoes nothing")
		assert.NotContains(t, all, "101 Switching")
	}
}

// API4: a client that is slow holds its own connection for so long and nobody else's. The production values are checked
// below; here they are small, so that the test need not wait for them.
func TestAPI4SlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	w := serveWire(t, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = 200*time.Millisecond, 300*time.Millisecond, 3*time.Second
	})
	for name, begun := range map[string]string{
		"nothing":               "",
		"half a line":           "GET /api",
		"half a header":         "GET /api/v1/thing HTTP/1.1\r\nHost: x\r\nX-A:",
		"a body that never was": "GET /api/v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
	} {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		_, err = io.WriteString(conn, begun)
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, conn.SetReadDeadline(began.Add(10*time.Second)))
		_, err = io.Copy(io.Discard, conn)
		assert.NoError(t, err, "%s: the server did not close it", name)
		assert.Less(t, time.Since(began), 5*time.Second, name)
		_ = conn.Close()
	}
}

// The host sends the next client's request on a connection that was idle for longer than any request may take.
func TestAnIdleConnectionStaysOpen(t *testing.T) {
	t.Parallel()
	w := serveWire(t, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	})
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := range 3 {
		if i > 0 {
			time.Sleep(300 * time.Millisecond) // idle
		}
		_, err := io.WriteString(conn, "GET /api/v1/thing HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		res, err := http.ReadResponse(in, nil)
		require.NoError(t, err, "closed while it was idle")
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode)
	}
	const hostKeeps = time.Minute
	s := newServer(nil, slog.New(slog.DiscardHandler))
	assert.GreaterOrEqual(t, s.IdleTimeout, 2*hostKeeps, "the host must be the one to close it")
	for name, bound := range map[string]time.Duration{"header": s.ReadHeaderTimeout, "request": s.ReadTimeout, "answer": s.WriteTimeout} {
		assert.Positive(t, bound, name)
		assert.LessOrEqual(t, bound, time.Minute, name)
	}
	assert.LessOrEqual(t, s.MaxHeaderBytes, 64<<10)
}
