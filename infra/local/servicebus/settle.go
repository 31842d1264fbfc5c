package servicebus

import (
	"fmt"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

type verdict int

const (
	complete verdict = iota
	abandon
	release // given back unseen: not a failed delivery
	setAside
	bury
)

// outcome is how a receiver settles a message.
type outcome struct {
	verdict             verdict
	reason, description string         // of a burial
	set                 map[string]any // application properties
}

// settleToken settles the message that a lock token stands for.
func (e *entity) settleToken(token amqp.UUID, o outcome) error {
	m := e.locked[token]
	if m == nil {
		return errLockLost
	}
	return e.settle(m, o)
}

func (e *entity) settle(m *stored, o outcome) error {
	if m.lock == nil || !m.lock.until.After(e.broker.now()) {
		return errLockLost
	}
	e.bytes -= m.size()
	m.message = m.with(o.set)
	e.bytes += m.size()
	changed := len(o.set) > 0
	switch o.verdict {
	case complete:
		e.remove(m)
	case abandon:
		e.unlock(m)
		e.failed(m, changed)
	case release:
		e.unlock(m)
		e.restore(m)
	case setAside:
		e.unlock(m)
		m.state = stateDeferred
		e.journalChange(m, changed)
	case bury:
		e.bury(m, o.reason, o.description)
	}
	return nil
}

func (e *entity) journalChange(m *stored, whole bool) {
	if whole {
		e.broker.journalPut(m)
		return
	}
	e.broker.journalMark(m)
}

// failed counts a delivery that came to nothing, and delivers again or buries. Dead letters have no such end.
func (e *entity) failed(m *stored, changed bool) {
	if e.kind != kindDeadLetters {
		m.failures++
		if m.failures >= e.MaxDeliveryCount {
			e.bury(m, "MaxDeliveryCountExceeded", fmt.Sprintf("Message could not be consumed after %d delivery attempts.", m.failures))
			return
		}
	}
	e.journalChange(m, changed)
	e.restore(m)
}

func (e *entity) expire(m *stored) {
	if e.DeadLetterOnExpiry {
		e.bury(m, "TTLExpiredException", "The message expired and was dead lettered.")
		return
	}
	e.remove(m)
}

// bury moves a message to the dead letters.
func (e *entity) bury(m *stored, reason, description string) {
	if e.deadLetters == nil { // it is among them
		e.unlock(m)
		e.restore(m)
		return
	}
	set := map[string]any{}
	if reason != "" {
		set["DeadLetterReason"] = reason
	}
	if description != "" {
		set["DeadLetterErrorDescription"] = description
	}
	d := e.deadLetters
	dead := &stored{
		message: m.with(set), entity: d, stream: d.stream(""), seq: m.seq, enqueued: m.enqueued, at: m.at, ttl: m.ttl,
		failures: m.failures, source: e.name,
	}
	d.add(dead)
	d.broker.journalPut(dead) // before it is gone here: killed in between, it is in both, and not in neither
	e.remove(m)
	d.activate(dead)
}

// renew extends a message's lock and returns its new end.
func (e *entity) renew(token amqp.UUID) (time.Time, error) {
	now := e.broker.now()
	m := e.locked[token]
	if m == nil || !m.lock.until.After(now) {
		return time.Time{}, errLockLost
	}
	m.lock.until = now.Add(e.LockDuration)
	e.wakeAt(m.lock.until)
	return m.lock.until, nil
}
