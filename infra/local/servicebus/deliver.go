package servicebus

import (
	"container/heap"
	"slices"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// pump hands ready messages to the receivers that have room for them.
func (e *entity) pump(s *stream) {
	now := e.broker.now()
	for {
		m := s.next()
		if m == nil {
			return
		}
		if m.expired(now) {
			e.expire(m)
			continue
		}
		l := s.taker()
		if l == nil {
			return
		}
		heap.Pop(&s.ready)
		if l.settled { // receive-and-delete: gone before it is on the wire, so at most once
			b := e.render(m)
			e.remove(m)
			l.send(b, nil)
			continue
		}
		e.lockFor(m, now)
		l.send(e.render(m), m)
	}
}

func (m *stored) expired(now time.Time) bool { return !m.expires.IsZero() && !m.expires.After(now) }

// taker is the receiver whose turn it is.
func (s *stream) taker() *link {
	i := slices.IndexFunc(s.consumers, (*link).hasRoom)
	if i < 0 {
		return nil
	}
	l := s.consumers[i]
	s.consumers = append(slices.Delete(s.consumers, i, i+1), l)
	return l
}

// lockFor gives a message a lock; the session's, where it has one.
func (e *entity) lockFor(m *stored, now time.Time) {
	m.lock = &messageLock{token: newUUID(), until: now.Add(e.LockDuration)}
	if m.stream.owner != nil {
		m.lock.until = m.stream.until
	}
	e.locked[m.lock.token] = m
	e.wakeAt(m.lock.until)
}

func (e *entity) unlock(m *stored) {
	if m.lock == nil {
		return
	}
	delete(e.locked, m.lock.token)
	if s := m.lock.session; s != nil {
		delete(s.unsettled, m.lock.delivery) // a late settlement is answered with lock-lost
	}
	m.lock = nil
}

// render is the message as a receiver gets it. The types of the annotations are what clients assert.
func (e *entity) render(m *stored) []byte {
	annotations := map[any]any{
		amqp.Symbol("x-opt-enqueued-time"):   m.at,
		amqp.Symbol("x-opt-sequence-number"): m.seq,
	}
	if m.enqueued != m.seq {
		annotations[amqp.Symbol("x-opt-enqueue-sequence-number")] = m.enqueued
	}
	if m.state != stateActive {
		annotations[amqp.Symbol("x-opt-message-state")] = int32(m.state)
	}
	if m.source != "" {
		annotations[amqp.Symbol("x-opt-deadletter-source")] = m.source
	}
	var delivery map[any]any
	if m.lock != nil {
		annotations[amqp.Symbol("x-opt-locked-until")] = m.lock.until
		delivery = map[any]any{amqp.Symbol("x-opt-lock-token"): m.lock.token}
	}
	return m.encode(m.ttl, m.failures, delivery, annotations)
}
