package idempotency

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a body. The deepest request of the API has four levels.
const maxDepth = 32

// ErrJSON says that a body is not one JSON value, and where it stops being one.
var ErrJSON = errors.New("not valid JSON")

// Canonical returns the JSON value in raw in the canonical form of RFC 8785: members sorted, no white space,
// numbers as ECMAScript prints them. Two bodies with one canonical form mean the same, so a client may reorder
// or reformat a retry, while `1` and `"1"`, or an absent member and a null one, stay different.
//
// It is also the strict reader in front of every decoder: bodies that are not UTF-8, nest too deeply, name a
// member twice or have something after the value are ErrJSON, with the place.
//
// It is written by hand because each order pays for it: by way of the standard library's tokens it took a tenth of
// the handler's processor time.
func Canonical(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrJSON)
	}
	r := canonicalizer{in: raw, out: make([]byte, 0, len(raw))}
	err := r.value(0)
	if err == nil {
		if r.space(); r.at < len(r.in) {
			err = errors.New("something follows the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w at byte %d: %w", ErrJSON, min(r.at, len(r.in))+1, err)
	}
	return r.out, nil
}

// The mistakes of a body, in words that no library can change.
var (
	errEnd       = errors.New("it ends too early")
	errCharacter = errors.New("unexpected character")
)

// canonicalizer reads in from at on, and appends what it read to out in canonical form.
type canonicalizer struct {
	in      []byte
	at      int
	out     []byte
	members []member // of the objects that are open, innermost last
}

// member is where a member of an object stands in the output, its name included.
type member struct {
	name     string
	from, to int
}

// space skips white space.
func (r *canonicalizer) space() {
	for r.at < len(r.in) {
		switch r.in[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next skips white space and returns the character after it, which stays to be read.
func (r *canonicalizer) next() (byte, error) {
	r.space()
	if r.at == len(r.in) {
		return 0, errEnd
	}
	return r.in[r.at], nil
}

func (r *canonicalizer) value(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	c, err := r.next()
	if err != nil {
		return err
	}
	switch {
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '"':
		_, err := r.text()
		return err
	case c == '-' || (c >= '0' && c <= '9'):
		return r.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(r.in[r.at:], []byte(word)) {
			r.at += len(word)
			r.out = append(r.out, word...)
			return nil
		}
		if strings.HasPrefix(word, string(r.in[r.at:])) {
			r.at = len(r.in)
			return errEnd
		}
	}
	return errCharacter
}

func (r *canonicalizer) array(depth int) error {
	r.at++
	r.out = append(r.out, '[')
	for first := true; ; first = false {
		c, err := r.next()
		switch {
		case err != nil:
			return err
		case c == ']' && first:
		case first:
			err = r.value(depth + 1)
		case c == ',':
			r.at++
			r.out = append(r.out, ',')
			err = r.value(depth + 1)
		case c != ']':
			err = errCharacter
		}
		if err != nil {
			return err
		}
		if c, err = r.next(); err != nil {
			return err
		}
		if c == ']' {
			r.at++
			r.out = append(r.out, ']')
			return nil
		}
	}
}

func (r *canonicalizer) object(depth int) error {
	r.at++
	r.out = append(r.out, '{')
	outer := len(r.members)
	for c, err := r.next(); ; c, err = r.next() {
		switch {
		case err != nil:
			return err
		case c == '}' && len(r.members) == outer:
			r.at++
			r.out = append(r.out, '}')
			return nil
		case c != '"':
			if c == '}' || c == ',' || c == ']' {
				return errCharacter
			}
			return errors.New("a member's name must be a string")
		}
		if err := r.member(depth); err != nil {
			return err
		}
		if c, err = r.next(); err != nil {
			return err
		}
		r.at++
		switch c {
		case ',':
			r.out = append(r.out, ',')
		case '}':
			err := r.sort(r.members[outer:])
			r.members = r.members[:outer]
			r.out = append(r.out, '}')
			return err
		default:
			r.at--
			return errCharacter
		}
	}
}

// member reads `"name": value`.
func (r *canonicalizer) member(depth int) error {
	from := len(r.out)
	name, err := r.text()
	if err != nil {
		return err
	}
	c, err := r.next()
	if err != nil {
		return err
	}
	if c != ':' {
		return errCharacter
	}
	r.at++
	r.out = append(r.out, ':')
	if err := r.value(depth + 1); err != nil {
		return err
	}
	r.members = append(r.members, member{name, from, len(r.out)})
	return nil
}

// sort puts the members of an object, which are the end of the output, into order. Most clients send an object's
// members in one order always, but seldom in this one.
func (r *canonicalizer) sort(members []member) error {
	sorted := true
	for i := 1; i < len(members) && sorted; i++ {
		sorted = compareUTF16(members[i-1].name, members[i].name) < 0
	}
	if sorted {
		return nil
	}
	start := members[0].from
	text := append([]byte(nil), r.out[start:]...)
	slices.SortFunc(members, func(a, b member) int { return compareUTF16(a.name, b.name) })
	r.out = r.out[:start]
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return fmt.Errorf("the member %s is there twice", strconv.Quote(m.name))
			}
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, text[m.from-start:m.to-start]...)
	}
	return nil
}

// text reads a string, appends it and returns what it means.
func (r *canonicalizer) text() (string, error) {
	from := r.at + 1
	for r.at = from; r.at < len(r.in); r.at++ {
		switch c := r.in[r.at]; {
		case c == '"':
			// Without escapes a string is its own canonical form.
			r.out = append(r.out, r.in[from-1:r.at+1]...)
			r.at++
			return string(r.in[from : r.at-1]), nil
		case c == '\\':
			return r.escaped(from)
		case c < ' ':
			return "", errCharacter
		}
	}
	return "", errEnd
}

// escaped reads a string that has escapes, of which the first stands here.
func (r *canonicalizer) escaped(from int) (string, error) {
	meaning := append(make([]byte, 0, 2*(r.at-from)+16), r.in[from:r.at]...)
	for r.at < len(r.in) {
		c := r.in[r.at]
		switch {
		case c == '"':
			r.at++
			r.out = appendString(r.out, string(meaning))
			return string(meaning), nil
		case c < ' ':
			return "", errCharacter
		case c != '\\':
			meaning = append(meaning, c)
			r.at++
			continue
		}
		r.at++
		if r.at == len(r.in) {
			return "", errEnd
		}
		switch c := r.in[r.at]; c {
		case '"', '\\', '/':
			meaning = append(meaning, c)
		case 'b':
			meaning = append(meaning, '\b')
		case 'f':
			meaning = append(meaning, '\f')
		case 'n':
			meaning = append(meaning, '\n')
		case 'r':
			meaning = append(meaning, '\r')
		case 't':
			meaning = append(meaning, '\t')
		case 'u':
			u, err := r.unit()
			if err != nil {
				return "", err
			}
			meaning = utf8.AppendRune(meaning, r.pair(u))
			continue
		default:
			return "", errCharacter
		}
		r.at++
	}
	return "", errEnd
}

// unit reads the four digits after \u, of which the u stands here.
func (r *canonicalizer) unit() (rune, error) {
	if len(r.in)-r.at < 5 {
		r.at = len(r.in)
		return 0, errEnd
	}
	n, err := strconv.ParseUint(string(r.in[r.at+1:r.at+5]), 16, 16)
	if err != nil || r.in[r.at+1] == '+' {
		return 0, errCharacter
	}
	r.at += 5
	return rune(n), nil
}

// pair is the character of a UTF-16 unit, with the second half of a surrogate pair when it follows. Half a pair means
// no character: it becomes U+FFFD, as it does in the decoder behind.
func (r *canonicalizer) pair(first rune) rune {
	if !utf16.IsSurrogate(first) {
		return first
	}
	if at := r.at; bytes.HasPrefix(r.in[at:], []byte(`\u`)) {
		r.at++
		if second, err := r.unit(); err == nil {
			if both := utf16.DecodeRune(first, second); both != utf8.RuneError {
				return both
			}
		}
		r.at = at
	}
	return utf8.RuneError
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (r *canonicalizer) number() error {
	from := r.at
	digits := func() int {
		start := r.at
		for r.at < len(r.in) && r.in[r.at] >= '0' && r.in[r.at] <= '9' {
			r.at++
		}
		return r.at - start
	}
	take := func(set string) bool {
		if r.at < len(r.in) && strings.IndexByte(set, r.in[r.at]) >= 0 {
			r.at++
			return true
		}
		return false
	}
	missing := func() error {
		if r.at == len(r.in) {
			return errEnd
		}
		return errCharacter
	}
	negative := take("-")
	if !take("0") && digits() == 0 {
		return missing()
	}
	whole := r.at
	if take(".") && digits() == 0 {
		return missing()
	}
	if take("eE") {
		take("+-")
		if digits() == 0 {
			return missing()
		}
	}
	// A whole number that a double holds exactly is printed as it is.
	if r.at == whole && !negative && whole-from <= 15 {
		r.out = append(r.out, r.in[from:whole]...)
		return nil
	}
	f, err := strconv.ParseFloat(string(r.in[from:r.at]), 64)
	if err != nil || math.IsInf(f, 0) {
		return errors.New("a number too large for a double")
	}
	r.out = appendNumber(r.out, f)
	return nil
}

// compareUTF16 orders names by UTF-16 code units (RFC 8785, section 3.2.3), which differs from Go's order only
// above U+FFFF.
func compareUTF16(a, b string) int {
	if isASCII(a) && isASCII(b) {
		return strings.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendString writes a string as RFC 8785, section 3.2.2.2 says: only what must be escaped is.
func appendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\b':
			out = append(out, '\\', 'b')
		case c == '\f':
			out = append(out, '\\', 'f')
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// appendNumber writes a number as ECMAScript's Number::toString does: as the shortest decimal that reads back
// as the same double.
func appendNumber(out []byte, f float64) []byte {
	if f == 0 {
		return append(out, '0') // also -0
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(out, f, 'f', -1, 64)
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	sign, digits := exponent[:1], strings.TrimLeft(exponent[1:], "0")
	return append(out, mantissa+"e"+sign+digits...)
}
