package servicebus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

const (
	maxFrame    = 64 << 10
	minMaxFrame = 512 // the least that a peer must take
	idleTimeout = 2 * time.Minute
	// congestion is how much may wait to be written before deliveries pause; at twice as much, reading pauses too.
	// A client that doesn't read costs this much memory and no more.
	congestion   = 4 << 20
	writeTimeout = 30 * time.Second
)

// conn is a client's connection. One goroutine reads and handles frames, under Broker.mu; another writes what they
// and other connections' frames brought.
type conn struct {
	broker *Broker
	net    net.Conn
	done   chan struct{} // closed when reading has ended

	// Guarded by Broker.mu:
	sessions  map[uint16]*session
	claims    map[string]claim
	opened    bool
	ended     bool
	peerFrame int

	out output
}

// output is what waits to be written.
type output struct {
	mu       sync.Mutex
	changed  sync.Cond
	pending  []byte
	position uint64 // of the journal: pending may not leave before this much is on the disk
	paused   bool   // deliveries wait for room
	closed   bool
}

func newConn(b *Broker, n net.Conn) *conn {
	c := &conn{
		broker: b, net: n, done: make(chan struct{}),
		sessions: map[uint16]*session{}, claims: map[string]claim{}, peerFrame: minMaxFrame,
	}
	c.out.changed.L = &c.out.mu
	return c
}

// cut ends the connection without a word.
func (c *conn) cut() { _ = c.net.Close() } // closing twice harms nobody

// read handles frames until the client goes.
func (c *conn) read() {
	defer close(c.done)
	defer c.finish()
	err := c.converse(bufio.NewReaderSize(c.net, maxFrame))
	var protocol *wireError
	switch {
	case errors.Is(err, errDropped):
		c.cut()
	case errors.As(err, &protocol):
		c.broker.log.Warn("a client broke the protocol", "error", err, "client", c.net.RemoteAddr())
		c.frame(0, 0, amqp.Performative(performClose, protocol.wire()), nil)
	}
}

// finish drops what the connection held, and lets the writer write what is left.
func (c *conn) finish() {
	c.broker.mu.Lock()
	c.ended = true
	for _, s := range c.sessions {
		s.end()
	}
	delete(c.broker.conns, c)
	c.broker.mu.Unlock()
	c.out.mu.Lock()
	c.out.closed = true
	c.out.mu.Unlock()
	c.out.changed.Broadcast()
}

func (c *conn) converse(r *bufio.Reader) error {
	if err := c.handshake(r); err != nil {
		return err
	}
	for {
		typ, channel, body, err := c.readFrame(r)
		if err != nil {
			return err
		}
		if typ != frameAMQP || len(body) == 0 {
			continue // a sign of life
		}
		if done, err := c.handle(channel, body); done || err != nil {
			return err
		}
		c.awaitRoom()
	}
}

func (c *conn) readFrame(r io.Reader) (typ byte, channel uint16, body []byte, err error) {
	var head [8]byte
	// Twice what we ask for: a client that is late by less than that is slow and not gone.
	if err := c.net.SetReadDeadline(time.Now().Add(2 * idleTimeout)); err != nil {
		return 0, 0, nil, err
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	size, offset := int64(binary.BigEndian.Uint32(head[:])), int64(head[4])*4
	if size < 8 || size > maxFrame || offset < 8 || offset > size {
		return 0, 0, nil, &wireError{condFraming, fmt.Sprintf("a frame of %d bytes with its body at %d", size, offset)}
	}
	body = make([]byte, size-8)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, 0, nil, err
	}
	return head[5], binary.BigEndian.Uint16(head[6:]), body[offset-8:], nil
}

// handshake agrees on AMQP, with a SASL layer that lets everybody in: who may do what is decided at $cbs.
func (c *conn) handshake(r io.Reader) error {
	for {
		var head [8]byte
		if err := c.net.SetReadDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		if string(head[:4]) != "AMQP" || head[4] != 0 && head[4] != 3 {
			return fmt.Errorf("not AMQP 1.0 without TLS: %q", head)
		}
		c.queue(head[:])
		if head[4] == 0 {
			return nil
		}
		mechanisms := []amqp.Symbol{"ANONYMOUS", "PLAIN", "EXTERNAL", "MSSBCBS"}
		c.frame(frameSASL, 0, amqp.Performative(saslMechanisms, mechanisms), nil)
		if _, _, _, err := c.readFrame(r); err != nil { // sasl-init, whatever it says
			return err
		}
		c.frame(frameSASL, 0, amqp.Performative(saslOutcome, uint8(0)), nil)
	}
}

// frame queues a frame.
func (c *conn) frame(typ byte, channel uint16, body, payload []byte) {
	c.queue(binary.BigEndian.AppendUint16(
		append(binary.BigEndian.AppendUint32(make([]byte, 0, 8), uint32(8+len(body)+len(payload))), 2, typ), channel), body, payload) //nolint:gosec // bounded by the peer's frame size
}

// queue queues bytes, to leave when all that the journal has by now is on the disk.
func (c *conn) queue(parts ...[]byte) {
	position := uint64(0)
	if c.broker.journal != nil {
		position = c.broker.journal.Position()
	}
	c.out.mu.Lock()
	for _, p := range parts {
		c.out.pending = append(c.out.pending, p...)
	}
	c.out.position = max(c.out.position, position)
	c.out.mu.Unlock()
	c.out.changed.Broadcast()
}

// congested says whether deliveries must wait; the writer delivers on when there is room again.
func (c *conn) congested() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.paused = c.out.paused || len(c.out.pending) >= congestion
	return c.out.paused
}

// awaitRoom holds a client's frames back that doesn't read the answers.
func (c *conn) awaitRoom() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for len(c.out.pending) >= 2*congestion && !c.out.closed {
		c.out.changed.Wait()
	}
}

// write writes what is queued, once the journal holds what it promises.
func (c *conn) write() {
	defer c.stopWriting()
	var batch []byte
	for {
		c.out.mu.Lock()
		for len(c.out.pending) == 0 && !c.out.closed {
			c.out.changed.Wait()
		}
		if len(c.out.pending) == 0 {
			c.out.mu.Unlock()
			return
		}
		batch, c.out.pending = c.out.pending, batch[:0]
		position, paused := c.out.position, c.out.paused
		c.out.paused = false
		c.out.mu.Unlock()
		c.out.changed.Broadcast()
		if c.broker.journal != nil {
			if err := c.broker.journal.Commit(position); err != nil {
				c.broker.fail(err)
				return
			}
		}
		if err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if _, err := c.net.Write(batch); err != nil {
			return
		}
		if cap(batch) > congestion {
			batch = nil
		}
		if paused {
			c.resume()
		}
	}
}

// stopWriting ends the connection, and lets go a reader that waits for room.
func (c *conn) stopWriting() {
	c.cut()
	c.out.mu.Lock()
	c.out.closed = true
	c.out.mu.Unlock()
	c.out.changed.Broadcast()
}

func (c *conn) resume() {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	for _, s := range c.sessions {
		s.resume()
	}
}

// keepAlive sends empty frames for as long as the connection lives: half the time that the client would wait.
func (c *conn) keepAlive(every time.Duration) {
	t := time.NewTicker(max(every, 20*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-t.C:
			c.frame(frameAMQP, 0, nil, nil)
		}
	}
}
