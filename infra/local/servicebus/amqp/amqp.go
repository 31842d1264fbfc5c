// Package amqp reads and writes the AMQP 1.0 type system: the values that frames and messages are made of. It knows
// nothing of connections, links or Service Bus.
//
// Bytes come from a network and may be hostile: no input panics, nesting is bounded, and what a value takes in
// memory is at most a fixed multiple of the bytes it was read from.
//
// Read here for the Go types, then decode.go and encode.go.
package amqp

// Symbol is a string from a known set, such as an annotation's name.
type Symbol string

// UUID is 16 bytes in RFC 4122 order.
type UUID [16]byte

// Described is a value with a descriptor that says what it means: a uint64 code or a Symbol.
type Described struct{ Code, Value any }

// Array is an array as it was read. It keeps its encoding, since Go's slices can't say of which AMQP type the
// elements were; to write an array, use one of the typed slices that Append takes.
type Array struct {
	Elements []any
	encoded  []byte
}

// Opaque is a value of a type that nobody here looks into (char, decimals), kept as it was encoded.
type Opaque []byte

// Fields takes a described list apart, as performatives and delivery states are; code 0 when v is none.
func Fields(v any) (code uint64, fields []any) {
	d, ok := v.(Described)
	if !ok {
		return 0, nil
	}
	code, _ = d.Code.(uint64)
	fields, _ = d.Value.([]any)
	return code, fields
}

// At is list[i], or nil where a sender left out trailing nulls.
func At(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// Uint32 is any integer that fits, whatever its width on the wire.
func Uint32(v any) (uint32, bool) {
	var n uint64
	switch v := v.(type) {
	case uint8:
		n = uint64(v)
	case uint16:
		n = uint64(v)
	case uint32:
		n = uint64(v)
	case uint64:
		n = v
	case int32:
		n = uint64(v) //nolint:gosec // a negative one becomes too large and is refused below
	case int64:
		n = uint64(v) //nolint:gosec // as above
	default:
		return 0, false
	}
	if n > 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

// String is a string or a symbol; "" when v is neither.
func String(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Symbol:
		return string(v)
	default:
		return ""
	}
}

// Lookup finds a key in a decoded map, be it a string or a symbol.
func Lookup(m any, key string) (any, bool) {
	entries, _ := m.(map[any]any)
	if v, ok := entries[key]; ok {
		return v, true
	}
	v, ok := entries[Symbol(key)]
	return v, ok
}

// Elements is what a list or an array holds; clients differ in which of the two they send.
func Elements(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case Array:
		return v.Elements
	default:
		return nil
	}
}
