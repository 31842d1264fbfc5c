// Package signature signs what the service posts to a customer's URL, and verifies it where it arrives, as
// Standard Webhooks 1.0.0 says (https://www.standardwebhooks.com): three headers, of which the last holds a
// signature for every key that is valid at the moment.
//
// A receiver that uses any published library of that standard needs no code of ours. Verify is for receivers
// written in Go, this repository's own among them. Read Sign, then key.go for what a key is.
package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far a delivery's timestamp may be from the receiver's clock, either way. Within it the receiver
// must remember the ids it has seen, or a delivery that was listened to can be played again.
const Tolerance = 5 * time.Minute

// maxSignatures bounds what a stranger's header can make Verify compute: an ed25519 check costs 50 µs, and a
// header of a megabyte would hold ten thousand of them.
const maxSignatures = 16

// Why Verify refuses.
var (
	ErrMissingHeader = errors.New("webhook-id, webhook-timestamp or webhook-signature is missing, malformed or there twice")
	ErrTooOld        = errors.New("the delivery was signed more than five minutes ago: is it a replay, or is this clock ahead?")
	ErrTooNew        = errors.New("the delivery was signed more than five minutes from now: is this clock behind?")
	ErrNoMatch       = errors.New("no signature fits: another secret, or the body isn't byte for byte what was signed")
)

// Sign sets the three headers for one attempt, with a signature by each of the keys: the new and the old one while
// a rotation's overlap lasts. id is the same on every attempt of an event and at is each attempt's own; body is
// what is sent, byte for byte.
//
// The id must be letters, digits, - and _: a dot in it would let a part of the id pass for a timestamp.
func Sign(header http.Header, id string, at time.Time, body []byte, keys ...Key) error {
	if !validID(id) {
		return fmt.Errorf("signing webhook %q: the id must be 1 to 255 letters, digits, - and _", id)
	}
	if len(keys) == 0 {
		return fmt.Errorf("signing webhook %s: there is no key", id)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	content := signedContent(id, stamp, body)
	list := make([]string, 0, len(keys))
	for _, k := range keys {
		sum, err := k.sign(content)
		if err != nil {
			return fmt.Errorf("signing webhook %s: %w", id, err)
		}
		list = append(list, k.version()+","+base64.StdEncoding.EncodeToString(sum))
	}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, stamp)
	header.Set(HeaderSignature, strings.Join(list, " "))
	return nil
}

// Verify checks that one of the keys signed this body, id and time, and that the time is near now. What it does
// not check is whether the id came before: deliveries are repeated until they are answered, and the receiver
// treats an id it knows as done.
func Verify(header http.Header, body []byte, now time.Time, keys ...Key) error {
	id, stamp, list := only(header, HeaderID), only(header, HeaderTimestamp), only(header, HeaderSignature)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	// The signed content holds the header's own text: a second spelling of the same number ("+1", "01") is
	// nothing we sent.
	if err != nil || strconv.FormatInt(seconds, 10) != stamp || !validID(id) || list == "" {
		return ErrMissingHeader
	}
	// Compared as seconds: a Time or a Duration would overflow with what a stranger may write here.
	if seconds < now.Add(-Tolerance).Unix() {
		return ErrTooOld
	}
	if seconds > now.Add(Tolerance).Unix() {
		return ErrTooNew
	}
	content := signedContent(id, stamp, body)
	for n, one := range strings.Fields(list) {
		if n == maxSignatures {
			break
		}
		version, encoded, _ := strings.Cut(one, ",")
		sum, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			continue // of a version to come, or nonsense: the next one may fit
		}
		for _, k := range keys {
			if k.version() == version && k.verify(content, sum) {
				return nil
			}
		}
	}
	return ErrNoMatch
}

func signedContent(id, stamp string, body []byte) []byte {
	content := make([]byte, 0, len(id)+len(stamp)+2+len(body))
	content = append(content, id...)
	content = append(content, '.')
	content = append(content, stamp...)
	content = append(content, '.')
	return append(content, body...)
}

func validID(id string) bool {
	return id != "" && len(id) <= 255 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// only is the header's value when it has exactly one: of two, a proxy might have looked at the other.
func only(header http.Header, name string) string {
	if values := header.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}
