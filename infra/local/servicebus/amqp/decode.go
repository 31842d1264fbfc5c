package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// maxDepth bounds the nesting of values. Service Bus messages nest four deep; a frame of zero bytes would otherwise
// be a recursion as deep as it is long.
const maxDepth = 32

var (
	errShort   = errors.New("amqp: the value is longer than its bytes")
	errDepth   = errors.New("amqp: values are nested too deep")
	errMapKey  = errors.New("amqp: a map's key is of no usable type")
	errCount   = errors.New("amqp: more elements than bytes")
	errSection = errors.New("amqp: a section has no descriptor code")
)

// Decoder reads values one after the other. Binary values and encodings alias the input.
type Decoder struct {
	b  []byte
	at int
}

// NewDecoder reads from b.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// Decode reads the first value of b and says how many bytes it took.
func Decode(b []byte) (v any, n int, err error) {
	d := NewDecoder(b)
	v, err = d.Value()
	return v, d.at, err
}

// More says whether bytes are left.
func (d *Decoder) More() bool { return d.at < len(d.b) }

// Offset is how many bytes were read.
func (d *Decoder) Offset() int { return d.at }

// Since is the bytes that were read from offset on.
func (d *Decoder) Since(offset int) []byte { return d.b[offset:d.at:d.at] }

// Value reads a value.
func (d *Decoder) Value() (any, error) { return d.value(maxDepth) }

// Skip passes over a value without looking into it.
func (d *Decoder) Skip() error { return d.skip(maxDepth) }

// Section reads the descriptor code of the described value that begins here; its value comes next.
func (d *Decoder) Section() (uint64, error) {
	mark, err := d.take(1)
	if err != nil {
		return 0, err
	}
	if mark[0] != 0 {
		return 0, errSection
	}
	v, err := d.Value()
	if err != nil {
		return 0, err
	}
	code, ok := v.(uint64)
	if !ok {
		return 0, errSection
	}
	return code, nil
}

func (d *Decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.b)-d.at {
		return nil, errShort
	}
	p := d.b[d.at : d.at+n : d.at+n]
	d.at += n
	return p, nil
}

// number reads a big-endian length or count of the given width.
func (d *Decoder) number(width int) (int, error) {
	p, err := d.take(width)
	switch {
	case err != nil:
		return 0, err
	case width == 1:
		return int(p[0]), nil
	}
	n := binary.BigEndian.Uint32(p)
	if n > math.MaxInt32 {
		return 0, errShort
	}
	return int(n), nil
}

// payload reads what follows the format code: its upper half says how long that is.
func (d *Decoder) payload(code byte) ([]byte, error) {
	switch code >> 4 {
	case 0x4:
		return nil, nil
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		return d.take(1 << (code>>4 - 5))
	case 0xa, 0xc, 0xe:
		return d.sized(1)
	case 0xb, 0xd, 0xf:
		return d.sized(4)
	default:
		return nil, fmt.Errorf("amqp: unknown format code %#x", code)
	}
}

func (d *Decoder) sized(width int) ([]byte, error) {
	n, err := d.number(width)
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

func (d *Decoder) skip(depth int) error {
	if depth == 0 {
		return errDepth
	}
	code, err := d.take(1)
	if err != nil {
		return err
	}
	if code[0] == 0 {
		if err := d.skip(depth - 1); err != nil {
			return err
		}
		return d.skip(depth - 1)
	}
	_, err = d.payload(code[0])
	return err
}

func (d *Decoder) value(depth int) (any, error) {
	if depth == 0 {
		return nil, errDepth
	}
	start := d.at
	code, err := d.take(1)
	if err != nil {
		return nil, err
	}
	if code[0] == 0 {
		descriptor, err := d.value(depth - 1)
		if err != nil {
			return nil, err
		}
		v, err := d.value(depth - 1)
		return Described{descriptor, v}, err
	}
	v, err := d.body(code[0], depth)
	if array, ok := v.(Array); ok {
		array.encoded = d.Since(start)
		return array, err
	}
	return v, err
}

// body reads a value whose format code has been read.
func (d *Decoder) body(code byte, depth int) (any, error) {
	start := d.at
	p, err := d.payload(code)
	if err != nil {
		return nil, err
	}
	width := 1 // of the count that compound types begin with
	if code >= 0xd0 && code != 0xe0 {
		width = 4
	}
	switch code {
	case 0x45:
		return []any{}, nil
	case 0xc0, 0xd0:
		return (&Decoder{b: p}).list(width, depth-1)
	case 0xc1, 0xd1:
		return (&Decoder{b: p}).mapping(width, depth-1)
	case 0xe0, 0xf0:
		return (&Decoder{b: p}).array(width, depth-1)
	case 0xa0, 0xb0:
		return p, nil
	case 0xa1, 0xb1:
		return string(p), nil
	case 0xa3, 0xb3:
		return Symbol(p), nil
	}
	if v, ok := primitive(code, p); ok {
		return v, nil
	}
	return append(Opaque{code}, d.Since(start)...), nil
}

func (d *Decoder) list(width, depth int) (any, error) {
	n, err := d.count(width)
	if err != nil {
		return nil, err
	}
	out := make([]any, 0, min(n, 16)) // grows with what is really there, not with what is claimed
	for range n {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (d *Decoder) mapping(width, depth int) (any, error) {
	n, err := d.count(width)
	if err != nil {
		return nil, err
	}
	out := make(map[any]any, min(n/2, 16))
	for range n / 2 {
		k, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case string, Symbol, UUID, bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64:
		default:
			return nil, errMapKey // a slice as key would panic
		}
		if out[k], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *Decoder) array(width, depth int) (any, error) {
	if depth <= 0 { // elements of an array are read by body, which doesn't count
		return nil, errDepth
	}
	n, err := d.count(width)
	if err != nil {
		return nil, err
	}
	code, err := d.take(1)
	if err != nil {
		return nil, err
	}
	var descriptor any
	if code[0] == 0 {
		if descriptor, err = d.value(depth - 1); err != nil {
			return nil, err
		}
		if code, err = d.take(1); err != nil {
			return nil, err
		}
	}
	out := make([]any, 0, min(n, 16))
	for range n {
		start := d.at
		v, err := d.body(code[0], depth)
		if err != nil {
			return nil, err
		}
		if inner, ok := v.(Array); ok {
			inner.encoded = append([]byte{code[0]}, d.Since(start)...)
			v = inner
		}
		if descriptor != nil {
			v = Described{descriptor, v}
		}
		out = append(out, v)
	}
	return Array{Elements: out}, nil
}

// count reads the number of elements. Elements of no width (nulls, empty lists) would let four bytes ask for
// gigabytes, so there may be no more of them than bytes that follow; nobody sends such arrays.
func (d *Decoder) count(width int) (int, error) {
	n, err := d.number(width)
	if err != nil {
		return 0, err
	}
	if n > len(d.b)-d.at {
		return 0, errCount
	}
	return n, nil
}

func primitive(code byte, p []byte) (any, bool) {
	be := binary.BigEndian
	switch code {
	case 0x40:
		return nil, true
	case 0x41:
		return true, true
	case 0x42:
		return false, true
	case 0x43:
		return uint32(0), true
	case 0x44:
		return uint64(0), true
	case 0x50:
		return p[0], true
	case 0x51:
		return int8(p[0]), true //nolint:gosec // the bits of a two's complement
	case 0x52:
		return uint32(p[0]), true
	case 0x53:
		return uint64(p[0]), true
	case 0x54:
		return int32(int8(p[0])), true //nolint:gosec // as above
	case 0x55:
		return int64(int8(p[0])), true //nolint:gosec // as above
	case 0x56:
		return p[0] != 0, true
	case 0x60:
		return be.Uint16(p), true
	case 0x61:
		return int16(be.Uint16(p)), true //nolint:gosec // as above
	case 0x70:
		return be.Uint32(p), true
	case 0x71:
		return int32(be.Uint32(p)), true //nolint:gosec // as above
	case 0x72:
		return math.Float32frombits(be.Uint32(p)), true
	case 0x80:
		return be.Uint64(p), true
	case 0x81:
		return int64(be.Uint64(p)), true //nolint:gosec // as above
	case 0x82:
		return math.Float64frombits(be.Uint64(p)), true
	case 0x83:
		return time.UnixMilli(int64(be.Uint64(p))).UTC(), true //nolint:gosec // as above
	case 0x98:
		return UUID(p), true
	default:
		return nil, false
	}
}
