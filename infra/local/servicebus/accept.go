package servicebus

import (
	"container/heap"
	"time"
)

// acceptAll takes the messages of one send, all or none.
func (e *entity) acceptAll(batch []*message) (sequence []int64, err error) {
	for _, m := range batch {
		if err := e.check(m); err != nil {
			return nil, err
		}
	}
	sequence = make([]int64, len(batch))
	for i, m := range batch {
		sequence[i] = e.accept(m)
	}
	return sequence, nil
}

// check says why a message can't be taken, before any of its batch is.
func (e *entity) check(m *message) error {
	needsSession := e.RequiresSession
	for _, s := range e.subscriptions {
		needsSession = needsSession || s.RequiresSession
	}
	if _, ok := m.sessionID(); needsSession && !ok {
		return errNoSession
	}
	return nil
}

// accept takes a message and returns its sequence number, 0 for a duplicate: that is accepted and dropped, since its
// sender only wants to know that the message is there.
func (e *entity) accept(m *message) int64 {
	now := e.broker.now()
	id := m.ensureID()
	if e.DuplicateWindow > 0 && e.recent.seen(id, now, e.DuplicateWindow) {
		return 0
	}
	e.seq++
	due := m.scheduledFor()
	switch {
	case due.After(now):
		s := e.store(m, e.seq, e.seq, now)
		s.state, s.due = stateScheduled, due
		e.broker.journalPut(s)
		e.wakeAt(due)
	case e.kind == kindTopic:
		e.fanOut(m, e.seq, now, 0)
	default:
		e.activate(e.put(m, e.seq, e.seq, now, 0))
	}
	if e.DuplicateWindow > 0 {
		// After the message: a journal that was cut off between the two would remember an id whose message is not
		// there, and drop it when it is sent again. This way it is there twice at worst.
		e.recent.add(id, now)
		e.broker.journalSeen(e, id, now)
		e.wakeAt(now.Add(e.DuplicateWindow))
	}
	return e.seq
}

// fanOut puts a message into each subscription. They share it: what settles one copy never changes another's.
func (e *entity) fanOut(m *message, enqueued int64, now time.Time, ttl time.Duration) {
	ttl = shorter(ttl, e.DefaultTTL)
	for _, s := range e.subscriptions {
		s.seq++
		s.activate(s.put(m, s.seq, enqueued, now, ttl))
	}
}

// put stores an active message and journals it.
func (e *entity) put(m *message, seq, enqueued int64, now time.Time, ttl time.Duration) *stored {
	s := e.store(m, seq, enqueued, now)
	s.ttl = shorter(s.ttl, ttl)
	e.broker.journalPut(s)
	return s
}

func (e *entity) store(m *message, seq, enqueued int64, now time.Time) *stored {
	session := ""
	if e.RequiresSession {
		session, _ = m.sessionID()
	}
	s := &stored{
		message: m, entity: e, stream: e.stream(session), seq: seq, enqueued: enqueued, at: now,
		ttl: shorter(m.ttl(), e.DefaultTTL),
	}
	e.add(s)
	return s
}

// shorter is the shorter of two times to live; 0 is for ever.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// activate shows a stored message to receivers.
func (e *entity) activate(m *stored) {
	m.state = stateActive
	if m.ttl > 0 && e.kind != kindDeadLetters {
		m.expires = m.at.Add(m.ttl)
		e.wakeAt(m.expires)
	}
	e.restore(m)
}

// restore puts an active message back into its place among the ready ones.
func (e *entity) restore(m *stored) {
	if m.state != stateActive {
		return
	}
	heap.Push(&m.stream.ready, m)
	e.offerSessions()
	e.pump(m.stream)
}
