package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/company/order-catalog-service/shared/idempotency"
)

// Answer is a finished response. It is the same type that the idempotency layer stores, so that what is sent and
// what is replayed can't differ.
type Answer = idempotency.Answer

// JSON is an answer with v as its body and an ETag made of its bytes.
func JSON(status int, v any) (Answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Answer{}, fmt.Errorf("encoding an answer: %w", err)
	}
	return Answer{Status: status, ContentType: "application/json", ETag: ETag(body), Body: body}, nil
}

// ETag is a strong validator: a digest of the bytes. A version number would repeat itself with other content
// after a cache was flushed or a backup restored; the bytes can't.
func ETag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// write sends an answer. A GET whose client has these bytes already gets 304 without them.
func write(w http.ResponseWriter, r *http.Request, a Answer) {
	h := w.Header()
	for _, f := range [...]struct{ name, value string }{
		{"Location", a.Location}, {"Etag", a.ETag}, {"Retry-After", a.RetryAfter}, {"Preference-Applied", a.Applied},
	} {
		if f.value != "" {
			h[f.name] = []string{f.value}
		}
	}
	if a.Link != "" {
		h["Link"] = append(h["Link"], a.Link) // beside what is said of a version on its way out
	}
	if a.CacheControl != "" {
		h["Cache-Control"] = []string{a.CacheControl}
	}
	if a.Replayed {
		From(r.Context()).Note(slog.Bool("replayed", true))
		h["Idempotent-Replayed"] = []string{"true"}
	}
	if a.Status == http.StatusOK && reads(r.Method) {
		if tags := list(r.Header, "If-None-Match"); tags != "" && MatchWeak(tags, a.ETag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if a.ContentType != "" {
		h["Content-Type"] = []string{a.ContentType}
	}
	w.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.Body) // a client that left is nobody to tell
	}
}
