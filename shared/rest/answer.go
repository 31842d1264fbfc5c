package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

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

// MatchStrong is the comparison of If-Match (RFC 9110, section 13.1.1): weak tags never match. etag "" means
// that there is nothing to match.
func MatchStrong(header, etag string) bool {
	return match(header, etag, func(tag string) bool { return tag == etag })
}

// MatchWeak is the comparison of If-None-Match (section 13.1.2).
func MatchWeak(header, etag string) bool {
	return match(header, etag, func(tag string) bool {
		return strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/")
	})
}

func match(header, etag string, same func(string) bool) bool {
	if etag == "" {
		return false
	}
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || same(tag) {
			return true
		}
	}
	return false
}

// write sends an answer. A GET whose client has these bytes already gets 304 without them.
func write(w http.ResponseWriter, r *http.Request, a Answer) {
	h := w.Header()
	for _, f := range [...]struct{ name, value string }{
		{"Location", a.Location}, {"Etag", a.ETag}, {"Link", a.Link}, {"Retry-After", a.RetryAfter}, {"Preference-Applied", a.Applied},
	} {
		if f.value != "" {
			h[f.name] = []string{f.value}
		}
	}
	if a.CacheControl != "" {
		h["Cache-Control"] = []string{a.CacheControl}
	}
	if a.Replayed {
		h["Idempotent-Replayed"] = []string{"true"}
	}
	if a.Status == http.StatusOK && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if tags := r.Header.Get("If-None-Match"); tags != "" && MatchWeak(tags, a.ETag) {
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
