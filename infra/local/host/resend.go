package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"
)

// resender sends a request as stubbornly as the real host does: ten attempts with pauses that add up to 1.9 seconds,
// each attempt up to four times when the connection is closed before the first byte of an answer. So a request
// without a body that the handler closes the connection on arrives forty times, and one that kills the handler is
// sent to every process that follows, until the third crash ends the host. All copies carry one invocation id.
//
// A body is sent once: its request is tried again only while no connection could be made, but the client waits all
// the same.
type resender struct {
	job *job
}

// sendsPerAttempt is the HTTP client's own stubbornness, below the host's.
const sendsPerAttempt = 4

var (
	errNoActivity = errors.New("the handler sent no answer in time")
	errHeaderText = errors.New("a request header holds text beyond ASCII, which the host can't send on")
	errNoProcess  = errors.New("no handler is running")
)

// RoundTrip implements http.RoundTripper.
func (s resender) RoundTrip(req *http.Request) (*http.Response, error) {
	in := invocationOf(req.Context())
	bodyless := req.Body == nil || req.Body == http.NoBody
	if bodyless {
		req.Body = unreplayable(req)
	}
	var failure error
	for attempt := 0; ; attempt++ {
		if bodyless || failure == nil || notSent(failure) {
			var res *http.Response
			res, failure = s.attempt(req, in, bodyless)
			if failure == nil {
				return withoutTrailers(res, in), nil
			}
		}
		waits := s.job.host.options.Limits.Resend
		if attempt == len(waits) || final(failure) {
			return nil, failure
		}
		if err := s.pause(req.Context(), waits[attempt]); err != nil {
			return nil, fmt.Errorf("%w, after %w", err, failure)
		}
	}
}

// pause waits before the next attempt, unless there is no point in one.
func (s resender) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.job.handler.over()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.job.ctx.Done():
		return context.Cause(s.job.ctx)
	}
}

// attempt sends to the newest process, ready or not: the port is the same and it may listen by now.
func (s resender) attempt(req *http.Request, in *invocation, bodyless bool) (*http.Response, error) {
	if in.refused {
		return nil, errHeaderText
	}
	var failure error
	for range sendsPerAttempt {
		p := s.job.handler.newest()
		if p == nil {
			return nil, errNoProcess
		}
		in.sentTo(p)
		res, err := p.proxied.RoundTrip(req)
		if err == nil {
			return res, nil
		}
		if cause := context.Cause(req.Context()); cause != nil {
			return nil, cause
		}
		var network net.Error
		if errors.As(err, &network) && network.Timeout() {
			return nil, fmt.Errorf("%w: %w", errNoActivity, err)
		}
		if failure = err; !bodyless || !errors.Is(err, io.EOF) {
			break
		}
	}
	return nil, failure
}

// final failures are not tried again.
func final(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.Is(err, context.Canceled) || errors.Is(err, errFunctionTimeout) || errors.Is(err, errNoActivity) || errors.As(err, &tooLarge)
}

// notSent tells that no byte of the request can have reached the handler.
func notSent(err error) bool {
	var operation *net.OpError
	return errors.Is(err, errNoProcess) || errors.As(err, &operation) && operation.Op == "dial"
}

// unreplayable keeps net/http from sending a request again by itself, which it does for one without a body when a
// connection that was used before breaks, and which would be more often than the real host does. A body that turns
// out empty stops it and leaves the wire as it is; for methods that announce an empty body it would show, so a POST
// without a body but with an Idempotency-Key keeps net/http's one more time.
func unreplayable(req *http.Request) io.ReadCloser {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete:
		return emptyBody{}
	default:
		return nil
	}
}

type emptyBody struct{}

// Read implements io.Reader.
func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (emptyBody) Close() error { return nil }

// withoutTrailers drops trailers, which the real host was seen not to deliver, and notes their names, which it does
// announce. The copy is what keeps them away: the body fills in those of the original when it ends.
func withoutTrailers(res *http.Response, in *invocation) *http.Response {
	if len(res.Trailer) == 0 {
		return res
	}
	in.trailers = slices.Sorted(maps.Keys(res.Trailer))
	without := *res
	without.Trailer = nil
	return &without
}
