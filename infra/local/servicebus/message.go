package servicebus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// batchFormat is the message-format of a transfer whose data sections are messages.
const batchFormat = 0x80013700

// Descriptor codes of a message's sections.
const (
	sectionHeader      = 0x70
	sectionDelivery    = 0x71 // delivery annotations
	sectionAnnotations = 0x72
	sectionProperties  = 0x73
	sectionApplication = 0x74
	sectionData        = 0x75
	sectionValue       = 0x77
)

// Places in the properties section.
const (
	propMessageID = 0
	propReplyTo   = 4
	propSessionID = 10
)

// message is an AMQP message, split into the sections that the broker rewrites and those that it relays as they came:
// signatures are made over bytes.
type message struct {
	header      []any // durable, priority, ttl, first-acquirer, delivery-count
	annotations map[any]any
	properties  []byte // whole sections, encoded
	application []byte
	body        []byte // body sections and footer
}

func parseMessage(b []byte) (*message, error) {
	m := &message{}
	d := amqp.NewDecoder(b)
	for d.More() {
		start := d.Offset()
		code, err := d.Section()
		if err != nil {
			return nil, err
		}
		switch code {
		case sectionHeader, sectionAnnotations:
			v, err := d.Value()
			if err != nil {
				return nil, err
			}
			if code == sectionHeader {
				m.header, _ = v.([]any)
			} else {
				m.annotations, _ = v.(map[any]any)
			}
			continue
		}
		if err := d.Skip(); err != nil {
			return nil, err
		}
		switch code {
		case sectionDelivery: // meant for one hop only
		case sectionProperties:
			m.properties = d.Since(start)
		case sectionApplication:
			m.application = d.Since(start)
		default:
			m.body = append(m.body, d.Since(start)...)
		}
	}
	return m, nil
}

// splitBatch returns the messages inside a batch.
func splitBatch(b []byte) (out [][]byte, err error) {
	d := amqp.NewDecoder(b)
	for d.More() {
		code, err := d.Section()
		if err != nil {
			return nil, err
		}
		if code != sectionData {
			if err := d.Skip(); err != nil {
				return nil, err
			}
			continue
		}
		v, err := d.Value()
		if err != nil {
			return nil, err
		}
		data, ok := v.([]byte)
		if !ok {
			return nil, errors.New("a batch's data section is not binary")
		}
		out = append(out, data)
	}
	return out, nil
}

// propertyList decodes the properties section; a client that can't encode it gets none.
func (m *message) propertyList() []any {
	v, _, err := amqp.Decode(m.properties)
	if err != nil {
		return nil
	}
	_, list := amqp.Fields(v)
	return list
}

func (m *message) applicationMap() map[any]any {
	v, _, err := amqp.Decode(m.application)
	if err != nil {
		return nil
	}
	d, _ := v.(amqp.Described)
	entries, _ := d.Value.(map[any]any)
	return entries
}

// id is the message-id as text, "" without one.
func (m *message) id() string {
	switch v := amqp.At(m.propertyList(), propMessageID).(type) {
	case nil:
		return ""
	case amqp.UUID:
		return hex.EncodeToString(v[:])
	default:
		return fmt.Sprint(v)
	}
}

// ensureID gives a message without a message-id one, as the service does, and returns it.
func (m *message) ensureID() string {
	if id := m.id(); id != "" {
		return id
	}
	list := m.propertyList()
	if len(list) == 0 {
		list = []any{nil}
	}
	u := newUUID()
	id := hex.EncodeToString(u[:])
	list[propMessageID] = id
	m.properties = amqp.Performative(sectionProperties, list...)
	return id
}

func (m *message) sessionID() (string, bool) {
	id, ok := amqp.At(m.propertyList(), propSessionID).(string)
	return id, ok
}

// ttl is what the sender asked for, 0 without a wish.
func (m *message) ttl() time.Duration {
	ms, _ := amqp.Uint32(amqp.At(m.header, 2))
	return time.Duration(ms) * time.Millisecond
}

// scheduledFor is when the message is to be enqueued, zero for at once.
func (m *message) scheduledFor() time.Time {
	v, _ := amqp.Lookup(m.annotations, "x-opt-scheduled-enqueue-time")
	due, _ := v.(time.Time)
	return due
}

// with returns a copy whose application properties are set. The original may be in other queues too.
func (m *message) with(set map[string]any) *message {
	if len(set) == 0 {
		return m
	}
	entries := map[any]any{}
	maps.Copy(entries, m.applicationMap())
	for k, v := range set {
		entries[k] = v
	}
	c := *m
	c.application = amqp.Append(nil, amqp.Described{Code: uint64(sectionApplication), Value: entries})
	return &c
}

// encode renders the message for a receiver or the journal.
func (m *message) encode(ttl time.Duration, deliveryCount uint32, delivery, annotations map[any]any) []byte {
	header := []any{amqp.At(m.header, 0), amqp.At(m.header, 1), nil, amqp.At(m.header, 3), deliveryCount}
	if ttl > 0 {
		header[2] = uint32(min(ttl.Milliseconds(), 1<<32-1)) //nolint:gosec // bounded here
	}
	b := make([]byte, 0, 192+len(m.properties)+len(m.application)+len(m.body))
	b = amqp.Append(b, amqp.Described{Code: uint64(sectionHeader), Value: header})
	if len(delivery) > 0 {
		b = amqp.Append(b, amqp.Described{Code: uint64(sectionDelivery), Value: delivery})
	}
	if len(m.annotations) > 0 && len(annotations) > 0 {
		merged := maps.Clone(m.annotations)
		maps.Copy(merged, annotations)
		annotations = merged
	} else if len(annotations) == 0 {
		annotations = m.annotations
	}
	if len(annotations) > 0 {
		b = amqp.Append(b, amqp.Described{Code: uint64(sectionAnnotations), Value: annotations})
	}
	b = append(b, m.properties...)
	b = append(b, m.application...)
	return append(b, m.body...)
}

func newUUID() (u amqp.UUID) {
	_, _ = rand.Read(u[:]) // it never fails: the runtime ends the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}
