package kit

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Wire is a way to a server that a test can cut: what goes over it breaks, and who connects is turned away, until it is
// mended.
type Wire struct {
	URL    string // the server's address by way of the wire
	target string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// NewWire lays a wire to the server of an address like postgres://...
func NewWire(t testing.TB, address string) *Wire {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &Wire{target: u.Host, conns: make(map[net.Conn]struct{})}
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

// Mend lets connections through again.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// pass carries one connection until either side leaves or the wire is cut.
func (w *Wire) pass(client net.Conn) {
	defer w.drop(client)
	server, err := new(net.Dialer).Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer w.drop(server)
	if !w.keep(client, server) {
		return
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	_, _ = io.Copy(client, server)
	_ = client.Close()
}

// keep notes connections for Cut, or says that it is too late for them.
func (w *Wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = struct{}{}
	}
	return !w.cut
}

func (w *Wire) drop(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}
