package telemetry

import "log/slog"

// Secret is text that no log line, error or answer shows: connection strings, keys, tokens. Where it is used it is
// converted to a string, which is the place to look at in a review.
type Secret string

const redacted = "[redacted]"

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return "" // that it is not set is no secret
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, and with it JSON's way.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
