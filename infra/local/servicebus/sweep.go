package servicebus

import (
	"slices"
	"time"
)

// sweepEvery is how late what is due by time may be.
const sweepEvery = 50 * time.Millisecond

// sweep does what time brings: lost locks, due messages, expired ones, sessions that nobody waits for any more. It
// looks at the whole entity, but only when something in it is due.
func (e *entity) sweep(now time.Time) {
	if e.wake.IsZero() || now.Before(e.wake) {
		return
	}
	e.wake = time.Time{}
	e.wakeAt(e.recent.prune(now, e.DuplicateWindow))
	for _, s := range e.streams {
		if s.owner == nil {
			continue
		}
		if s.until.After(now) {
			e.wakeAt(s.until)
			continue
		}
		l := s.owner
		e.dropConsumer(l, true)
		l.detach(errSessionLockLost)
	}
	e.sweepMessages(now)
	for _, s := range e.streams {
		s.next() // drops expired messages from the front, where nobody receives
	}
	for _, l := range slices.Clone(e.waiting) {
		if l.acceptBy.After(now) {
			e.wakeAt(l.acceptBy)
			continue
		}
		e.stopWaiting(l)
		l.refuse(&wireError{condTimeout, "No session had messages in time."})
	}
}

func (e *entity) sweepMessages(now time.Time) {
	var due []*stored
	for _, m := range e.messages {
		at := m.dueAt()
		switch {
		case at.IsZero():
		case at.After(now):
			e.wakeAt(at)
		default:
			due = append(due, m)
		}
	}
	// In order: messages that were scheduled for one moment, or locked at one, come in the order they were sent.
	slices.SortFunc(due, func(a, b *stored) int { return int(a.seq - b.seq) })
	for _, m := range due {
		switch {
		case e.messages[m.seq] != m || m.dueAt().After(now): // settled or locked anew by one before it
			e.wakeAt(m.dueAt())
		case m.lock != nil:
			e.unlock(m)
			e.failed(m, false)
		case m.state == stateScheduled:
			e.enqueueDue(m, now)
		default:
			e.expire(m)
		}
	}
}

// dueAt is when time changes something about the message; zero is never.
func (m *stored) dueAt() time.Time {
	switch {
	case m.lock != nil:
		return m.lock.until
	case m.state == stateScheduled:
		return m.due
	case m.state == stateActive:
		return m.expires
	default:
		return time.Time{}
	}
}

// enqueueDue enqueues a scheduled message whose time has come.
func (e *entity) enqueueDue(m *stored, now time.Time) {
	if e.kind == kindTopic {
		e.fanOut(m.message, m.enqueued, now, m.ttl)
		e.remove(m)
		return
	}
	m.at = now
	m.state = stateActive
	e.broker.journalMark(m)
	e.activate(m)
}
