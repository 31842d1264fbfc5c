package servicebus

import (
	"slices"
	"time"
)

// lockSession makes l the session's only receiver, unless there is one.
func (e *entity) lockSession(s *stream, l *link) bool {
	if s.owner != nil {
		return false
	}
	s.owner, s.until = l, e.broker.now().Add(e.LockDuration)
	s.consumers = []*link{l}
	l.stream = s
	e.wakeAt(s.until)
	return true
}

// renewSession extends the session's lock, and that of its messages with it.
func (e *entity) renewSession(s *stream) time.Time {
	s.until = e.broker.now().Add(e.LockDuration)
	e.wakeAt(s.until)
	for _, m := range e.locked {
		if m.stream == s {
			m.lock.until = s.until
		}
	}
	return s.until
}

// offerSessions gives free sessions with messages to the receivers that wait for any.
func (e *entity) offerSessions() {
	for len(e.waiting) > 0 {
		s := e.freeSession()
		if s == nil {
			return
		}
		l := e.waiting[0]
		e.waiting = e.waiting[1:]
		e.lockSession(s, l)
		l.accept()
	}
}

// freeSession is the free session with the oldest ready message.
func (e *entity) freeSession() (best *stream) {
	var oldest int64
	for _, s := range e.streams {
		if s.owner != nil {
			continue
		}
		if m := s.next(); m != nil && (best == nil || m.seq < oldest) {
			best, oldest = s, m.seq
		}
	}
	return best
}

func (e *entity) stopWaiting(l *link) {
	e.waiting = slices.DeleteFunc(e.waiting, func(w *link) bool { return w == l })
}

// dropConsumer takes a receiver out. A session's lock goes with it, and so do the locks of the session's messages,
// which count as failed deliveries when the lock expired; other messages stay locked until their time.
func (e *entity) dropConsumer(l *link, expired bool) {
	e.stopWaiting(l)
	s := l.stream
	if s == nil {
		return
	}
	l.stream = nil
	s.consumers = slices.DeleteFunc(s.consumers, func(c *link) bool { return c == l })
	if s.owner != l {
		return
	}
	s.owner, s.until = nil, time.Time{}
	var held []*stored
	for _, m := range e.locked {
		if m.stream == s {
			held = append(held, m)
		}
	}
	for _, m := range held {
		e.unlock(m)
		if expired {
			e.failed(m, false)
		} else {
			e.restore(m)
		}
	}
	e.offerSessions()
	e.forget(s)
}
