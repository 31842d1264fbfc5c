package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPost(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.JSONEq(t, `{"n":1}`, string(body))
		got <- r
		w.Header().Set("Retry-After", "120")
		w.Header().Set("Set-Cookie", "a=b")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, "later, please")
	})
	result, err := newClient(t, Options{AllowLoopback: true}).Post(t.Context(), e.URL+"/hook?a=b", http.Header{"Webhook-Id": {"evt_1"}}, []byte(`{"n":1}`))
	require.NoError(t, err)
	assert.Positive(t, result.Latency)
	result.Latency = 0
	assert.Equal(t, Result{
		Status: http.StatusServiceUnavailable, Excerpt: "later, please",
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Retry-After": {"120"}},
	}, result)
	r := <-got
	assert.Equal(t, "POST /hook?a=b", r.Method+" "+r.URL.String())
	assert.Equal(t, "evt_1", r.Header.Get("Webhook-Id"))
	assert.EqualValues(t, 7, r.ContentLength)
	assert.Empty(t, r.Header.Get("Accept-Encoding"), "a packed answer could unpack to gigabytes")
}

// TestTotalTime: the time is the attempt's. A server that always sends another byte just in time gains nothing.
func TestTotalTime(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	drip := func(w io.Writer, gone <-chan struct{}, flush func()) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-gone:
				return
			case <-tick.C:
				if _, err := fmt.Fprint(w, "x"); err != nil {
					return
				}
				flush()
			}
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int
	}{
		"silence": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, 0},
		"a drip of body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			drip(w, r.Context().Done(), w.(http.Flusher).Flush)
		}, http.StatusOK},
		"a drip of header": {func(w http.ResponseWriter, _ *http.Request) {
			conn, rw := hijack(t, w)
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nX-Slow: ")
			_ = rw.Flush()
			drip(conn, nil, func() {})
		}, 0},
		"early hints without end": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusEarlyHints)
			<-r.Context().Done()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, c.handler)
			start := time.Now()
			result, err := post(t, newClient(t, Options{AllowLoopback: true, Timeout: limit}), e.URL)
			failed(t, err, ErrTimeout)
			assert.Less(t, time.Since(start), 10*limit)
			assert.GreaterOrEqual(t, result.Latency, limit)
			assert.Equal(t, c.status, result.Status, "what had come is told beside the error")
		})
	}
}

// TestTimeoutOnAKeptConnection: a host that answered once and then hangs is slow, which is not the same as busy.
func TestTimeoutOnAKeptConnection(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
		_, _ = fmt.Fprint(w, r.RemoteAddr)
	})
	c := newClient(t, Options{AllowLoopback: true, Timeout: 300 * time.Millisecond})
	first, err := post(t, c, e.URL)
	require.NoError(t, err)
	second, err := post(t, c, e.URL)
	require.NoError(t, err)
	assert.Equal(t, first.Excerpt, second.Excerpt, "the connection is used again")
	_, err = post(t, c, e.URL+"/hang")
	failed(t, err, ErrTimeout)
}

// TestTotalTimeUnread: nor does a server that never reads what we send.
func TestTotalTimeUnread(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _ := hijack(t, w)
		defer conn.Close()
		<-stop
	})
	t.Cleanup(func() { close(stop) })
	_, err := newClient(t, Options{AllowLoopback: true, Timeout: 300 * time.Millisecond}).
		Post(t.Context(), e.URL, nil, bytes.Repeat([]byte("b"), 64<<20))
	failed(t, err, ErrTimeout)
}

// TestSwitchingProtocols: that answer's body is the connection itself and has no end; an attempt that read it
// would hold its worker for ever.
func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 1)
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw := hijack(t, w)
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: forever\r\n\r\n")
		_ = rw.Flush()
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, err := conn.Read(make([]byte, 1))
		closed <- err
	})
	result, err := post(t, newClient(t, Options{AllowLoopback: true}), e.URL)
	require.NoError(t, err)
	assert.Equal(t, http.StatusSwitchingProtocols, result.Status)
	assert.ErrorIs(t, <-closed, io.EOF, "and the connection is closed, not left open")
}

// TestBodyCap: more than the cap is cut off, and the endless rest isn't waited for.
func TestBodyCap(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for chunk := strings.Repeat("z", 32<<10); r.Context().Err() == nil; {
			if _, err := fmt.Fprint(w, chunk); err != nil {
				return
			}
		}
	})
	result, err := post(t, newClient(t, Options{AllowLoopback: true}), e.URL)
	require.NoError(t, err)
	assert.Len(t, result.Excerpt, 16<<10)
	assert.True(t, result.Cut)

	for _, size := range []int{99, 100, 101} {
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, strings.Repeat("z", size)) })
		result, err := post(t, newClient(t, Options{AllowLoopback: true, MaxBody: 100}), e.URL)
		require.NoError(t, err)
		assert.Len(t, result.Excerpt, min(size, 100))
		assert.Equal(t, size > 100, result.Cut)
	}
}

// TestExcerptIsText: PostgreSQL refuses NUL and broken UTF-8. An answer with one could never be recorded, and its
// attempt would be made again and again.
func TestExcerptIsText(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/\xff")
		_, _ = fmt.Fprint(w, "a\x00b\xffc\x1b[31m\u0085é\n\t€")
	})
	for _, limit := range []int{100, 19} { // 19 is in the middle of the euro sign
		result, err := post(t, newClient(t, Options{AllowLoopback: true, MaxBody: limit}), e.URL)
		require.NoError(t, err)
		assert.True(t, utf8.ValidString(result.Excerpt))
		assert.Equal(t, "a�b�c�[31m�é\n\t", result.Excerpt[:strings.IndexByte(result.Excerpt, '\t')+1])
		assert.Equal(t, "text/�", result.Header.Get("Content-Type"))
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	closed := serve(t, answerOK)
	closed.Close()
	secure := serveTLS(t, answerOK)
	old := start(t, answerOK, func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		s.StartTLS()
	})
	dns := newNames(t, map[string][][]string{"other.example.org": {{"127.0.0.1"}}})
	answering := func(raw string) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, rw := hijack(t, w)
			defer conn.Close()
			_, _ = rw.WriteString(raw)
			_ = rw.Flush()
		}).URL
	}
	for name, c := range map[string]struct {
		to      string
		trusted bool
		want    error
	}{
		"nobody listens":      {closed.URL, false, ErrConnect},
		"untrusted":           {secure.URL, false, ErrTLS},
		"another's name":      {"https://other.example.org:" + strconv.Itoa(secure.port), true, ErrTLS},
		"TLS 1.1":             {old.URL, true, ErrTLS},
		"plain where TLS is":  {strings.Replace(serve(t, answerOK).URL, "http:", "https:", 1), false, ErrTLS},
		"no HTTP":             {answering("220 mail.example.com ESMTP\r\n"), false, ErrAnswer},
		"no answer":           {answering(""), false, ErrAnswer},
		"half an answer":      {answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), false, ErrAnswer},
		"megabytes of header": {answering("HTTP/1.1 200 OK\r\nX-Big: " + strings.Repeat("h", 1<<20) + "\r\n\r\n"), false, ErrAnswer},
		"20 KiB of header":    {answering("HTTP/1.1 200 OK\r\nX-Big: " + strings.Repeat("h", 20<<10) + "\r\nContent-Length: 0\r\n\r\n"), false, ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{AllowLoopback: true, Resolver: dns.resolver, Ports: []int{secure.port}}
			if c.trusted {
				o.RootCAs = secure.roots()
				o.RootCAs.AddCert(old.Certificate())
			}
			_, err := post(t, newClient(t, o), c.to)
			failed(t, err, c.want)
			assert.NotContains(t, err.Error(), "127.0.0.1")
		})
	}
}

// TestCancelled: who stops the attempt learns that it was he, not the endpoint.
func TestCancelled(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	e := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(reached)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	_, err := newClient(t, Options{AllowLoopback: true}).Post(ctx, e.URL, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
	var e2 *Error
	assert.NotErrorAs(t, err, &e2)
}

// TestOneHostCannotTakeAllConnections: a hanging host holds its few, further attempts to it say so, and others
// are called as if nothing were.
func TestOneHostCannotTakeAllConnections(t *testing.T) {
	t.Parallel()
	reached, stop := make(chan struct{}, 100), make(chan struct{})
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- struct{}{}
		<-stop
	})
	release := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(release)
	healthy := serve(t, answerOK)
	c := newClient(t, Options{AllowLoopback: true})
	var all sync.WaitGroup
	for range connsPerHost {
		all.Go(func() {
			_, err := post(t, c, slow.URL)
			assert.NoError(t, err)
		})
	}
	for range connsPerHost {
		<-reached
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Post(ctx, slow.URL, nil, nil)
	failed(t, err, ErrBusy)
	assert.EqualValues(t, connsPerHost, slow.hits.Load())

	_, err = post(t, c, healthy.URL)
	require.NoError(t, err)
	release()
	all.Wait()
}

func hijack(t *testing.T, w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	t.Helper()
	conn, rw, err := w.(http.Hijacker).Hijack()
	if !assert.NoError(t, err) {
		panic(http.ErrAbortHandler)
	}
	return conn, rw
}
