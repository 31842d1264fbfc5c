package kit

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Wire is a way to a server that a test can cut: what goes over it breaks, and who connects is turned away, until it is
// mended. Or it can be muted, as by a network that loses everything: nothing comes through, nothing ends, and who connects
// hears nothing.
type Wire struct {
	URL    string // the server's address by way of the wire
	target string

	mu    sync.Mutex
	cut   bool
	muted *atomic.Bool // of the connections since the last mending
	came  int
	conns map[net.Conn]struct{}
}

// NewWire lays a wire to the server of an address like postgres://...
func NewWire(t testing.TB, address string) *Wire {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &Wire{target: u.Host, muted: new(atomic.Bool), conns: make(map[net.Conn]struct{})}
	u.Host = listener.Addr().String()
	w.URL = u.String()
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed below
			}
			passing.Go(func() { w.pass(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.Cut()
		passing.Wait()
	})
	return w
}

// Cut breaks all connections and turns new ones away.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Close()
	}
}

// Mute loses everything from now on, of connections that there are for ever.
func (w *Wire) Mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.muted.Store(true)
}

// Mend lets connections through again: new ones, after a Mute.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.muted = false, new(atomic.Bool)
}

// Came is how many connections came over the wire, whatever became of them.
func (w *Wire) Came() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.came
}

// pass carries one connection until either side leaves or the wire is cut.
func (w *Wire) pass(client net.Conn) {
	defer w.drop(client)
	server, err := new(net.Dialer).Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer w.drop(server)
	muted, ok := w.keep(client, server)
	if !ok {
		return
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		_, _ = io.Copy(sink{server, muted}, client)
		_ = server.Close()
	})
	_, _ = io.Copy(sink{client, muted}, server)
	_ = client.Close()
}

// sink swallows what is written while its connection is muted.
type sink struct {
	io.Writer
	muted *atomic.Bool
}

// Write implements io.Writer.
func (s sink) Write(p []byte) (int, error) {
	if s.muted.Load() {
		return len(p), nil
	}
	return s.Writer.Write(p)
}

// keep notes connections for Cut, or says that it is too late for them.
func (w *Wire) keep(conns ...net.Conn) (muted *atomic.Bool, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.came++
	for _, c := range conns {
		w.conns[c] = struct{}{}
	}
	return w.muted, !w.cut
}

func (w *Wire) drop(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}
