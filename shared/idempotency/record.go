package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
)

// An answer as Redis keeps it: 'A', the fingerprint, the status in two bytes, content type, location and ETag each after
// its length in two bytes, then the body.

// pack writes an answer. What is longer than its length can say is not one of ours, and is cut.
func pack(fingerprint [sha256.Size]byte, a Answer) []byte {
	b := make([]byte, 0, 1+len(fingerprint)+8+len(a.ContentType)+len(a.Location)+len(a.ETag)+len(a.Body))
	b = append(b, answerMark)
	b = append(b, fingerprint[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Status)) //nolint:gosec // a status
	for _, field := range [...]string{a.ContentType, a.Location, a.ETag} {
		field = field[:min(len(field), 1<<16-1)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(field))) //nolint:gosec // cut above
		b = append(b, field...)
	}
	return append(b, a.Body...)
}

// unpack reads what pack wrote; ok is false for anything else.
func unpack(s string) (fingerprint string, a Answer, ok bool) {
	if s == "" || s[0] != answerMark {
		return "", Answer{}, false
	}
	s = s[1:]
	next := func(n int) (field string) {
		if n < 0 || len(s) < n {
			ok = false
			return ""
		}
		field, s = s[:n], s[n:]
		return field
	}
	number := func() int {
		if field := next(2); len(field) == 2 {
			return int(field[0])<<8 | int(field[1])
		}
		return 0
	}
	ok = true
	fingerprint = next(sha256.Size)
	a.Status = number()
	for _, field := range [...]*string{&a.ContentType, &a.Location, &a.ETag} {
		*field = next(number())
	}
	a.Body, a.Replayed = []byte(s), true
	return fingerprint, a, ok && a.Status >= 100
}
