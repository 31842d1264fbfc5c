package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// maxMessages bounds a batch: the host's own default is 1,000 and nothing here asks for more.
const maxMessages = 4096

// onServiceBus runs the function of a Service Bus trigger with one message or a batch; an error gives all of
// them back at once. The binding says dataType binary: as text, the host would let members of a JSON body
// replace the metadata of the same name, and a text that looks like base64 can't be told from bytes.
//
// The messages' traces go on: one span for the batch, inside of the first trace that is sampled and linked to the others.
func onServiceBus(binding string, run func(context.Context, []servicebus.Received) error) func(context.Context, invocation) error {
	return func(ctx context.Context, in invocation) error {
		messages, err := in.serviceBus(binding)
		if err != nil {
			return err
		}
		note(ctx, slog.Int("messages", len(messages)))
		if !telemetry.Tracing() {
			return run(ctx, messages)
		}
		ctx, span := telemetry.Join(ctx, trace.SpanKindConsumer, "process "+in.Source, servicebus.Traces(messages)...)
		failed := true // also when it panics
		defer func() {
			if failed {
				span.Fail("failed")
			}
			span.End()
		}()
		if span.Recording() {
			span.Set(servicebus.Attributes("process", in.Source, len(messages))...)
			span.Set(in.attributes("pubsub")...)
		}
		err = run(ctx, messages)
		failed = err != nil
		return err
	}
}

// serviceBus reads the messages under a binding's name. One message is a base64 string, a batch is an array of
// them, and the metadata must agree: a text that happens to be an array is never cut into messages.
func (in invocation) serviceBus(binding string) ([]servicebus.Received, error) {
	field := "Data." + binding
	raw, found, err := fields(in.Data).get(binding)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &envelopeError{field, "is missing: is it the name of the binding in function.json?"}
	}
	value := unwrap(raw)
	batch := bytes.HasPrefix(bytes.TrimSpace(value), []byte("["))
	suffix := ""
	if batch {
		suffix = "Array"
	}
	if err := in.Metadata.agree(field, batch); err != nil {
		return nil, err
	}
	bodies := []json.RawMessage{raw}
	if batch {
		if deeperThan(value, maxDepth) {
			return nil, &envelopeError{field, fmt.Sprintf("nests deeper than %d", maxDepth)}
		}
		if err := json.Unmarshal(value, &bodies); err != nil {
			return nil, &envelopeError{field, "is not an array of messages"}
		}
	}
	if len(bodies) == 0 || len(bodies) > maxMessages {
		return nil, &envelopeError{field, fmt.Sprintf("holds %d messages, not 1 to %d", len(bodies), maxMessages)}
	}
	messages := make([]servicebus.Received, len(bodies))
	for i := range bodies {
		place := field
		if batch {
			place += "[" + strconv.Itoa(i) + "]"
		}
		if !batch && isText(value) && !bytes.Equal(value, raw) {
			// Bytes are encoded once, texts twice: a text inside of a text is the message as it stands.
			s, err := text(place, value)
			if err != nil {
				return nil, err
			}
			messages[i].Body = []byte(s)
			continue
		}
		if messages[i].Body, err = body(place, bodies[i]); err != nil {
			return nil, err
		}
	}
	for name, set := range properties {
		if err := in.Metadata.zip(name+suffix, batch, messages, set); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

func isText(raw json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(raw), []byte(`"`)) }

// body reads one message's bytes: base64, or JSON that can't be base64 (an object, or a text that begins like
// one, from a sender that leaves out the encoding). Any other text is refused, not guessed at.
func body(field string, raw json.RawMessage) ([]byte, error) {
	if isNull(raw) {
		return nil, nil
	}
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return raw, nil
	}
	s, err := text(field, raw)
	if err != nil {
		return nil, &envelopeError{field, "is neither base64 nor a JSON object"}
	}
	if len(s) > 0 && s[0] == '{' {
		return []byte(s), nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, &envelopeError{field, `is not base64: set "dataType": "binary" in function.json`}
	}
	return b, nil
}

// properties lists the metadata that a message takes, by the name the extension gives it. EnqueuedTime comes
// with its zone, EnqueuedTimeUtc without; batches may have only the second, which then does have it.
var properties = map[string]func(m *servicebus.Received, field string, raw json.RawMessage) error{
	"MessageId":      stringField(func(m *servicebus.Received) *string { return &m.MessageID }),
	"CorrelationId":  stringField(func(m *servicebus.Received) *string { return &m.CorrelationID }),
	"SessionId":      stringField(func(m *servicebus.Received) *string { return &m.SessionID }),
	"Subject":        stringField(func(m *servicebus.Received) *string { return &m.Subject }),
	"ContentType":    stringField(func(m *servicebus.Received) *string { return &m.ContentType }),
	"LockToken":      stringField(func(m *servicebus.Received) *string { return &m.LockToken }),
	"SequenceNumber": wholeField(func(m *servicebus.Received) *int64 { return &m.SequenceNumber }),
	"DeliveryCount":  wholeField(func(m *servicebus.Received) *int64 { return &m.DeliveryCount }),
	"EnqueuedTime": func(m *servicebus.Received, field string, raw json.RawMessage) (err error) {
		m.EnqueuedTime, err = moment(field, raw)
		return err
	},
	"EnqueuedTimeUtc": func(m *servicebus.Received, field string, raw json.RawMessage) error {
		t, err := moment(field, raw)
		if err == nil && m.EnqueuedTime.IsZero() {
			m.EnqueuedTime = t
		}
		return err
	},
	"ApplicationProperties": func(m *servicebus.Received, field string, raw json.RawMessage) error {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber() // a property may be a 64-bit id
		if err := dec.Decode(&m.ApplicationProperties); err != nil {
			return &envelopeError{field, "is not a JSON object"}
		}
		return nil
	},
}

func stringField(of func(*servicebus.Received) *string) func(*servicebus.Received, string, json.RawMessage) error {
	return func(m *servicebus.Received, field string, raw json.RawMessage) (err error) {
		*of(m), err = text(field, raw)
		return err
	}
}

func wholeField(of func(*servicebus.Received) *int64) func(*servicebus.Received, string, json.RawMessage) error {
	return func(m *servicebus.Received, field string, raw json.RawMessage) (err error) {
		*of(m), err = whole(field, raw)
		return err
	}
}

// agree refuses data of one kind with metadata of the other.
func (f fields) agree(field string, batch bool) error {
	for _, name := range []string{"SequenceNumber", "MessageId", "DeliveryCount", "LockToken"} {
		_, one, err := f.get(name)
		if err != nil {
			return err
		}
		_, many, err := f.get(name + "Array")
		if err != nil {
			return err
		}
		if batch && one && !many {
			return &envelopeError{field, "looks like a batch, and Metadata." + name + " like one message"}
		}
		if !batch && many {
			return &envelopeError{field, "looks like one message, and Metadata." + name + "Array like a batch"}
		}
	}
	return nil
}

// zip gives each message its value. In a batch the values come as one array, of which null means none; it must
// be as long as the batch, or a message would be taken for its neighbour.
func (f fields) zip(
	name string, batch bool, messages []servicebus.Received, set func(*servicebus.Received, string, json.RawMessage) error,
) error {
	field := "Metadata." + name
	raw, found, err := f.get(name)
	if err != nil || !found {
		return err
	}
	if !batch {
		value := unwrap(raw)
		if isText(raw) && !isText(value) && !bytes.HasPrefix(value, []byte("{")) {
			value = raw // a plain id such as 42 is a text all the same
		}
		return set(&messages[0], field, value)
	}
	var values []json.RawMessage
	if deeperThan(unwrap(raw), maxDepth) || json.Unmarshal(unwrap(raw), &values) != nil {
		return &envelopeError{field, "is not an array"}
	}
	if len(values) != len(messages) {
		return &envelopeError{field, fmt.Sprintf("has %d values for %d messages", len(values), len(messages))}
	}
	for i, value := range values {
		if isNull(value) {
			continue
		}
		if err := set(&messages[i], field+"["+strconv.Itoa(i)+"]", value); err != nil {
			return err
		}
	}
	return nil
}
