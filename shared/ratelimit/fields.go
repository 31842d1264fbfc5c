package ratelimit

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Fields sets RateLimit-Policy and, when the call was charged, RateLimit: structured fields as in
// draft-ietf-httpapi-ratelimit-headers.
func (c *Charge) Fields(h http.Header) {
	if c == nil {
		return
	}
	h["Ratelimit-Policy"] = append(h["Ratelimit-Policy"], c.limit.header)
	if c.n == 0 {
		return
	}
	b := make([]byte, 0, 64)
	for i, s := range c.standings[:c.n] {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, '"'), s.Policy...), `";r=`...)
		b = strconv.AppendInt(b, int64(s.Remaining), 10)
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, seconds(s.Reset), 10)
	}
	h["Ratelimit"] = append(h["Ratelimit"], string(b))
}

// RefusalFields is Fields where the call was refused, and nothing else: of a budget that many share, how much is left tells
// each of them what the others do.
func (c *Charge) RefusalFields(h http.Header) {
	if c != nil && c.free && !c.away {
		c.Fields(h)
	}
}

// seconds rounds up: who comes back then shall not be a moment too early.
func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

// RetryAfter is when to come back, in seconds: when there is room, and up to a tenth of that or three seconds later, so
// that not all come back at once.
func (e *RefusedError) RetryAfter() int64 {
	wait := seconds(e.Wait)
	return wait + rand.Int64N(max(3, wait/10)+1) //nolint:gosec // spreads clients, keeps no secret
}
