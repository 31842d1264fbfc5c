package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/ratelimit"
)

// MaxKey is the longest key in bytes.
const MaxKey = 255

// ErrKeyMissing and ErrKeyInvalid say what is wrong with an Idempotency-Key header.
var (
	ErrKeyMissing = errors.New("the Idempotency-Key header is missing")
	ErrKeyInvalid = errors.New("the Idempotency-Key header is not valid")
)

// ParseKey reads the values of the Idempotency-Key header. The standard's form is a structured-field string,
// `"8e03978e"`; the bare form is accepted as most clients send it, and both are the same key.
func ParseKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", ErrKeyMissing
	}
	if len(values) > 1 {
		return "", fmt.Errorf("%w: it was sent %d times", ErrKeyInvalid, len(values))
	}
	key := values[0]
	if key != "" && key[0] == '"' {
		unquoted, err := unquote(key)
		if err != nil {
			return "", err
		}
		key = unquoted
	}
	if key == "" {
		return "", fmt.Errorf("%w: it is empty", ErrKeyInvalid)
	}
	if len(key) > MaxKey {
		return "", fmt.Errorf("%w: it is %d bytes long, at most %d are allowed", ErrKeyInvalid, len(key), MaxKey)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", fmt.Errorf("%w: only printable ASCII is allowed, byte %d is not", ErrKeyInvalid, i+1)
		}
	}
	return key, nil
}

// unquote reads a structured-field string (RFC 9651, section 4.2.5).
func unquote(s string) (string, error) {
	out := make([]byte, 0, len(s))
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) || (s[i] != '"' && s[i] != '\\') {
				return "", fmt.Errorf("%w: a backslash must be followed by a quote or a backslash", ErrKeyInvalid)
			}
			out = append(out, s[i])
		case '"':
			if i != len(s)-1 {
				return "", fmt.Errorf("%w: text after the closing quote", ErrKeyInvalid)
			}
			return string(out), nil
		default:
			out = append(out, s[i])
		}
	}
	return "", fmt.Errorf("%w: the closing quote is missing", ErrKeyInvalid)
}

// Request is one keyed write.
type Request struct {
	Caller      uuid.UUID // auth.Identity.Key of who asks: equal keys of two callers never meet
	Operation   string    // the operation's id
	Key         string    // as ParseKey returned it
	Fingerprint [sha256.Size]byte
	// Sealed says that the answer holds a secret: its body is stored encrypted in the row and nowhere else. Set it
	// for every request of an operation, replays included; Store.Do knows it, SaveArgs and ScanFound don't.
	Sealed bool
	// Charge is the call's rate limit bill, which Store.Guard pays; nil is not limited.
	Charge *ratelimit.Charge
	// Hold is a key of Redis, with the caller as its hash tag, whose value must not be believed from before this write
	// begins until it must have been answered: the claim puts HoldMark there for its own life, in the same round trip. ""
	// holds nothing. Lost is told when Redis did not answer: then nothing may be held.
	Hold string
	Lost func()
}

// HoldMark is the value of a key that is held.
const HoldMark = "H"

// Digest is the row's primary key: caller, operation and key, each with its length, so that no two different
// triples digest the same text.
func (r Request) Digest() [sha256.Size]byte {
	return digest(r.Caller[:], []byte(r.Operation), []byte(r.Key))
}

// ID names this request, with its fingerprint: another body under the same key is another request. It is a UUID of
// version 8, made of a digest over caller, operation, key and fingerprint, each with its length.
func (r Request) ID() uuid.UUID {
	sum := digest(r.Caller[:], []byte(r.Operation), []byte(r.Key), r.Fingerprint[:])
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Fingerprint digests what a key must not change about a request: method, path and the body in canonical form
// (see Canonical).
func Fingerprint(method, path string, canonicalBody []byte) [sha256.Size]byte {
	return digest([]byte(method), []byte(path), canonicalBody)
}

func digest(parts ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
