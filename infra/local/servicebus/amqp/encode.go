package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Append appends the encoding of v. It takes every value that Decode gives, map[string]any, and as arrays the slices
// of int64, time.Time, UUID, string and Symbol. Another Go type is a mistake in the program and panics.
func Append(b []byte, v any) []byte {
	be := binary.BigEndian
	switch v := v.(type) {
	case nil:
		return append(b, 0x40)
	case bool:
		if v {
			return append(b, 0x41)
		}
		return append(b, 0x42)
	case uint8:
		return append(b, 0x50, v)
	case uint16:
		return be.AppendUint16(append(b, 0x60), v)
	case uint32:
		if v <= math.MaxUint8 {
			return append(b, 0x52, byte(v))
		}
		return be.AppendUint32(append(b, 0x70), v)
	case uint64:
		if v <= math.MaxUint8 {
			return append(b, 0x53, byte(v))
		}
		return be.AppendUint64(append(b, 0x80), v)
	case int8:
		return append(b, 0x51, byte(v)) //nolint:gosec // the bits of a two's complement
	case int16:
		return be.AppendUint16(append(b, 0x61), uint16(v)) //nolint:gosec // as above
	case int32:
		return be.AppendUint32(append(b, 0x71), uint32(v)) //nolint:gosec // as above
	case int64:
		return be.AppendUint64(append(b, 0x81), uint64(v)) //nolint:gosec // as above
	case float32:
		return be.AppendUint32(append(b, 0x72), math.Float32bits(v))
	case float64:
		return be.AppendUint64(append(b, 0x82), math.Float64bits(v))
	case time.Time:
		return be.AppendUint64(append(b, 0x83), uint64(v.UnixMilli()))
	case UUID:
		return append(append(b, 0x98), v[:]...)
	case []byte:
		return appendBytes(b, 0xa0, v)
	case string:
		return appendBytes(b, 0xa1, v)
	case Symbol:
		return appendBytes(b, 0xa3, v)
	case Opaque:
		return append(b, v...)
	case Described:
		return Append(Append(append(b, 0), v.Code), v.Value)
	case []any:
		return appendList(b, v)
	case map[any]any:
		return appendMap(b, v)
	case map[string]any:
		return appendMap(b, v)
	}
	return appendArray(b, v)
}

// Performative encodes a described list, trailing nulls left out.
func Performative(code uint64, fields ...any) []byte {
	for len(fields) > 0 && fields[len(fields)-1] == nil {
		fields = fields[:len(fields)-1]
	}
	return Append(make([]byte, 0, 64), Described{code, fields})
}

// appendBytes writes p with a one-byte length under code, or with a four-byte length under the code 16 above.
func appendBytes[T ~string | ~[]byte](b []byte, code byte, p T) []byte {
	if len(p) <= math.MaxUint8 {
		return append(append(b, code, byte(len(p))), p...) //nolint:gosec // checked
	}
	return append(binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(p))), p...) //nolint:gosec // in memory, so far below 4 GB
}

func appendList(b []byte, list []any) []byte {
	if len(list) == 0 {
		return append(b, 0x45)
	}
	b, start := beginCompound(b, 0xd0, len(list))
	for _, e := range list {
		b = Append(b, e)
	}
	return endCompound(b, start)
}

func appendMap[K comparable](b []byte, m map[K]any) []byte {
	b, start := beginCompound(b, 0xd1, 2*len(m))
	for k, e := range m {
		b = Append(Append(b, k), e)
	}
	return endCompound(b, start)
}

func appendArray(b []byte, v any) []byte {
	be := binary.BigEndian
	switch v := v.(type) {
	case Array:
		return append(b, v.encoded...)
	case []int64:
		b, start := beginCompound(b, 0xf0, len(v))
		b = append(b, 0x81)
		for _, e := range v {
			b = be.AppendUint64(b, uint64(e)) //nolint:gosec // the bits of a two's complement
		}
		return endCompound(b, start)
	case []time.Time:
		b, start := beginCompound(b, 0xf0, len(v))
		b = append(b, 0x83)
		for _, e := range v {
			b = be.AppendUint64(b, uint64(e.UnixMilli()))
		}
		return endCompound(b, start)
	case []UUID:
		b, start := beginCompound(b, 0xf0, len(v))
		b = append(b, 0x98)
		for _, e := range v {
			b = append(b, e[:]...)
		}
		return endCompound(b, start)
	case []string:
		return appendTexts(b, 0xb1, v)
	case []Symbol:
		return appendTexts(b, 0xb3, v)
	}
	panic(fmt.Sprintf("amqp: no encoding for %T", v))
}

func appendTexts[T ~string](b []byte, code byte, texts []T) []byte {
	b, start := beginCompound(b, 0xf0, len(texts))
	b = append(b, code)
	for _, s := range texts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) //nolint:gosec // in memory, so far below 4 GB
	}
	return endCompound(b, start)
}

// beginCompound writes the head of a list, map or array and leaves its size for endCompound.
func beginCompound(b []byte, code byte, n int) (out []byte, start int) {
	b = append(b, code, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, uint32(n)), len(b) //nolint:gosec // counts what is in memory
}

func endCompound(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start)) //nolint:gosec // in memory, so far below 4 GB
	return b
}
