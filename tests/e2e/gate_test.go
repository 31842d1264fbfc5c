package e2e

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// gate stands between a handler and PostgreSQL. While it is armed, the next word of a commit of orders is kept from the
// handler: the transaction is durable and nobody has been told, which is the moment to kill it.
type gate struct {
	url    string // the database's address through the gate
	armed  atomic.Bool
	held   chan struct{} // one value for each commit that was kept back
	target string
}

func newGate(t *testing.T, database string) *gate {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{target: u.Host, held: make(chan struct{}, 1)}
	u.Host = listener.Addr().String()
	g.url = u.String()

	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed below
			}
			passing.Go(func() { g.pass(client) })
		}
	})
	t.Cleanup(func() { // after the hosts: connections end with their handlers
		_ = listener.Close()
		passing.Wait()
	})
	return g
}

// pass carries one connection until either side leaves.
func (g *gate) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	defer asking.Wait()
	defer func() { _ = client.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		// Orders are inserted and committed in one round trip; what works in the background, and is nobody's invocation, is not.
		order := bytes.Contains(buffer[:n], []byte("INSERT 0 ")) && bytes.Contains(buffer[:n], []byte("COMMIT\x00"))
		if order && g.armed.CompareAndSwap(true, false) {
			g.held <- struct{}{}
			_, _ = io.Copy(io.Discard, server) // until the handler is gone
			return
		}
		if _, failed := client.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}
