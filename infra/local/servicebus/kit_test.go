package servicebus

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

const patience = 10 * time.Second

// clock is a clock that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

func to[T any](v T) *T { return &v }

// az is a message of the client's whose body is its id.
func az(id string) *azservicebus.Message {
	return &azservicebus.Message{MessageID: &id, Body: []byte(id)}
}

func journalIn(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "journal")
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

func newBroker(t *testing.T, o Options) *Broker {
	t.Helper()
	b, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// client connects the real client.
func client(t *testing.T, b *Broker) *azservicebus.Client {
	t.Helper()
	return clientWith(t, ConnectionString(listen(t, b)))
}

func listen(t *testing.T, b *Broker) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, <-served)
	})
	return l.Addr().(*net.TCPAddr).Port
}

func clientWith(t *testing.T, connection string) *azservicebus.Client {
	t.Helper()
	c, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 10 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close(context.Background())) })
	return c
}

func send(t *testing.T, c *azservicebus.Client, to string, messages ...*azservicebus.Message) {
	t.Helper()
	s, err := c.NewSender(to, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.Background())) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range messages {
		require.NoError(t, s.SendMessage(ctx, m, nil))
	}
}

type receiver interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
}

func take(t *testing.T, r receiver, n int) (out []*azservicebus.ReceivedMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(out) < n {
		got, err := r.ReceiveMessages(ctx, n-len(out), nil)
		require.NoError(t, err, "%d of %d came", len(out), n)
		out = append(out, got...)
	}
	return out
}

func ids(messages []*azservicebus.ReceivedMessage) []string {
	out := make([]string, len(messages))
	for i, m := range messages {
		out[i] = m.MessageID
	}
	return out
}

// rawClient speaks frames, and can do what no real client does.
type rawClient struct {
	t   *testing.T
	net net.Conn
	in  *bufio.Reader
	c   *conn // for its way of writing frames
}

// dial connects and agrees on AMQP without SASL; the client opens.
func dial(t *testing.T, b *Broker) *rawClient {
	t.Helper()
	near, far := net.Pipe()
	b.ServeConn(far)
	t.Cleanup(func() { near.Close() })
	r := &rawClient{t: t, net: near, in: bufio.NewReader(near), c: &conn{net: hasty{near}}}
	r.write([]byte("AMQP\x00\x01\x00\x00"))
	head := make([]byte, 8)
	_, err := r.in.Read(head)
	require.NoError(t, err)
	require.Equal(t, "AMQP\x00\x01\x00\x00", string(head))
	return r
}

// hasty is a connection on which nobody waits longer than a test may.
type hasty struct{ net.Conn }

// SetReadDeadline sets a nearer one.
func (h hasty) SetReadDeadline(time.Time) error {
	return h.Conn.SetReadDeadline(time.Now().Add(patience))
}

func (r *rawClient) write(b []byte) {
	r.t.Helper()
	require.NoError(r.t, r.net.SetWriteDeadline(time.Now().Add(patience)))
	_, err := r.net.Write(b)
	require.NoError(r.t, err)
}

func frameBytes(channel uint16, body ...byte) []byte {
	n := len(body) + 8
	return append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 2, 0, byte(channel >> 8), byte(channel)}, body...)
}

func (r *rawClient) perform(code uint64, fields ...any) {
	r.t.Helper()
	r.write(frameBytes(0, amqp.Performative(code, fields...)...))
}

// next reads the next frame that isn't empty.
func (r *rawClient) next() (code uint64, fields []any) {
	r.t.Helper()
	for {
		_, _, body, err := r.c.readFrame(r.in)
		require.NoError(r.t, err)
		if len(body) == 0 {
			continue
		}
		v, _, err := amqp.Decode(body)
		require.NoError(r.t, err)
		return amqp.Fields(v)
	}
}

// expect reads frames up to the next of a kind.
func (r *rawClient) expect(code uint64) []any {
	r.t.Helper()
	for {
		got, fields := r.next()
		if got == code {
			return fields
		}
		require.NotEqual(r.t, uint64(performClose), got, "closed: %v", fields)
	}
}

// open opens a connection and a session.
func (r *rawClient) open() {
	r.t.Helper()
	r.perform(performOpen, "test", "host", uint32(maxFrame))
	r.expect(performOpen)
	r.perform(performBegin, nil, uint32(0), uint32(1000), uint32(1000))
	r.expect(performBegin)
}

// claim lets the connection use an entity.
func (r *rawClient) claim(b *Broker, names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		for _, name := range names {
			c.claims[key(name)] = claim{until: b.now().Add(time.Hour), send: true, listen: true}
		}
	}
}

// attachSender attaches handle 0 as a sender.
func (r *rawClient) attachSender(address string) {
	r.t.Helper()
	source := amqp.Described{Code: uint64(sourceCode), Value: []any{"me"}}
	target := amqp.Described{Code: uint64(0x29), Value: []any{address}}
	r.perform(performAttach, "sender", uint32(0), false, uint8(2), uint8(0), source, target)
	r.expect(performFlow)
}

// attachReceiver attaches a handle as a peek-lock receiver.
func (r *rawClient) attachReceiver(handle uint32, address string, credit uint32) {
	r.t.Helper()
	source := amqp.Described{Code: uint64(sourceCode), Value: []any{address}}
	target := amqp.Described{Code: uint64(0x29), Value: []any{"me"}}
	r.perform(performAttach, "receiver", handle, true, uint8(2), uint8(1), source, target)
	r.expect(performAttach)
	r.perform(performFlow, uint32(0), uint32(1000), uint32(0), uint32(1000), handle, uint32(0), credit)
}

// plain is an encoded message of n bytes of body.
func plain(n int) []byte {
	return amqp.Append(nil, amqp.Described{Code: uint64(sectionData), Value: make([]byte, n)})
}
