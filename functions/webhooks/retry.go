package webhooks

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/company/order-catalog-service/shared/egress"
)

// schedule is Standard Webhooks' own: the first attempt at once, then after these pauses.
var schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	maxRetryAfter = 24 * time.Hour
	busyPause     = 5 * time.Second // after an attempt that our own limits kept from being made

	// The circuit opens at threshold failures in a row, and its pauses grow from the first to the last.
	threshold  = 5
	firstPause = 30 * time.Second
	lastPause  = 10 * time.Minute
	// halfOpen is how long the one attempt through an open circuit keeps the others waiting: longer than it takes.
	halfOpen = 30 * time.Second

	probeEvery = time.Hour

	maxExcerpt = 1024
	maxError   = 300
)

// kind is what an attempt means.
type kind int

const (
	succeeded   kind = iota
	failed           // try again later
	throttled        // try again later, and leave the endpoint alone for a while
	goneForever      // the receiver says never again
	notMade          // our own limits were in the way; the endpoint had no part in it
)

// outcome is what an attempt met.
type outcome struct {
	kind       kind
	status     *int
	latency    time.Duration
	err        string
	excerpt    string
	retryAfter time.Duration // as the receiver asked, 0 when it didn't
}

// judge reads an answer: success is 2xx whole and in time, and nothing else. A redirect is not followed, as it would
// lead past what was registered.
func judge(res egress.Result, err error, now time.Time) outcome {
	o := outcome{kind: failed, latency: res.Latency, excerpt: cut(res.Excerpt, maxExcerpt)}
	if res.Status != 0 {
		o.status = &res.Status
	}
	if err != nil {
		o.err = cut(err.Error(), maxError)
		if errors.Is(err, egress.ErrBusy) {
			o.kind = notMade
		}
		return o
	}
	o.retryAfter = retryAfter(res.Header.Get("Retry-After"), now)
	switch s := res.Status; {
	case s >= 200 && s < 300:
		o.kind = succeeded
	case s >= 300 && s < 400:
		o.err = "redirects are not followed: change the endpoint's URL"
	case s == http.StatusGone:
		o.kind = goneForever
	case s == http.StatusTooManyRequests, s == http.StatusBadGateway, s == http.StatusGatewayTimeout:
		o.kind = throttled
	}
	return o
}

// retryAfter reads both forms of the header, seconds and a date. What it can't read counts as absent.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		d = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// next is how long to wait after the round's failed attempt, false when that was the last. With jitter: endpoints
// that failed together don't come back together.
func (l Limits) next(round int, o outcome) (time.Duration, bool) {
	if round > len(l.Schedule) {
		return 0, false
	}
	pause := l.Schedule[round-1]
	pause += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(pause)) //nolint:gosec // jitter is no secret
	return max(pause, o.retryAfter), true
}

// pause is how long an endpoint is left alone after so many failures in a row.
func pause(failures int, o outcome) time.Duration {
	var d time.Duration
	if failures >= threshold {
		d = min(firstPause<<min(failures-threshold, 10), lastPause)
	}
	if o.kind == throttled {
		d = max(d, firstPause, o.retryAfter)
	}
	return d
}

// cut shortens text to at most limit bytes, between two characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
