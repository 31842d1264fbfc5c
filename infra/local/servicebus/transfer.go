package servicebus

import (
	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// Delivery states.
const (
	stateAccepted = 0x24
	stateRejected = 0x25
	stateReleased = 0x26
	stateModified = 0x27
)

// maxDispositions is how many deliveries one disposition may settle; a range of four billion would hold the lock.
const maxDispositions = 1 << 16

// incoming is a message that the client is sending, maybe over several frames.
type incoming struct {
	begun    bool
	id       uint32
	format   uint32
	settled  bool
	tooLarge bool
	body     []byte
}

// send sends a message, or with a nil m one that needs no settlement.
func (l *link) send(body []byte, m *stored) {
	s := l.session
	id := s.nextDelivery
	s.nextDelivery++
	tag := newUUID()
	if m != nil {
		tag = m.lock.token
		m.lock.session, m.lock.delivery = s, id
		s.unsettled[id] = m
	}
	tag = swapped(tag)
	l.credit--
	l.deliveryCount++
	head := func(more bool) []byte {
		return amqp.Performative(performTransfer, l.handle, id, tag[:], uint32(0), m == nil, more)
	}
	room := s.conn.peerFrame - 8 - len(head(true))
	for {
		n := min(room, len(body))
		s.frame(head(n < len(body)), body[:n])
		s.nextOut++
		// A message that was begun is finished: the window may be overrun by the rest of one.
		s.window -= min(s.window, 1)
		if body = body[n:]; len(body) == 0 {
			return
		}
	}
}

// swapped turns a UUID into a GUID as .NET orders its bytes, which is how delivery tags carry it, and back.
func swapped(u amqp.UUID) amqp.UUID {
	u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
	u[4], u[5] = u[5], u[4]
	u[6], u[7] = u[7], u[6]
	return u
}

// transfer takes a frame of a message.
func (s *session) transfer(f []any, payload []byte) error {
	s.nextIn++
	handle, _ := amqp.Uint32(amqp.At(f, 0))
	l := s.links[handle]
	if l == nil || !l.fromClient {
		return nil // it crossed our detach
	}
	in := &l.incoming
	if !in.begun {
		*in = incoming{begun: true}
		in.id, _ = amqp.Uint32(amqp.At(f, 1))
		in.format, _ = amqp.Uint32(amqp.At(f, 3))
	}
	settled, _ := amqp.At(f, 4).(bool)
	more, _ := amqp.At(f, 5).(bool)
	aborted, _ := amqp.At(f, 9).(bool)
	in.settled = in.settled || settled
	in.tooLarge = in.tooLarge || len(in.body)+len(payload) > s.conn.broker.options.MaxMessageSize
	switch {
	case in.tooLarge:
		in.body = nil // counted as too large from here on, and not kept
	case in.body == nil && !more:
		in.body = payload
	default:
		in.body = append(in.body, payload...)
	}
	if more && !aborted {
		return nil
	}
	whole := *in
	*in = incoming{}
	l.deliveryCount++
	l.credit--
	if l.credit < sendCredit/2 {
		l.credit = sendCredit
		l.sendFlow(false)
	}
	if aborted {
		return nil
	}
	return l.take(whole)
}

// take routes a whole message and answers its sender.
func (l *link) take(in incoming) error {
	s := l.session
	answer := func(err error) {
		if in.settled || s.conn.ended {
			return
		}
		state := amqp.Described{Code: uint64(stateAccepted), Value: []any{}}
		if err != nil {
			state = amqp.Described{Code: uint64(stateRejected), Value: []any{toWire(err).wire()}}
		}
		s.frame(amqp.Performative(performDisposition, true, in.id, nil, true, state), nil)
	}
	if in.tooLarge {
		answer(errTooLarge)
		return nil
	}
	if l.node != nodeEntity {
		return l.request(in.body, answer)
	}
	return l.entity.meet(s.conn, func() error {
		batch, err := in.messages()
		if err == nil {
			_, err = l.entity.acceptAll(batch)
		}
		return err
	}, answer)
}

// messages are the messages of a send: one, or those of a batch.
func (in incoming) messages() ([]*message, error) {
	parts := [][]byte{in.body}
	if in.format == batchFormat {
		var err error
		if parts, err = splitBatch(in.body); err != nil {
			return nil, err
		}
	}
	out := make([]*message, len(parts))
	for i, p := range parts {
		var err error
		if out[i], err = parseMessage(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// disposition settles deliveries that the client received.
func (s *session) disposition(f []any) error {
	if receiver, _ := amqp.At(f, 0).(bool); !receiver {
		return nil
	}
	first, _ := amqp.Uint32(amqp.At(f, 1))
	last := first
	if v, ok := amqp.Uint32(amqp.At(f, 2)); ok {
		last = v
	}
	if last-first >= maxDispositions {
		return &wireError{condInvalidField, "A disposition settles too many deliveries."}
	}
	code, fields := amqp.Fields(amqp.At(f, 4))
	o, terminal := outcomeOf(code, fields)
	if !terminal {
		return nil
	}
	for i := range last - first + 1 {
		id := first + i // wraps, as delivery numbers do
		state := amqp.Described{Code: code, Value: []any{}}
		err := error(errLockLost)
		if m := s.unsettled[id]; m != nil {
			err = m.entity.settle(m, o)
		}
		if err != nil {
			state = amqp.Described{Code: uint64(stateRejected), Value: []any{toWire(err).wire()}}
		}
		s.frame(amqp.Performative(performDisposition, false, id, nil, true, state), nil)
	}
	return nil
}

// outcomeOf reads a delivery state; false for one that settles nothing.
func outcomeOf(code uint64, fields []any) (outcome, bool) {
	switch code {
	case stateAccepted:
		return outcome{verdict: complete}, true
	case stateReleased:
		return outcome{verdict: release}, true
	case stateModified: // with delivery-failed false, whatever the client means: Service Bus counts it
		o := outcome{verdict: abandon, set: texts(amqp.At(fields, 2))}
		if elsewhere, _ := amqp.At(fields, 1).(bool); elsewhere {
			o.verdict = setAside
		}
		return o, true
	case stateRejected:
		_, e := amqp.Fields(amqp.At(fields, 0))
		o := outcome{verdict: bury, set: texts(amqp.At(e, errorInfoPlace))}
		o.reason, _ = o.set["DeadLetterReason"].(string)
		o.description, _ = o.set["DeadLetterErrorDescription"].(string)
		return o, true
	default:
		return outcome{}, false
	}
}

// texts is a decoded map by the text of its keys.
func texts(v any) map[string]any {
	entries, _ := v.(map[any]any)
	out := make(map[string]any, len(entries))
	for k, e := range entries {
		out[amqp.String(k)] = e
	}
	return out
}
