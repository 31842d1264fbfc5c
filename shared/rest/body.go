package rest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// thrownAway is how many bytes of a body that is too large are taken, and forgotten, before its sender is told. Whoever
// sends all of it before listening (the host does) would else find the connection closed in place of the answer.
const thrownAway = 16 << 20

// ReadBody returns the body of r, of up to limit bytes, for which the client has BodyTime. An error is a *Problem.
func (a *API) ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	var raw bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= limit {
		raw.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	// A client that takes its time may hold a permit meanwhile, so it doesn't get much.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(a.config.BodyTime)) // of a test's recorder there is none
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	_, err := raw.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return raw.Bytes(), nil
	case errors.As(err, &tooLarge):
		_, _ = io.CopyN(io.Discard, r.Body, thrownAway) // however much of it comes, and comes in time
		return nil, NewProblem(PayloadTooLarge, "The body is larger than %d bytes.", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header()["Connection"] = closing // what would come next on it is the rest of this body
		return nil, NewProblem(requestTimeout, "The body did not arrive whole within %s.", a.config.BodyTime)
	default:
		return nil, NewProblem(Malformed, "The body could not be read to its end.")
	}
}
