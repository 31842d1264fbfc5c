package idempotency

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Answer is a finished response: what is sent, stored and replayed, byte for byte.
type Answer struct {
	Status       int
	ContentType  string
	Location     string
	ETag         string
	CacheControl string
	Link         string
	RetryAfter   string
	// Applied is the preference of the client's that this answer follows (RFC 7240, section 3).
	Applied string
	Body    []byte
	// Replayed says that the answer was made for an earlier request with the same key.
	Replayed bool
}

// Refused tells whether the answer says no.
func (a Answer) Refused() bool { return a.Status >= 400 }

// header is the part of an Answer that is kept in the row's header column: what means something to a replay.
// Cache-Control, Retry-After and Preference-Applied are about the moment and are not kept.
type header struct {
	ContentType string `json:"contentType,omitempty"`
	Location    string `json:"location,omitempty"`
	ETag        string `json:"etag,omitempty"`
}

func (a Answer) header() ([]byte, error) {
	return json.Marshal(header{ContentType: a.ContentType, Location: a.Location, ETag: a.ETag})
}

func stored(status int, rawHeader, body []byte) (Answer, error) {
	var h header
	if err := json.Unmarshal(rawHeader, &h); err != nil {
		return Answer{}, fmt.Errorf("reading a stored answer: %w", err)
	}
	return Answer{
		Status: status, ContentType: h.ContentType, Location: h.Location, ETag: h.ETag, Body: body, Replayed: true,
	}, nil
}

// What a caller is told instead of an answer.
var (
	// ErrInFlight: a request with the same key is being worked on. Not an error of the client's.
	ErrInFlight = errors.New("a request with this Idempotency-Key is in flight")
	// ErrKeyReused: the key was used for a different request.
	ErrKeyReused = errors.New("the Idempotency-Key was used for a different request")
)
