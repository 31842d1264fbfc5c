package servicebus

import (
	"fmt"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

const (
	frameAMQP = 0
	frameSASL = 1

	saslMechanisms = 0x40
	saslOutcome    = 0x44

	performOpen        = 0x10
	performBegin       = 0x11
	performAttach      = 0x12
	performFlow        = 0x13
	performTransfer    = 0x14
	performDisposition = 0x15
	performDetach      = 0x16
	performEnd         = 0x17
	performClose       = 0x18

	maxChannel = 4999 // sessions of a connection
	maxHandle  = 255  // links of a session
	openWindow = 1<<31 - 1
)

// session is a channel of a connection. The window is the client's, in frames; ours is always open.
type session struct {
	conn         *conn
	channel      uint16
	links        map[uint32]*link
	nextIn       uint32 // transfers received and sent, by number
	nextOut      uint32
	window       uint32 // frames that the client takes
	nextDelivery uint32
	unsettled    map[uint32]*stored
}

// handle handles a frame; done says that the client closed in order.
func (c *conn) handle(channel uint16, body []byte) (done bool, err error) {
	v, n, err := amqp.Decode(body)
	if err != nil {
		return false, toWire(err)
	}
	code, f := amqp.Fields(v)
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	if !c.opened && code != performOpen {
		return false, &wireError{condNotAllowed, "The first frame must be an open."}
	}
	switch code {
	case performOpen:
		return false, c.open(f)
	case performClose:
		c.frame(frameAMQP, 0, amqp.Performative(performClose), nil)
		return true, nil
	case performBegin:
		return false, c.begin(channel, f)
	}
	s := c.sessions[channel]
	if s == nil {
		return false, nil // it crossed our end of the session
	}
	return false, s.handle(code, f, body[n:])
}

func (s *session) handle(code uint64, f []any, payload []byte) error {
	switch code {
	case performAttach:
		return s.attach(f)
	case performFlow:
		s.flow(f)
		return nil
	case performTransfer:
		return s.transfer(f, payload)
	case performDisposition:
		return s.disposition(f)
	case performDetach:
		handle, _ := amqp.Uint32(amqp.At(f, 0))
		if l := s.links[handle]; l != nil {
			l.drop()
			s.frame(amqp.Performative(performDetach, handle, true), nil)
		}
		return nil
	case performEnd:
		s.end()
		s.frame(amqp.Performative(performEnd), nil)
		return nil
	default:
		return &wireError{condNotImplemented, fmt.Sprintf("There is no performative %#x.", code)}
	}
}

func (c *conn) open(f []any) error {
	if c.opened {
		return &wireError{condNotAllowed, "The connection is open."}
	}
	c.opened = true
	c.peerFrame = maxFrame
	if size, ok := amqp.Uint32(amqp.At(f, 2)); ok {
		c.peerFrame = min(maxFrame, max(int(size), minMaxFrame))
	}
	if ms, _ := amqp.Uint32(amqp.At(f, 4)); ms > 0 {
		c.broker.running.Go(func() { c.keepAlive(time.Duration(ms) * time.Millisecond / 2) })
	}
	c.frame(frameAMQP, 0, amqp.Performative(performOpen, "servicebus", amqp.At(f, 1), uint32(maxFrame),
		uint16(maxChannel), uint32(idleTimeout/time.Millisecond)), nil)
	return nil
}

func (c *conn) begin(channel uint16, f []any) error {
	if channel > maxChannel || c.sessions[channel] != nil {
		return &wireError{condNotAllowed, fmt.Sprintf("Channel %d is in use or too high.", channel)}
	}
	s := &session{conn: c, channel: channel, links: map[uint32]*link{}, unsettled: map[uint32]*stored{}}
	s.nextIn, _ = amqp.Uint32(amqp.At(f, 1))
	s.window, _ = amqp.Uint32(amqp.At(f, 2))
	c.sessions[channel] = s
	s.frame(amqp.Performative(performBegin, channel, uint32(0), uint32(openWindow), uint32(openWindow), uint32(maxHandle)), nil)
	return nil
}

func (s *session) frame(body, payload []byte) { s.conn.frame(frameAMQP, s.channel, body, payload) }

func (s *session) end() {
	for _, l := range s.links {
		l.drop()
	}
	delete(s.conn.sessions, s.channel)
}

// resume delivers what waited for room on the connection or in the session's window.
func (s *session) resume() {
	for _, l := range s.links {
		l.resume()
	}
}

// flow takes the client's window, and for a link its credit.
func (s *session) flow(f []any) {
	next, _ := amqp.Uint32(amqp.At(f, 0))
	window, _ := amqp.Uint32(amqp.At(f, 1))
	s.window = next + window - s.nextOut
	handle, named := amqp.Uint32(amqp.At(f, 4))
	l := s.links[handle]
	if !named || l == nil || l.fromClient {
		s.resume()
		return
	}
	count, _ := amqp.Uint32(amqp.At(f, 5))
	credit, _ := amqp.Uint32(amqp.At(f, 6))
	l.credit = count + credit - l.deliveryCount
	l.resume()
	drain, _ := amqp.At(f, 8).(bool)
	echo, _ := amqp.At(f, 9).(bool)
	switch {
	case drain:
		l.deliveryCount += l.credit
		l.credit = 0
		l.sendFlow(true)
	case echo:
		l.sendFlow(false)
	}
}
