package servicebus

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// Bounds on what one request brings back.
const (
	maxPeeked     = 256
	maxPeekedSize = 1 << 20
)

func answered(body map[string]any) response {
	return response{status: http.StatusOK, description: "OK", body: body}
}

func nothing() response { return response{status: http.StatusNoContent, description: "No content"} }

// field is an entry of a request's body; nil when it is absent.
func field(body any, name string) any {
	v, _ := amqp.Lookup(body, name)
	return v
}

// manage runs an operation on the entity.
func (e *entity) manage(c *conn, operation string, body any, reply func(response)) error {
	switch name := strings.TrimPrefix(operation, "com.microsoft:"); name {
	case "renew-lock":
		reply(e.renewLocks(body))
	case "peek-message":
		reply(e.peek(body))
	case "schedule-message":
		var sequence []int64
		return e.meet(c, func() (err error) {
			sequence, err = e.schedule(body)
			return err
		}, func(err error) {
			if err != nil {
				reply(refusal(statusOf(err), err))
				return
			}
			reply(answered(map[string]any{"sequence-numbers": sequence}))
		})
	case "cancel-scheduled-message":
		reply(e.cancel(body))
	case "receive-by-sequence-number":
		reply(e.receiveDeferred(body))
	case "update-disposition":
		reply(e.settleTokens(body))
	case "renew-session-lock", "get-session-state", "set-session-state":
		reply(e.manageSession(name, body))
	case "get-message-sessions":
		reply(e.listSessions(body))
	default:
		reply(refusal(http.StatusNotImplemented, &wireError{condNotImplemented, "There is no operation " + operation + "."}))
	}
	return nil
}

// statusOf is the status that goes with a refused send: 503 is what clients try again.
func statusOf(err error) int {
	switch toWire(err).condition {
	case condServerBusy, condTimeout:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

func (e *entity) renewLocks(body any) response {
	var until []time.Time
	for _, token := range all[amqp.UUID](field(body, "lock-tokens")) {
		t, err := e.renew(token)
		if err != nil {
			return refusal(http.StatusGone, err)
		}
		until = append(until, t)
	}
	return answered(map[string]any{"expirations": until})
}

// peek shows messages from a sequence number on, whatever their state, and changes nothing.
func (e *entity) peek(body any) response {
	from, _ := field(body, "from-sequence-number").(int64)
	count, _ := amqp.Uint32(field(body, "message-count"))
	found := slices.Sorted(maps.Keys(e.messages))
	first, _ := slices.BinarySearch(found, from)
	found = found[first:]
	found = found[:min(len(found), int(min(count, maxPeeked)))]
	var out []any
	size := 0
	for _, seq := range found {
		b := e.render(e.messages[seq])
		if size += len(b); size > maxPeekedSize && len(out) > 0 {
			break
		}
		out = append(out, map[string]any{"message": b})
	}
	if len(out) == 0 {
		return nothing()
	}
	return answered(map[string]any{"messages": out})
}

func (e *entity) schedule(body any) ([]int64, error) {
	var batch []*message
	for _, entry := range amqp.Elements(field(body, "messages")) {
		raw, _ := field(entry, "message").([]byte)
		if len(raw) > e.broker.options.MaxMessageSize {
			return nil, errTooLarge
		}
		m, err := parseMessage(raw)
		if err != nil {
			return nil, err
		}
		batch = append(batch, m)
	}
	return e.acceptAll(batch)
}

func (e *entity) cancel(body any) response {
	var found []*stored
	for _, seq := range all[int64](field(body, "sequence-numbers")) {
		m := e.messages[seq]
		if m == nil || m.state != stateScheduled {
			return refusal(http.StatusNotFound, &wireError{condMessageNotFound, "There is no scheduled message of this sequence number."})
		}
		found = append(found, m)
	}
	for _, m := range found {
		e.remove(m)
	}
	return answered(nil)
}

func (e *entity) receiveDeferred(body any) response {
	mode, _ := amqp.Uint32(field(body, "receiver-settle-mode"))
	var found []*stored
	for _, seq := range all[int64](field(body, "sequence-numbers")) {
		m := e.messages[seq]
		if m == nil || m.state != stateDeferred || m.lock != nil || slices.Contains(found, m) {
			return refusal(http.StatusNotFound, &wireError{condMessageNotFound, "There is no deferred message of this sequence number."})
		}
		found = append(found, m)
	}
	if len(found) == 0 {
		return nothing()
	}
	var out []any
	for _, m := range found {
		entry := map[string]any{}
		if mode == 1 { // peek-lock
			e.lockFor(m, e.broker.now())
			entry["lock-token"] = m.lock.token
		}
		entry["message"] = e.render(m)
		out = append(out, entry)
		if mode != 1 {
			e.remove(m)
		}
	}
	return answered(map[string]any{"messages": out})
}

// settleTokens settles by lock token, for a receiver whose connection is gone.
func (e *entity) settleTokens(body any) response {
	o := outcome{set: texts(field(body, "properties-to-modify"))}
	switch status := amqp.String(field(body, "disposition-status")); status {
	case "completed":
		o.verdict = complete
	case "abandoned":
		o.verdict = abandon
	case "defered": // as the clients spell it
		o.verdict = setAside
	case "suspended":
		o.verdict = bury
		o.reason = amqp.String(field(body, "deadletter-reason"))
		o.description = amqp.String(field(body, "deadletter-description"))
	default:
		return refusal(http.StatusBadRequest, &wireError{condInvalidField, "There is no disposition-status " + status + "."})
	}
	for _, token := range all[amqp.UUID](field(body, "lock-tokens")) {
		if err := e.settleToken(token, o); err != nil {
			return refusal(http.StatusGone, err)
		}
	}
	return answered(nil)
}

func (e *entity) manageSession(operation string, body any) response {
	s := e.streams[amqp.String(field(body, "session-id"))]
	if s == nil || s.owner == nil {
		return refusal(http.StatusGone, errSessionLockLost)
	}
	switch operation {
	case "renew-session-lock":
		return answered(map[string]any{"expiration": e.renewSession(s)})
	case "get-session-state":
		var state any
		if s.state != nil {
			state = s.state
		}
		return answered(map[string]any{"session-state": state})
	default:
		if s.state, _ = field(body, "session-state").([]byte); len(s.state) == 0 {
			s.state = nil
		}
		s.stateSet = e.broker.now()
		e.broker.journalSession(e, s)
		return answered(nil)
	}
}

// listSessions lists the sessions with messages or state; since a time, those whose state was set after it.
func (e *entity) listSessions(body any) response {
	since, _ := field(body, "last-updated-time").(time.Time)
	skip, _ := amqp.Uint32(field(body, "skip"))
	top, _ := amqp.Uint32(field(body, "top"))
	everything := since.Year() >= 9999 // how clients ask for all
	var ids []string
	for id, s := range e.streams {
		if everything && (s.messages > 0 || s.state != nil) || !everything && s.stateSet.After(since) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = ids[min(int(skip), len(ids)):]
	ids = ids[:min(int(top), len(ids))]
	if len(ids) == 0 {
		return nothing()
	}
	return answered(map[string]any{"skip": int32(int(skip) + len(ids)), "sessions-ids": ids}) //nolint:gosec // as large as a list in memory
}

// all is the elements of a list or array that are of type T.
func all[T any](v any) (out []T) {
	for _, e := range amqp.Elements(v) {
		if t, ok := e.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
