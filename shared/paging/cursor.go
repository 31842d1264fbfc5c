// Package paging makes cursors: where a list goes on, in a form that only this service can have written.
//
// A cursor holds the sort values of the last row (keyset paging: no OFFSET, and rows that come or go meanwhile
// shift nothing). It is authenticated and bound to its scope, the operation with its filters and its caller, so
// that a cursor of one list means nothing to another.
package paging

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
)

// Page sizes that a caller may ask for.
const (
	DefaultSize = 20
	MaxSize     = 100
)

// ErrBadCursor says that a cursor is not one of ours for this list.
var ErrBadCursor = errors.New("the cursor does not belong to this list")

const (
	version = 1
	macSize = 16
	// maxCursor fits 200 characters of which JSON makes six bytes each, the longest name there is, and an id.
	maxCursor = 2048
)

// Codec writes and reads cursors. It is safe for concurrent use.
type Codec struct {
	keys atomic.Pointer[[][]byte]
}

// NewCodec makes a codec. The first key signs and all verify, so that a new key can be put in front while
// cursors of the old one are still out.
func NewCodec(keys ...[]byte) *Codec {
	c := &Codec{}
	c.Use(keys...)
	return c
}

// Use changes the keys; there must be one.
func (c *Codec) Use(keys ...[]byte) {
	derived := make([][]byte, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("page cursors v1")) // the key serves other uses as well: each gets its own
		derived[i] = mac.Sum(nil)
	}
	c.keys.Store(&derived)
}

// Scope names a list: its parts are joined with their lengths, so that no two lists share a scope.
func Scope(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p))) //nolint:gosec // parts are bounded by the URL's length
		b.Write(n[:])
		b.WriteString(p)
	}
	return b.String()
}

// Encode writes the position as a cursor of the scope. position is a JSON-encodable value.
func (c *Codec) Encode(scope string, position any) (string, error) {
	body, err := json.Marshal(position)
	if err != nil {
		return "", fmt.Errorf("writing a cursor: %w", err)
	}
	raw := append([]byte{version}, body...)
	cursor := base64.RawURLEncoding.EncodeToString(append(raw, mac((*c.keys.Load())[0], scope, raw)...))
	if len(cursor) > maxCursor {
		return "", fmt.Errorf("writing a cursor: it has %d bytes, and Decode takes %d", len(cursor), maxCursor)
	}
	return cursor, nil
}

// Decode reads a cursor of the scope into position. Anything else is ErrBadCursor.
func (c *Codec) Decode(scope, cursor string, position any) error {
	if len(cursor) > maxCursor || strings.ContainsAny(cursor, "\r\n") { // which the decoder would pass over
		return ErrBadCursor
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= 1+macSize || raw[0] != version {
		return ErrBadCursor
	}
	body, sum := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	for _, key := range *c.keys.Load() {
		if hmac.Equal(sum, mac(key, scope, body)) {
			if err := json.Unmarshal(body[1:], position); err != nil {
				return ErrBadCursor
			}
			return nil
		}
	}
	return ErrBadCursor
}

func mac(key []byte, scope string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(scope)))
	h.Write(n[:])
	h.Write([]byte(scope))
	h.Write(body)
	return h.Sum(nil)[:macSize]
}

// Link is the Link header (RFC 8288) of a page: relative references that keep all of the query and change the
// cursor. next is "" on the last page.
func Link(path string, query url.Values, next string) string {
	ref := func(cursor, rel string) string {
		q := url.Values{}
		for name, values := range query {
			if name != "cursor" && name != "page" {
				q[name] = values
			}
		}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		target := path
		if len(q) > 0 {
			target += "?" + q.Encode()
		}
		return "<" + target + `>; rel="` + rel + `"`
	}
	link := ref("", "first")
	if next != "" {
		link = ref(next, "next") + ", " + link
	}
	return link
}
