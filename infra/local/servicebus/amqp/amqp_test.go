package amqp

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValuesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	long := string(bytes.Repeat([]byte("x"), 300))
	for _, v := range []any{
		nil, true, false, uint8(7), uint16(7), uint32(7), uint32(math.MaxUint32), uint64(255), uint64(256),
		int8(-1), int16(-1), int32(-1), int64(math.MinInt64), float32(1.5), 1.5, time.UnixMilli(1234).UTC(),
		UUID{1, 15: 2},
		[]byte("bytes"), "text", long, []byte(long), Symbol("sym"), Symbol(long),
		[]any{},
		[]any{uint32(1), "a", []any{nil}},
		map[any]any{"k": int32(1), Symbol("s"): map[any]any{uint64(300): true}},
		Described{uint64(0x70), []any{true}},
	} {
		b := Append(nil, v)
		got, n, err := Decode(b)
		require.NoError(t, err, "%#v", v)
		assert.Equal(t, v, got)
		assert.Len(t, b, n)
		d := NewDecoder(b)
		require.NoError(t, d.Skip())
		assert.False(t, d.More(), "skipped as far as read: %#v", v)
	}
}

func TestArrays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		written any
		read    []any
	}{
		{[]int64{1, -2}, []any{int64(1), int64(-2)}},
		{[]time.Time{time.UnixMilli(5).UTC()}, []any{time.UnixMilli(5).UTC()}},
		{[]UUID{{1}, {2}}, []any{UUID{1}, UUID{2}}},
		{[]string{"a", ""}, []any{"a", ""}},
		{[]Symbol{"a"}, []any{Symbol("a")}},
	} {
		b := Append(nil, c.written)
		v, n, err := Decode(b)
		require.NoError(t, err)
		assert.Len(t, b, n)
		assert.Equal(t, c.read, Elements(v))
		assert.Equal(t, b, Append(nil, v), "an array that was read is written as it came")
	}
}

func TestTypesNobodyLooksIntoAreKept(t *testing.T) {
	t.Parallel()
	char := []byte{0x73, 0, 0, 0, 'x'}
	v, n, err := Decode(char)
	require.NoError(t, err)
	assert.Equal(t, 5, n)
	assert.Equal(t, char, Append(nil, v))
}

func TestHostileInputIsRefused(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"nothing":                  {},
		"a code without its value": {0x70, 0, 0},
		"a string longer than all": {0xb1, 0xff, 0xff, 0xff, 0xff, 'a'},
		"an unknown code":          {0x10},
		"a million nulls":          {0xf0, 0, 0, 0, 5, 0, 0x0f, 0xff, 0xff, 0x40},
		"a list that claims more":  {0xd0, 0, 0, 0, 5, 0, 0xff, 0xff, 0xff, 0x40},
		"a list as a map's key":    {0xc1, 3, 2, 0x45, 0x40},
		"binary as a map's key":    {0xc1, 4, 2, 0xa0, 0, 0x40},
		"descriptors all the way":  make([]byte, 64<<10),
		"lists all the way":        nested(1000),
	} {
		_, _, err := Decode(b)
		assert.Error(t, err, name)
	}
	assert.Error(t, NewDecoder(make([]byte, 64<<10)).Skip())
}

func nested(depth int) []byte {
	b := []byte{0x45}
	for range depth {
		out, start := beginCompound(nil, 0xd0, 1)
		b = endCompound(append(out, b...), start)
	}
	return b
}

// FuzzDecode: no input panics, none costs more memory than a fixed multiple of its length, and what was read can be
// written and read again.
func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, []any{uint32(1), "a", map[any]any{Symbol("k"): []string{"x"}}}))
	f.Add([]byte{0xf0, 0, 0, 0, 5, 0, 0x0f, 0xff, 0xff, 0x40})
	f.Add([]byte{0x00, 0x53, 0x77, 0x83, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add(nested(40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, n, err := Decode(b)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<10+uint64(len(b))*maxDepth*32 {
			t.Fatalf("%d bytes of input took %d bytes of memory", len(b), spent)
		}
		if err != nil {
			return
		}
		d := NewDecoder(b)
		if err := d.Skip(); err != nil || d.Offset() != n {
			t.Fatalf("read %d bytes, but skipped %d: %v", n, d.Offset(), err)
		}
		again, _, err := Decode(Append(nil, v))
		if err != nil {
			t.Fatalf("what was written of %#v can't be read: %v", v, err)
		}
		if was, is := fmt.Sprintf("%#v", plain(v)), fmt.Sprintf("%#v", plain(again)); was != is {
			t.Fatalf("%s came back as %s", was, is)
		}
	})
}

// plain drops what two equal values may differ in: fmt prints time with its address, NaN is not itself.
func plain(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.UnixMilli()
	case Described:
		return Described{plain(v.Code), plain(v.Value)}
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case Array:
		return string(v.encoded)
	case map[any]any:
		out := make(map[any]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	default:
		return v
	}
}
