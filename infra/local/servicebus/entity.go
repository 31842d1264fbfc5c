package servicebus

import (
	"container/heap"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// Properties are the settings of a queue, topic or subscription. Zero values are Service Bus's defaults.
type Properties struct {
	// LockDuration is how long a receiver may take; 1 min.
	LockDuration time.Duration
	// MaxDeliveryCount is how many deliveries may fail before a message is dead; 10.
	MaxDeliveryCount uint32
	// DefaultTTL is how long a message stays that names no shorter time; for ever.
	DefaultTTL time.Duration
	// DeadLetterOnExpiry keeps expired messages in the dead-letter sub-queue, where they would be gone.
	DeadLetterOnExpiry bool
	// RequiresSession makes each SessionId an ordered stream of its own that one receiver holds at a time.
	RequiresSession bool
	// DuplicateWindow is how long a MessageId is remembered, and another message with it dropped; 0 is never.
	DuplicateWindow time.Duration
}

func (p Properties) withDefaults() Properties {
	if p.LockDuration == 0 {
		p.LockDuration = time.Minute
	}
	if p.MaxDeliveryCount == 0 {
		p.MaxDeliveryCount = 10
	}
	return p
}

type entityKind int

const (
	kindQueue entityKind = iota // a queue or a subscription
	kindTopic
	kindDeadLetters
)

const deadLetterSuffix = "/$DeadLetterQueue"

// state of a stored message. The numbers are the wire's, in the annotation x-opt-message-state.
//
//	            +-> scheduled --due--> active <--> locked --> removed (completed, expired)
//	accepted ---+                       ^  |         |  \
//	            +-> active              |  |         |   +--> moved to the dead letters
//	                                    |  v         v
//	                 lock lost or abandoned    deferred (received by sequence number only)
type state int32

const (
	stateActive    state = 0
	stateDeferred  state = 1
	stateScheduled state = 2
)

// stored is a message in an entity.
type stored struct {
	*message
	entity   *entity
	stream   *stream
	seq      int64
	enqueued int64 // the sequence number where it was first enqueued: the topic's, for a subscription
	at       time.Time
	ttl      time.Duration
	expires  time.Time // zero: never
	due      time.Time // of a scheduled message
	state    state
	failures uint32
	source   string // of a dead letter: the entity it died in
	lock     *messageLock
}

// messageLock is a receiver's right to a message until a time.
type messageLock struct {
	token amqp.UUID
	until time.Time
	// session and delivery are where the receiver will settle it; nil for one received by sequence number.
	session  *session
	delivery uint32
}

// entity is a queue, a subscription, a dead-letter sub-queue or a topic. Broker.mu guards it.
type entity struct {
	broker *Broker
	kind   entityKind
	name   string
	Properties
	deadLetters   *entity   // of a queue or subscription
	subscriptions []*entity // of a topic

	seq      int64
	messages map[int64]*stored
	bytes    int64
	locked   map[amqp.UUID]*stored
	streams  map[string]*stream
	recent   recentIDs
	waiting  []*link   // receivers that take any session, in order of arrival
	wake     time.Time // when sweep has something to do; zero: never
	faults   []*Fault
}

// stream is one ordered sequence of messages: a whole queue, or one session of it.
type stream struct {
	id        string
	ready     readyHeap
	messages  int // that belong to it, ready or not
	consumers []*link
	// Of a session:
	owner *link
	until time.Time
	state []byte
	// stateSet is when state was last set, for the list of sessions.
	stateSet time.Time
}

func newEntity(b *Broker, kind entityKind, name string, p Properties) *entity {
	e := &entity{
		broker: b, kind: kind, name: name, Properties: p.withDefaults(),
		messages: map[int64]*stored{}, locked: map[amqp.UUID]*stored{}, streams: map[string]*stream{},
	}
	e.recent.times = map[string]time.Time{}
	return e
}

// stream returns the stream of an id, which is "" where the entity has no sessions.
func (e *entity) stream(id string) *stream {
	s := e.streams[id]
	if s == nil {
		s = &stream{id: id}
		e.streams[id] = s
	}
	return s
}

// forget drops a session that nobody holds and that has nothing left: ids are the clients' to invent, and each would
// stay for ever.
func (e *entity) forget(s *stream) {
	if e.RequiresSession && s.owner == nil && s.state == nil && s.messages == 0 {
		delete(e.streams, s.id)
	}
}

// wakeAt makes sweep look at the entity at t.
func (e *entity) wakeAt(t time.Time) {
	if !t.IsZero() && (e.wake.IsZero() || t.Before(e.wake)) {
		e.wake = t
	}
}

// add takes a message into the entity's books, without showing it to receivers.
func (e *entity) add(m *stored) {
	e.messages[m.seq] = m
	e.bytes += m.size()
	m.stream.messages++
}

// remove takes a message out for good.
func (e *entity) remove(m *stored) {
	e.unlock(m)
	delete(e.messages, m.seq)
	e.bytes -= m.size()
	m.stream.messages--
	e.broker.journalGone(m)
	e.forget(m.stream)
}

func (m *stored) size() int64 {
	return int64(len(m.properties) + len(m.application) + len(m.body))
}

// key is how names are compared: Service Bus doesn't care about case.
func key(path string) string { return strings.ToLower(strings.Trim(path, "/")) }

// readyHeap orders messages by sequence number. It may hold messages that were settled, deferred or locked
// meanwhile; next skips them.
type readyHeap []*stored

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h readyHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *readyHeap) Push(x any) { *h = append(*h, x.(*stored)) }

// Pop is for package heap.
func (h *readyHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// next is the first message that may be delivered, left where it is; nil when there is none.
func (s *stream) next() *stored {
	for len(s.ready) > 0 {
		m := s.ready[0]
		if m.entity.messages[m.seq] == m && m.lock == nil && m.state == stateActive {
			return m
		}
		heap.Pop(&s.ready)
	}
	return nil
}

// recentIDs remembers message ids for a window, oldest first.
type recentIDs struct {
	times map[string]time.Time
	order []string
}

func (r *recentIDs) seen(id string, now time.Time, window time.Duration) bool {
	at, ok := r.times[id]
	return ok && now.Sub(at) < window
}

func (r *recentIDs) add(id string, at time.Time) {
	if _, ok := r.times[id]; !ok {
		r.order = append(r.order, id)
	}
	r.times[id] = at
}

// prune forgets what is older than window and returns when to come again.
func (r *recentIDs) prune(now time.Time, window time.Duration) (next time.Time) {
	for len(r.order) > 0 {
		at := r.times[r.order[0]]
		if now.Sub(at) < window {
			return at.Add(window)
		}
		delete(r.times, r.order[0])
		r.order = r.order[1:]
	}
	return time.Time{}
}
