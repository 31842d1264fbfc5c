package servicebus

import (
	"errors"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// Kinds of journal records. A record is an AMQP list: its kind, the entity's key, and what is said of it.
const (
	recordPut      uint8 = iota + 1 // the whole of a message
	recordMark                      // its state, where the message itself is as before
	recordGone                      // it left the entity
	recordSeen                      // a message id, for duplicate detection
	recordSequence                  // the last sequence number: none is given twice, even when all messages are gone
	recordSession                   // a session's state
)

// The journal outlives this program's memory of who holds which lock: after a restart every message is free again.

func (b *Broker) append(kind uint8, e *entity, fields ...any) {
	if b.journal != nil {
		b.journal.Append(record(kind, key(e.name), fields...))
	}
}

func record(kind uint8, entity string, fields ...any) []byte {
	return amqp.Append(nil, append([]any{kind, entity}, fields...))
}

func (b *Broker) journalPut(m *stored)  { b.append(recordPut, m.entity, m.record()...) }
func (b *Broker) journalMark(m *stored) { b.append(recordMark, m.entity, m.mark()...) }
func (b *Broker) journalGone(m *stored) { b.append(recordGone, m.entity, m.seq) }

func (b *Broker) journalSeen(e *entity, id string, at time.Time) {
	b.append(recordSeen, e, id, at)
}

func (b *Broker) journalSession(e *entity, s *stream) {
	b.append(recordSession, e, s.id, s.state, s.stateSet)
}

func (m *stored) mark() []any {
	return []any{m.seq, int32(m.state), m.failures, m.at, m.due}
}

func (m *stored) record() []any {
	return append(m.mark(), m.enqueued, int64(m.ttl), m.stream.id, m.source, m.encode(m.message.ttl(), 0, nil, nil))
}

// remains is what the journal has of an entity.
type remains struct {
	seq      int64
	messages map[int64]*remainder
	recent   recentIDs
	sessions map[string]*stream
}

// remainder is a message as the journal has it: the fields of its record, a later mark written over the first ones.
type remainder struct{ fields []any }

var errRecord = errors.New("a record that this version doesn't know")

// replay takes one record of the journal.
func (b *Broker) replay(p []byte) error {
	v, _, err := amqp.Decode(p)
	if err != nil {
		return err
	}
	all, _ := v.([]any)
	kind, _ := amqp.At(all, 0).(uint8)
	name, ok := amqp.At(all, 1).(string)
	if !ok {
		return errRecord
	}
	r := b.remains[name]
	if r == nil {
		r = &remains{messages: map[int64]*remainder{}, sessions: map[string]*stream{}}
		r.recent.times = map[string]time.Time{}
		b.remains[name] = r
	}
	fields := all[2:]
	seq, numbered := amqp.At(fields, 0).(int64)
	if numbered {
		r.seq = max(r.seq, seq)
	}
	text, named := amqp.At(fields, 0).(string)
	switch {
	case kind == recordPut && numbered && len(fields) == 10:
		r.messages[seq] = &remainder{fields}
	case kind == recordMark && numbered && len(fields) == 5:
		if m := r.messages[seq]; m != nil {
			copy(m.fields, fields)
		}
	case kind == recordGone && numbered:
		delete(r.messages, seq)
	case kind == recordSequence && numbered:
	case kind == recordSeen && named && len(fields) == 2:
		at, _ := fields[1].(time.Time)
		r.recent.add(text, at)
	case kind == recordSession && named && len(fields) == 3:
		s := &stream{id: text}
		s.state, _ = fields[1].([]byte)
		s.stateSet, _ = fields[2].(time.Time)
		r.sessions[text] = s
	default:
		return errRecord
	}
	return nil
}

// adopt gives a new entity what an earlier process left.
func (e *entity) adopt(left *remains) error {
	e.seq, e.recent = left.seq, left.recent
	for id, s := range left.sessions {
		if s.state != nil && e.RequiresSession {
			e.streams[id] = s
		}
	}
	for _, r := range left.messages {
		m, err := r.stored(e)
		if err != nil {
			return err
		}
		e.add(m)
		if m.state == stateActive {
			e.activate(m)
		}
		e.wakeAt(m.dueAt())
	}
	if len(e.recent.order) > 0 {
		e.wakeAt(e.broker.now())
	}
	return nil
}

func (r *remainder) stored(e *entity) (*stored, error) {
	f := r.fields
	m := &stored{entity: e}
	m.seq, _ = f[0].(int64)
	number, _ := f[1].(int32)
	m.state = state(number)
	m.failures, _ = f[2].(uint32)
	m.at, _ = f[3].(time.Time)
	m.due, _ = f[4].(time.Time)
	m.enqueued, _ = f[5].(int64)
	ttl, _ := f[6].(int64)
	m.ttl = time.Duration(ttl)
	session, _ := f[7].(string)
	if !e.RequiresSession {
		session = ""
	}
	m.stream = e.stream(session)
	m.source, _ = f[8].(string)
	body, _ := f[9].([]byte)
	var err error
	m.message, err = parseMessage(body)
	return m, err
}

// compact rewrites the journal when it has doubled; b.mu is held, so nothing changes meanwhile.
func (b *Broker) compact() {
	if b.journal == nil || b.journal.Size() < max(b.options.CompactAfter, 2*b.compacted) {
		return
	}
	err := b.journal.Rewrite(func(add func([]byte)) {
		for name, r := range b.remains {
			r.snapshot(name, add)
		}
		for name, e := range b.entities {
			e.snapshot(name, add)
		}
	})
	if err != nil { // the old file goes on; the next try is when it has doubled again
		b.log.Error("the journal could not be compacted", "error", err)
	}
	b.compacted = b.journal.Size()
}

func (e *entity) snapshot(name string, add func([]byte)) {
	add(record(recordSequence, name, e.seq))
	for _, m := range e.messages {
		add(record(recordPut, name, m.record()...))
	}
	for _, id := range e.recent.order {
		add(record(recordSeen, name, id, e.recent.times[id]))
	}
	for _, s := range e.streams {
		if s.state != nil {
			add(record(recordSession, name, s.id, s.state, s.stateSet))
		}
	}
}

func (r *remains) snapshot(name string, add func([]byte)) {
	add(record(recordSequence, name, r.seq))
	for _, m := range r.messages {
		add(record(recordPut, name, m.fields...))
	}
	for _, id := range r.recent.order {
		add(record(recordSeen, name, id, r.recent.times[id]))
	}
	for id, s := range r.sessions {
		add(record(recordSession, name, id, s.state, s.stateSet))
	}
}
