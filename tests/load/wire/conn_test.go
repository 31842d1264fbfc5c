package wire

import (
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
)

const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// answering is a connection whose other end reads a request and sends the parts, each as a segment of its own, and
// hangs up.
func answering(t *testing.T, parts ...string) *Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, len(request))); err != nil {
			return
		}
		for _, part := range parts {
			if _, err := io.WriteString(c, part); err != nil {
				return
			}
		}
	}()
	c, err := Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAnswersAreRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("abcdefghij", 2000) // longer than the first buffer
	for name, c := range map[string]struct {
		answer string
		want   Response
	}{
		"with a length":      {"HTTP/1.1 201 Created\r\nX: y\r\ncontent-length: 5\r\n\r\nhello", Response{Status: 201, Body: []byte("hello")}},
		"without a reason":   {"HTTP/1.1 200\r\nContent-Length:0\r\n\r\n", Response{Status: 200, Body: []byte{}}},
		"that is long":       {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), Response{Status: 200, Body: []byte(long)}},
		"in chunks":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n, world!!!\r\n0\r\nT: v\r\n\r\n", Response{Status: 200, Body: []byte("hello, world!!!")}},
		"in a long chunk":    {fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long), Response{Status: 200, Body: []byte(long)}},
		"without a body":     {"HTTP/1.1 204 No Content\r\n\r\n", Response{Status: 204}},
		"not modified":       {"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n", Response{Status: 304}},
		"after interim ones": {"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", Response{Status: 200, Body: []byte("x")}},
		"before the end":     {"HTTP/1.1 503 Service Unavailable\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", Response{Status: 503, Body: []byte{}, Close: true}},
		"of an old server":   {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Response{Status: 200, Body: []byte{}, Close: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := answering(t, c.answer).Do(time.Now(), []byte(request))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			// Whatever the network makes of it: cut in two at every place.
			for at := 1; at < min(len(c.answer), 150); at++ {
				got, err := read(c.answer[:at], c.answer[at:])
				require.NoError(t, err, "cut at %d", at)
				require.Equal(t, c.want, got, "cut at %d", at)
			}
			for at := range min(len(c.answer), 150) { // who hangs up early has not answered
				_, err := read(c.answer[:at])
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "ends at %d", at)
			}
		})
	}
}

// read reads an answer that comes in these pieces, one for each read of the connection.
func read(pieces ...string) (Response, error) {
	c := &Conn{net: &scripted{pieces: pieces}, buffer: make([]byte, 64)}
	return c.Do(time.Now(), []byte(request))
}

// scripted is a connection that gives one piece per read.
type scripted struct {
	net.Conn
	pieces []string
}

func (s *scripted) SetDeadline(time.Time) error       { return nil }
func (s *scripted) Write(request []byte) (int, error) { return len(request), nil }

func (s *scripted) Read(into []byte) (int, error) {
	for len(s.pieces) > 0 && s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(into, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]error{
		"HTTP/1.1 200 OK\r\n\r\nno end to be seen":                                   ErrNoLength,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc":                            ErrExcess,
		"HTTP/1.1 204 No Content\r\n\r\nabc":                                         ErrExcess,
		"HTTP/2 200 OK, and more of this kind\r\n\r\n":                               ErrMalformed,
		"HTTP/1.1 20x\r\n\r\n":                                                       ErrMalformed,
		"HTTP/1.1 2000 OK\r\n\r\n":                                                   ErrMalformed,
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                                   ErrMalformed,
		"HTTP/1.1 200 OK\r\nno field\r\n\r\n":                                        ErrMalformed,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":                              ErrMalformed,
		"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n":                       ErrTooLarge,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n":                         ErrMalformed,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n":                 ErrMalformed,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n": ErrMalformed,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n":           ErrTooLarge,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore":         ErrExcess,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", most):                         ErrTooLarge,
	} {
		_, err := read(answer)
		assert.ErrorIs(t, err, want, "%.80q", answer)
	}
}

func TestOneConnectionServesManyRequestsWithoutAllocating(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	c, err := Dial(t.Context(), server.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	for _, path := range []string{"/", "/chunked"} {
		asked := []byte("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		for range 100 {
			got, err := c.Do(time.Now(), asked)
			require.NoError(t, err)
			require.Equal(t, Response{Status: 200, Body: []byte("hello")}, got)
		}
	}
	answer := []byte("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\nhello")
	quiet := &Conn{net: always(answer), buffer: make([]byte, 256)}
	now, asked := time.Now(), []byte(request)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = quiet.Do(now, asked) }))
}

// always is a connection on which every read gives the same answer.
type always []byte

func (always) Close() error                      { return nil }
func (always) LocalAddr() net.Addr               { return nil }
func (always) RemoteAddr() net.Addr              { return nil }
func (always) SetDeadline(time.Time) error       { return nil }
func (always) SetReadDeadline(time.Time) error   { return nil }
func (always) SetWriteDeadline(time.Time) error  { return nil }
func (always) Write(request []byte) (int, error) { return len(request), nil }
func (a always) Read(into []byte) (int, error)   { return copy(into, a), nil }
