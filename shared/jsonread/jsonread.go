// Package jsonread decodes JSON that has been checked before: bodies that idempotency.Canonical has read to the end.
//
// The standard library's decoder checks a text, then reads it, by reflection; a request's body is decoded twice, once
// for the schema and once for its type. On the way of an order that was a tenth of the processor time, so its body is
// decoded here. Everything else in the service decodes with encoding/json.
package jsonread

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrText says that the text is not JSON, or not of the type that it is read as.
var ErrText = errors.New("not the JSON that was expected")

// Reader reads values from the start of a text on. After an error everything fails.
type Reader struct {
	text []byte
	at   int
	err  error
}

// New reads text.
func New(text []byte) *Reader { return &Reader{text: text} }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail makes err the reader's error, unless it has one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// next is the first character after white space, which stays to be read; 0 at the end.
func (r *Reader) next() byte {
	for ; r.at < len(r.text) && r.err == nil; r.at++ {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take reads the character c.
func (r *Reader) take(c byte) bool {
	if r.next() != c || c == 0 {
		r.Fail(fmt.Errorf("%w: byte %d", ErrText, r.at+1))
		return false
	}
	r.at++
	return true
}

// Object calls member for each member of an object, with its name. It must read the value.
func (r *Reader) Object(member func(name string)) {
	if !r.take('{') {
		return
	}
	for first := true; r.err == nil; first = false {
		if first && r.next() == '}' {
			break
		}
		name := r.String()
		if r.take(':') {
			member(name)
		}
		if r.next() != ',' {
			break
		}
		r.at++
	}
	r.take('}')
}

// Array calls item for each item of an array. It must read the value.
func (r *Reader) Array(item func()) {
	if !r.take('[') {
		return
	}
	for first := true; r.err == nil; first = false {
		if first && r.next() == ']' {
			break
		}
		item()
		if r.next() != ',' {
			break
		}
		r.at++
	}
	r.take(']')
}

// String reads a string.
func (r *Reader) String() string {
	if !r.take('"') {
		return ""
	}
	from, escaped := r.at, false
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\\':
			escaped = true
			r.at++
		case '"':
			r.at++
			if !escaped {
				return string(r.text[from : r.at-1])
			}
			var s string // rare, so by the book
			if err := json.Unmarshal(r.text[from-1:r.at], &s); err != nil {
				r.Fail(fmt.Errorf("%w: byte %d", ErrText, from))
			}
			return s
		}
	}
	r.Fail(fmt.Errorf("%w: a string without an end", ErrText))
	return ""
}

// Raw reads any value and returns its text.
func (r *Reader) Raw() []byte {
	r.next()
	from := r.at
	r.Skip()
	if r.err != nil {
		return nil
	}
	return r.text[from:r.at]
}

// Skip reads any value and keeps nothing of it.
func (r *Reader) Skip() {
	for depth := 0; ; {
		switch c := r.next(); c {
		case '{', '[':
			depth++
			r.at++
		case '}', ']':
			depth--
			r.at++
		case ',', ':':
			r.at++
		case '"':
			r.skipString()
		case 0:
			r.Fail(fmt.Errorf("%w: a value without an end", ErrText))
		default:
			for r.at < len(r.text) && !strings.ContainsRune(" \t\r\n,]}", rune(r.text[r.at])) {
				r.at++
			}
		}
		if depth <= 0 || r.err != nil {
			return
		}
	}
}

func (r *Reader) skipString() {
	for r.at++; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\\':
			r.at++
		case '"':
			r.at++
			return
		}
	}
	r.Fail(fmt.Errorf("%w: a string without an end", ErrText))
}

// number is the text of a number.
func (r *Reader) number() string {
	r.next()
	from := r.at
	for ; r.at < len(r.text); r.at++ {
		if c := r.text[r.at]; (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
	}
	return string(r.text[from:r.at])
}

// Int reads a whole number.
func (r *Reader) Int() int {
	n, err := strconv.Atoi(r.number())
	if err != nil {
		r.Fail(fmt.Errorf("%w: not a whole number, or out of range, before byte %d", ErrText, r.at+1))
	}
	return n
}

// Null reads null, when that is what comes.
func (r *Reader) Null() bool {
	if r.next() != 'n' {
		return false
	}
	r.word("null")
	return true
}

func (r *Reader) word(word string) {
	if len(r.text)-r.at < len(word) || string(r.text[r.at:r.at+len(word)]) != word {
		r.Fail(fmt.Errorf("%w: byte %d", ErrText, r.at+1))
		return
	}
	r.at += len(word)
}

// Any reads a value as encoding/json reads one into an any.
func (r *Reader) Any() any {
	switch c := r.next(); {
	case c == '{':
		object := make(map[string]any)
		r.Object(func(name string) { object[name] = r.Any() })
		return object
	case c == '[':
		list := []any{}
		r.Array(func() { list = append(list, r.Any()) })
		return list
	case c == '"':
		return r.String()
	case c == 't':
		r.word("true")
		return true
	case c == 'f':
		r.word("false")
		return false
	case c == '-' || (c >= '0' && c <= '9'):
		f, err := strconv.ParseFloat(r.number(), 64)
		if err != nil {
			r.Fail(fmt.Errorf("%w: a number too large for a double, before byte %d", ErrText, r.at+1))
		}
		return f
	}
	r.word("null")
	return nil
}
