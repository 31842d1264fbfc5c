package ops

import (
	"bytes"
	"encoding/json"
	"strings"
)

// storable is text as PostgreSQL holds it: UTF-8 without the zero character. A message that can't be stored would
// come back for ever and keep its whole batch from being stored, so what can't be held is replaced.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// plain are the properties that a message can carry again, as the database can hold them: texts, numbers and truth
// values. Numbers stay as exact as they came.
func plain(properties map[string]any) map[string]any {
	out := make(map[string]any, len(properties))
	for name, value := range properties {
		name = storable(name)
		switch v := value.(type) {
		case string:
			out[name] = storable(v)
		case bool:
			out[name] = v
		case json.Number:
			if number(v) != nil {
				out[name] = v
			} else {
				out[name] = storable(v.String()) // beyond every type of number that AMQP has
			}
		default: // an object, a list, a date: its JSON, if it has one
			if raw, err := json.Marshal(v); err == nil && v != nil && !bytes.Contains(raw, []byte(`\u0000`)) {
				out[name] = json.RawMessage(raw)
			}
		}
	}
	return out
}

// number is a number in the type that a message carries it in; nil for one that is beyond both.
func number(n json.Number) any {
	if whole, err := n.Int64(); err == nil {
		return whole
	}
	if f, err := n.Float64(); err == nil {
		return f
	}
	return nil
}

// exactly reads properties without making a double of every number: a 64-bit id would lose its end.
func exactly(raw []byte) (properties map[string]any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&properties)
	return properties, err
}
