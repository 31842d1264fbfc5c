package rest

import (
	"net/http"
	"slices"
	"strings"
)

// What pages of an allowed origin may send and read, beyond what every page may. Credentials are not among it: callers are
// known by their token and never by a cookie, so that no page can act for a person who only looks at it.
var (
	corsSend = []string{"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Correlation-ID, traceparent, tracestate"}
	corsRead = []string{"ETag, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, " +
		"WWW-Authenticate, X-Correlation-ID, API-Version, Deprecation, Sunset"}
	corsAge = []string{"600"} // seconds; the most that all browsers keep it is 10 minutes
)

// cors lets pages of the allowed origins read the answer. For other origins nothing is set, and the browser keeps the answer
// from the page: there is no list to be guessed from an error. Whether an origin is allowed changes the answer, so caches
// are told for every answer.
func (a *API) cors(h http.Header, r *http.Request) {
	if len(a.config.Origins) == 0 {
		return
	}
	h["Vary"] = append(h["Vary"], "Origin")
	origins := r.Header["Origin"]
	if len(origins) != 1 || !slices.Contains(a.config.Origins, origins[0]) {
		return
	}
	h["Access-Control-Allow-Origin"] = origins
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h["Access-Control-Expose-Headers"] = corsRead
		return
	}
	h["Vary"] = append(h["Vary"], "Access-Control-Request-Method", "Access-Control-Request-Headers")
	h["Access-Control-Allow-Headers"] = corsSend
	h["Access-Control-Max-Age"] = corsAge
}

// IsOrigin tells whether s is an origin as browsers write it: scheme and host, a port that is not the usual one, in lower
// case, and nothing else. "*" and "null" are none: they stand for pages that nobody knows.
func IsOrigin(s string) bool {
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || (scheme != "https" && scheme != "http") || host == "" || s != strings.ToLower(s) {
		return false
	}
	if scheme == "https" && strings.HasSuffix(host, ":443") || scheme == "http" && strings.HasSuffix(host, ":80") {
		return false
	}
	return !strings.ContainsFunc(host, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.ContainsRune("-.:[]", c))
	})
}
