// Package wire is an HTTP/1.1 client for load generators: one connection, one request under way, requests given as
// bytes, answers read without allocation. net/http's client takes more processor time per request than some of what is
// measured with it, and a generator on the same machine takes that time away from its subject.
//
// It knows what servers answer a generator: a length or chunks, interim answers, and a connection that closes. An
// answer with neither length nor chunks is an error.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Patience is how long an answer may take at least before Do gives up, and twice that at most.
const Patience = 15 * time.Second

// most bounds an answer: larger ones are a mistake of the benchmark.
const most = 8 << 20

// Errors of answers that can't be read.
var (
	ErrMalformed = errors.New("the answer is not HTTP/1.1")
	ErrNoLength  = errors.New("the answer has neither a Content-Length nor chunks")
	ErrTooLarge  = errors.New("the answer is too large")
	ErrExcess    = errors.New("more came than the answer that was asked for")
)

// Response is an answer.
type Response struct {
	Status int
	Body   []byte // valid until the next Do
	Close  bool   // the server closes the connection: Dial again
}

// Conn is one connection. It is used by one goroutine.
type Conn struct {
	net      net.Conn
	buffer   []byte
	end      int // of what was read
	deadline time.Time
}

// Dial connects to an address.
func Dial(ctx context.Context, address string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &Conn{net: c, buffer: make([]byte, 4<<10)}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.net.Close() }

// Do sends a whole request and reads its answer. now is the current time, which callers have just asked for. After an
// error the connection is of no more use.
func (c *Conn) Do(now time.Time, request []byte) (Response, error) {
	// Moving a deadline costs about as much as parsing an answer, so it moves only now and then.
	if c.deadline.Sub(now) < Patience {
		c.deadline = now.Add(2 * Patience)
		if err := c.net.SetDeadline(c.deadline); err != nil {
			return Response{}, fmt.Errorf("setting a deadline: %w", err)
		}
	}
	if _, err := c.net.Write(request); err != nil {
		return Response{}, fmt.Errorf("sending: %w", err)
	}
	c.end = 0
	r, err := c.answer()
	if err != nil {
		return Response{}, fmt.Errorf("reading an answer: %w", err)
	}
	return r, nil
}

// answer reads one answer, after any number of interim ones.
func (c *Conn) answer() (Response, error) {
	at := 0
	for {
		h, body, err := c.head(at)
		if err != nil {
			return Response{}, err
		}
		if h.status < 200 {
			if h.status == 101 {
				return Response{}, fmt.Errorf("%w: it changes the protocol", ErrMalformed)
			}
			at = body
			continue
		}
		r := Response{Status: h.status, Close: h.close}
		end := body
		switch {
		case h.status == 204 || h.status == 304: // never have a body
		case h.chunked:
			r.Body, end, err = c.chunks(body)
		case h.length < 0:
			err = ErrNoLength
		case h.length > most:
			err = ErrTooLarge
		default:
			end = body + h.length
			if err = c.fill(end); err == nil {
				r.Body = c.buffer[body:end]
			}
		}
		if err == nil && c.end != end {
			err = ErrExcess
		}
		return r, err
	}
}

// fill reads until the buffer holds at least end bytes.
func (c *Conn) fill(end int) error {
	for c.end < end {
		if err := c.more(); err != nil {
			return err
		}
	}
	return nil
}

// more reads once. An end of the stream is unexpected: every answer says where it ends.
func (c *Conn) more() error {
	if c.end == len(c.buffer) {
		if len(c.buffer) >= most {
			return ErrTooLarge
		}
		larger := make([]byte, 2*len(c.buffer)) // once in a connection's life or two
		copy(larger, c.buffer)
		c.buffer = larger
	}
	n, err := c.net.Read(c.buffer[c.end:])
	c.end += n
	if n > 0 {
		return nil // an error comes again
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
