package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth is how deep an envelope may nest. The deepest part seen is the exception inside a retry context.
const maxDepth = 128

// invocation is one call of a trigger function by the host.
type invocation struct {
	// ID is new for every attempt, also for a retry of the same message: it names a log line, never an effect.
	ID       string
	Function string
	Source   string // the queue or topic that its messages come from; "" for a timer
	// Data holds the trigger's value under the binding's name, in the host's encoding (see text).
	Data map[string]json.RawMessage
	// Metadata holds what the trigger says about its value. Use it only through the methods of fields.
	Metadata fields
	// Retry is set when host.json or function.json gives the function a retry policy.
	Retry *retryContext
}

// retryContext says which attempt this is.
type retryContext struct {
	RetryCount    int
	MaxRetryCount int
}

// envelopeError is an envelope that can't be read, or not in one way only. Field names the place.
type envelopeError struct {
	Field, Reason string
}

// Error implements error.
func (e *envelopeError) Error() string { return e.Field + " " + e.Reason }

func (in *invocation) decode(raw []byte) error {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if !utf8.Valid(raw) {
		// encoding/json would put U+FFFD in place of what it can't read, which is another message.
		return &envelopeError{"body", "is not UTF-8"}
	}
	top, err := members("body", raw)
	if err != nil {
		return err
	}
	data, found, err := fields(top).get("Data")
	if err != nil {
		return err
	}
	if !found {
		return &envelopeError{"Data", "is missing: this is not an invocation by the Functions host"}
	}
	if in.Data, err = members("Data", data); err != nil {
		return err
	}
	meta, found, err := fields(top).get("Metadata")
	if err != nil || !found {
		return err
	}
	if in.Metadata, err = members("Metadata", meta); err != nil {
		return err
	}
	retry, found, err := in.Metadata.get("RetryContext")
	if err != nil || !found {
		return err
	}
	in.Retry = new(retryContext)
	if err := json.Unmarshal(unwrap(retry), in.Retry); err != nil {
		return &envelopeError{"Metadata.RetryContext", "is not a retry context: " + err.Error()}
	}
	return nil
}

// members splits a JSON object. A member that comes twice is an error: readers differ in which one they take.
func members(field string, raw []byte) (map[string]json.RawMessage, error) {
	if deeperThan(raw, maxDepth) {
		return nil, &envelopeError{field, fmt.Sprintf("nests deeper than %d", maxDepth)}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil, &envelopeError{field, "is not a JSON object"}
	}
	out := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, &envelopeError{field, "is not JSON: " + err.Error()}
		}
		name, _ := key.(string) // the decoder has made sure of it
		if _, twice := out[name]; twice {
			return nil, &envelopeError{field + "." + name, "comes twice"}
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, &envelopeError{field + "." + name, "is not JSON: " + err.Error()}
		}
		out[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, &envelopeError{field, "is not JSON: " + err.Error()}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &envelopeError{field, "is followed by more than its end"}
	}
	return out, nil
}

// deeperThan looks at brackets outside of strings; whether the rest is JSON is the decoder's business.
func deeperThan(raw []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// unwrap takes off the host's outer encoding: everything that .NET doesn't write as a JSON object comes as a
// JSON string that holds JSON ("5", "[1,2]", "\"text\""). Objects, and what other senders write plainly, stay.
func unwrap(raw json.RawMessage) json.RawMessage {
	var inner string
	if json.Unmarshal(raw, &inner) != nil {
		return raw
	}
	if trimmed := strings.TrimSpace(inner); json.Valid([]byte(trimmed)) {
		return json.RawMessage(trimmed)
	}
	return raw
}

// fields are the members of an object whose names' case is the sender's choice.
type fields map[string]json.RawMessage

// get finds a member: by its exact name, else by the only one that differs in case. null is as good as missing.
func (f fields) get(name string) (json.RawMessage, bool, error) {
	if raw, ok := f[name]; ok {
		return raw, !isNull(raw), nil
	}
	var found json.RawMessage
	for key, raw := range f {
		if !strings.EqualFold(key, name) {
			continue
		}
		if found != nil {
			return nil, false, &envelopeError{name, "comes twice, in different case"}
		}
		found = raw
	}
	return found, found != nil && !isNull(found), nil
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// text reads a string.
func text(field string, raw json.RawMessage) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", &envelopeError{field, "is not a string"}
	}
	return s, nil
}

// whole reads a whole number, written as a number or as a string.
func whole(field string, raw json.RawMessage) (int64, error) {
	digits := string(bytes.TrimSpace(raw))
	if s, err := text(field, raw); err == nil {
		digits = s
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, &envelopeError{field, "is not a whole number"}
	}
	return n, nil
}

// moment reads a time. The host writes the *Utc fields of single messages without their zone.
func moment(field string, raw json.RawMessage) (time.Time, error) {
	s, err := text(field, raw)
	if err != nil {
		return time.Time{}, err
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &envelopeError{field, "is not a time of RFC 3339"}
}
