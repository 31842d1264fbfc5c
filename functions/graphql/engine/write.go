package engine

import (
	"encoding/json"
	"errors"
)

var errNull = errors.New("a resolver returned null where the schema promises a value")

// write makes the answer's data. A null where the schema promises a value makes the object around it null, and so on.
func (x *run) write(root *batch) []byte {
	out, ok := x.object(make([]byte, 0, min(512+192*x.cost, 1<<20)), root, 0)
	if x.over {
		x.errors = []*Error{{Code: CodeTooLarge, Message: "The answer is too large: ask for shorter pages or fewer fields."}}
		ok = false
	}
	if ok {
		return out
	}
	return []byte("null")
}

func (x *run) object(out []byte, b *batch, i int32) ([]byte, bool) {
	if x.over || len(out) > x.limits().Answer {
		x.over = true
		return out, false
	}
	out = append(out, '{')
	for n, f := range b.sel.fields {
		if n > 0 {
			out = append(out, ',')
		}
		out = append(out, f.key...)
		switch {
		case f.constant != nil:
			out = append(out, f.constant...)
		case f.column < 0:
			out = f.Leaf(out, b.objects[i])
		default:
			from := len(out)
			var ok bool
			if out, ok = x.deep(out, b, f, i); ok {
				continue
			}
			if f.nonNull {
				return out, false
			}
			out = append(out[:from], "null"...)
		}
	}
	return append(out, '}'), true
}

// deep writes a field that is an object or a list of them; ok is false for null.
func (x *run) deep(out []byte, b *batch, f *field, i int32) ([]byte, bool) {
	c := &b.columns[f.column]
	s := c.slots[i]
	switch s.kind {
	case single:
		return x.object(out, s.b, s.at)
	case list:
		out = append(out, '[')
		for k, item := range c.items[s.at : s.at+s.n] {
			if k > 0 {
				out = append(out, ',')
			}
			from, ok := len(out), item.kind == single
			if ok {
				out, ok = x.object(out, item.b, item.at)
			} else if f.itemNonNull && !item.told {
				x.fail(b, f, int(i), k, errNull)
			}
			if !ok {
				if f.itemNonNull {
					return out, false
				}
				out = append(out[:from], "null"...)
			}
		}
		return append(out, ']'), true
	default:
		if f.nonNull && !s.told {
			x.fail(b, f, int(i), -1, errNull)
		}
		return out, false
	}
}

// AppendText appends a JSON string. Most need no escape; the others are left to encoding/json.
func AppendText(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string always can be
			return append(out, text...)
		}
	}
	out = append(append(out, '"'), s...)
	return append(out, '"')
}
