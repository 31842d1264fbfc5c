package servicebus

import (
	"fmt"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

const (
	sendCredit    = 1000 // what a sender may have under way
	maxReplies    = 256  // that wait for credit on a reply link
	defaultAccept = time.Minute
	sessionFilter = "com.microsoft:session-filter"
	filterCode    = 0x137000000C
	sourceCode    = 0x28
	sourceFilter  = 7 // its place in a source
)

// node is what a link is attached to.
type node int

const (
	nodeEntity node = iota
	nodeCBS
	nodeManagement // of an entity
)

// link is a client's sender or receiver.
type link struct {
	session       *session
	handle        uint32
	name          string
	attach        []any // the client's attach, whose modes and termini the answer repeats
	fromClient    bool  // the client sends on it
	settled       bool  // receive-and-delete
	node          node
	entity        *entity
	stream        *stream // of a receiver
	replyTo       string
	replies       [][]byte // of a request node, waiting for credit
	credit        uint32
	deliveryCount uint32
	acceptBy      time.Time // of a receiver that waits for a session
	incoming      incoming
}

// attach answers a client's wish for a link.
func (s *session) attach(f []any) error {
	handle, _ := amqp.Uint32(amqp.At(f, 1))
	if handle > maxHandle || s.links[handle] != nil {
		return &wireError{condNotAllowed, fmt.Sprintf("Handle %d is in use or too high.", handle)}
	}
	receives, _ := amqp.At(f, 2).(bool)
	l := &link{session: s, handle: handle, name: amqp.String(amqp.At(f, 0)), fromClient: !receives, attach: f}
	s.links[handle] = l
	_, source := amqp.Fields(amqp.At(f, 5))
	_, target := amqp.Fields(amqp.At(f, 6))
	address := amqp.String(amqp.At(target, 0))
	if receives {
		address, l.replyTo = amqp.String(amqp.At(source, 0)), address
	}
	mode, _ := amqp.Uint32(amqp.At(f, 3))
	l.settled = mode == 1
	if err := l.join(address, source); err != nil {
		l.refuse(toWire(err))
	}
	return nil
}

// join attaches the link to what its address names.
func (l *link) join(address string, source []any) error {
	c := l.session.conn
	path := key(address)
	if path == "$cbs" {
		l.node = nodeCBS
		l.accept()
		return nil
	}
	name, management := strings.CutSuffix(path, "/$management")
	if err := c.authorize(path, l.fromClient && !management, !l.fromClient && !management); err != nil {
		return err
	}
	e := c.broker.entities[name]
	switch {
	case e == nil:
		return &wireError{condNotFound, "There is no messaging entity '" + address + "'."}
	case management:
		l.node = nodeManagement
	case l.fromClient && e.kind == kindDeadLetters:
		return &wireError{condNotAllowed, "A dead-letter sub-queue can't be sent to."}
	case !l.fromClient && e.kind == kindTopic:
		return &wireError{condNotAllowed, "A topic can't be received from; its subscriptions can."}
	}
	l.entity = e
	if management || l.fromClient {
		l.accept()
		return nil
	}
	return l.receiveFrom(e, source)
}

// receiveFrom makes the link a receiver of the entity, or of one of its sessions.
func (l *link) receiveFrom(e *entity, source []any) error {
	filter, wanted := amqp.Lookup(amqp.At(source, sourceFilter), sessionFilter)
	switch {
	case e.RequiresSession && !wanted:
		return &wireError{condNotAllowed, "The entity requires sessions, and the receiver asks for none."}
	case wanted && !e.RequiresSession:
		return &wireError{condNotAllowed, "The receiver asks for a session, and the entity has none."}
	case !wanted:
		l.stream = e.stream("")
		l.stream.consumers = append(l.stream.consumers, l)
		l.accept()
		return nil
	}
	if d, ok := filter.(amqp.Described); ok {
		filter = d.Value
	}
	e.sweep(e.broker.now()) // a lock that ran out since the last sweep holds nobody up
	if id, named := filter.(string); named {
		if !e.lockSession(e.stream(id), l) {
			return &wireError{condSessionLocked, "The session '" + id + "' is held by another receiver."}
		}
		l.accept()
		return nil
	}
	wait := defaultAccept
	asked, _ := amqp.Lookup(amqp.At(l.attach, 13), "com.microsoft:timeout")
	if ms, ok := amqp.Uint32(asked); ok {
		wait = time.Duration(ms) * time.Millisecond
	}
	l.acceptBy = e.broker.now().Add(wait)
	e.waiting = append(e.waiting, l)
	e.wakeAt(l.acceptBy)
	e.offerSessions()
	return nil
}

// accept answers the attach. Clients fail a link whose modes or termini are not the ones they asked for.
func (l *link) accept() {
	f, size := l.attach, uint64(l.session.conn.broker.options.MaxMessageSize) //nolint:gosec // positive
	source, target := amqp.At(f, 5), amqp.At(f, 6)
	properties := map[any]any{}
	if l.stream != nil && l.stream.owner == l {
		source = withSession(source, l.stream.id)
		properties[amqp.Symbol("com.microsoft:locked-until-utc")] = ticks(l.stream.until)
	}
	var initialCount, most any
	if l.fromClient {
		properties[amqp.Symbol("com.microsoft:max-message-batch-size")] = size
		most = size
	} else {
		// No limit: the client would hold its receiver to it, and what we add makes the largest message larger.
		initialCount = uint32(0)
	}
	l.session.frame(amqp.Performative(performAttach, l.name, l.handle, l.fromClient, amqp.At(f, 3), amqp.At(f, 4),
		source, target, nil, nil, initialCount, most, nil, nil, properties), nil)
	if l.fromClient {
		l.credit = sendCredit
		l.sendFlow(false)
	}
}

// withSession is the source with the session that was chosen as its filter.
func withSession(source any, id string) any {
	_, fields := amqp.Fields(source)
	fields = append([]any{}, fields...)
	for len(fields) <= sourceFilter {
		fields = append(fields, nil)
	}
	fields[sourceFilter] = map[any]any{amqp.Symbol(sessionFilter): amqp.Described{Code: uint64(filterCode), Value: id}}
	return amqp.Described{Code: uint64(sourceCode), Value: fields}
}

// ticks is a time as .NET counts it: 100 ns since the year 1.
func ticks(t time.Time) int64 { return t.UnixMilli()*10_000 + 621_355_968_000_000_000 }

// refuse answers the attach with a link that has no end on our side, and detaches it with the reason.
func (l *link) refuse(e *wireError) {
	f := l.attach
	source, target, initialCount := amqp.At(f, 5), any(nil), any(nil)
	if !l.fromClient {
		source, target, initialCount = nil, amqp.At(f, 6), uint32(0)
	}
	l.session.frame(amqp.Performative(performAttach, l.name, l.handle, l.fromClient, amqp.At(f, 3), amqp.At(f, 4),
		source, target, nil, nil, initialCount), nil)
	l.detach(e)
}

// detach ends the link from our side.
func (l *link) detach(e *wireError) {
	delete(l.session.links, l.handle)
	l.session.frame(amqp.Performative(performDetach, l.handle, true, e.wire()), nil)
}

// drop takes the link out of everything that knows it.
func (l *link) drop() {
	delete(l.session.links, l.handle)
	if l.entity != nil && !l.fromClient {
		l.entity.dropConsumer(l, false)
	}
}

// sendFlow tells the link's and the session's state.
func (l *link) sendFlow(drained bool) {
	s := l.session
	var drain any
	if drained {
		drain = true
	}
	s.frame(amqp.Performative(performFlow, s.nextIn, uint32(openWindow), s.nextOut, uint32(openWindow),
		l.handle, l.deliveryCount, l.credit, nil, drain), nil)
}

// hasRoom says whether a delivery may be sent on the link now.
func (l *link) hasRoom() bool {
	return l.credit > 0 && l.session.window > 0 && !l.session.conn.congested()
}

// resume sends what the link has room for.
func (l *link) resume() {
	for len(l.replies) > 0 && l.hasRoom() {
		reply := l.replies[0]
		l.replies = l.replies[1:]
		l.send(reply, nil)
	}
	if l.entity != nil && l.stream != nil {
		l.entity.pump(l.stream)
	}
}
