package servicebus

import (
	"errors"
	"fmt"
	"time"
)

// Fault is what happens to sends instead of a quick yes. Condition, Delay and Drop may be combined.
type Fault struct {
	// Times is how many sends (a batch is one) or schedule requests it meets; 1 by default.
	Times int
	// Condition refuses them, such as "amqp:link:message-size-exceeded"; without one they are accepted.
	Condition string
	// Delay is how long the answer takes. The message is there at once: only its sender doesn't know.
	Delay time.Duration
	// Drop cuts the connection in place of an answer. Without a Condition the message is there: the sender can't
	// tell, and will send it again.
	Drop bool
}

// FailSends makes the next sends to a queue or topic meet a fault. Faults of one entity come one after the other.
func (b *Broker) FailSends(name string, f Fault) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[key(name)]
	if e == nil {
		return fmt.Errorf("there is no %s to fail", name)
	}
	f.Times = max(f.Times, 1)
	e.faults = append(e.faults, &f)
	return nil
}

// DropConnections cuts every connection, as a network does.
func (b *Broker) DropConnections() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.cut()
	}
}

// DetachLinks detaches every link of an entity, as the service does when it moves or changes one.
func (b *Broker) DetachLinks(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[key(name)]
	if e == nil {
		return fmt.Errorf("there is no %s to detach from", name)
	}
	for c := range b.conns {
		for _, s := range c.sessions {
			for _, l := range s.links {
				if l.entity == e {
					l.drop()
					l.detach(&wireError{condDetachForced, "The link was detached by the broker."})
				}
			}
		}
	}
	return nil
}

// nextFault is the fault that a send meets; nil is none.
func (e *entity) nextFault() *Fault {
	if len(e.faults) == 0 {
		return nil
	}
	f := e.faults[0]
	if f.Times--; f.Times == 0 {
		e.faults = e.faults[1:]
	}
	return f
}

// errDropped says that the connection was cut in place of an answer.
var errDropped = errors.New("a fault cut the connection")

// meet runs a send through the entity's next fault and answers with what came of it.
func (e *entity) meet(c *conn, send func() error, answer func(error)) error {
	f := e.nextFault()
	if f == nil {
		answer(send())
		return nil
	}
	var err error
	if f.Condition != "" {
		err = &wireError{f.Condition, "Refused by a fault that a test asked for."}
	} else {
		err = send()
	}
	switch {
	case f.Drop && f.Delay == 0:
		return errDropped
	case f.Delay == 0:
		answer(err)
		return nil
	}
	time.AfterFunc(f.Delay, func() {
		e.broker.mu.Lock()
		defer e.broker.mu.Unlock()
		if f.Drop {
			c.cut()
			return
		}
		answer(err)
	})
	return nil
}
