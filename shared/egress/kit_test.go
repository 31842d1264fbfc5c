package egress

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trapped counts the connections to a proxy that the environment names while this package's tests run.
var trapped atomic.Int32

func TestMain(m *testing.M) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := trap.Accept()
			if err != nil {
				return
			}
			trapped.Add(1)
			_ = conn.Close()
		}
	}()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		_ = os.Setenv(name, "http://"+trap.Addr().String())
	}
	_ = os.Unsetenv("NO_PROXY")
	_ = os.Unsetenv("no_proxy")
	os.Exit(m.Run())
}

// names is a DNS server. Each name has answers, one for each time it is asked for IPv4 addresses; the last one
// stays.
type names struct {
	resolver *net.Resolver
	mu       sync.Mutex
	answers  map[string][][]string
	asked    map[string]int
}

func newNames(t *testing.T, answers map[string][][]string) *names {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	n := &names{answers: answers, asked: map[string]int{}}
	n.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(n.answer(buf[:size]), from)
		}
	}()
	return n
}

// answer writes a DNS message: the question as it came, and one record for each address.
func (n *names) answer(query []byte) []byte {
	name, at := "", 12
	for query[at] != 0 {
		name += string(query[at+1:at+1+int(query[at])]) + "."
		at += 1 + int(query[at])
	}
	question := query[12 : at+5]
	kind := binary.BigEndian.Uint16(query[at+1:])
	addresses, known := n.next(name[:len(name)-1], kind)
	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, byte(len(addresses)), 0, 0, 0, 0}, question...)
	if !known {
		out[3] |= 3 // no such name
	}
	for _, a := range addresses {
		raw := a.AsSlice()
		out = append(out, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
		out = append(out, raw...)
	}
	return out
}

func (n *names) next(name string, kind uint16) (out []netip.Addr, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answers, known := n.answers[name]
	if !known {
		return nil, false
	}
	turn := min(n.asked[name], len(answers)-1)
	if kind == 1 {
		n.asked[name]++
	}
	for _, text := range answers[turn] {
		if a := netip.MustParseAddr(text); a.Is4() == (kind == 1) {
			out = append(out, a)
		}
	}
	return out, true
}

func (n *names) count(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[name]
}

// errStopped stands for a connection that the guard let pass: tests don't call strangers.
type errStopped struct{}

func (errStopped) Error() string { return "stopped by the test" }

// stopAtTheDoor lets the guard decide and connects nowhere; what it let pass comes back.
func stopAtTheDoor(w *route) func() []string {
	var mu sync.Mutex
	var passed []string
	guard := w.dialer.ControlContext
	w.dialer.ControlContext = func(ctx context.Context, network, address string, conn syscall.RawConn) error {
		if err := guard(ctx, network, address, conn); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		passed = append(passed, address)
		return errStopped{}
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), passed...)
	}
}

// endpoint is a customer's server on this machine; hits counts its requests.
type endpoint struct {
	*httptest.Server
	hits *atomic.Int32
	port int
}

func serve(t *testing.T, handler http.HandlerFunc) endpoint {
	t.Helper()
	return start(t, handler, (*httptest.Server).Start)
}

func serveTLS(t *testing.T, handler http.HandlerFunc) endpoint {
	t.Helper()
	return start(t, handler, (*httptest.Server).StartTLS)
}

func start(t *testing.T, handler http.HandlerFunc, begin func(*httptest.Server)) endpoint {
	t.Helper()
	e := endpoint{hits: &atomic.Int32{}}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.hits.Add(1)
		handler(w, r)
	}))
	e.Config.ErrorLog = nil
	begin(e.Server)
	t.Cleanup(func() { e.CloseClientConnections(); e.Close() })
	u, err := url.Parse(e.URL)
	require.NoError(t, err)
	e.port, err = strconv.Atoi(u.Port())
	require.NoError(t, err)
	return e
}

// roots trusts the endpoint's certificate, which is for example.com and 127.0.0.1.
func (e endpoint) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(e.Certificate())
	return pool
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = time.Minute // ends the test with an error that says what hung
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func post(t *testing.T, c *Client, to string) (Result, error) {
	t.Helper()
	return c.Post(t.Context(), to, http.Header{"Content-Type": {"application/json"}}, []byte(`{"n":1}`))
}

// failed checks the error's kind, and that its text and whatever it unwraps to name no address.
func failed(t *testing.T, err, want error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	var e *Error
	if assert.ErrorAs(t, err, &e) {
		assert.Equal(t, want.Error(), err.Error(), "the text goes to a customer")
		require.Error(t, e.Cause, "the log gets the cause")
	}
}
