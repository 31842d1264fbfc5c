package egress

import (
	"context"
	"errors"
	"net"
)

// Why an attempt got no whole answer. The texts go to the endpoint's owner, so they name no address, and a name
// that leads nowhere reads like one that leads inside: the difference would tell strangers which names our
// network knows.
var (
	ErrBadURL         = errors.New("the URL can't be used")
	ErrRefusedAddress = errors.New("the host name does not lead to an address on the public internet")
	ErrUnresolved     = errors.New("the host name does not lead to an address on the public internet")
	ErrConnect        = errors.New("no connection: the host refuses it or can't be reached")
	ErrTLS            = errors.New("no secure connection: the certificate must be valid for this host and publicly trusted, and the server must speak TLS 1.2 or 1.3")
	ErrTimeout        = errors.New("no complete answer in time")
	ErrAnswer         = errors.New("the answer broke off, or is not HTTP/1.1 with less than 16 KiB of headers")
	// ErrBusy is ours, not the endpoint's: all connections that one host may have were taken for the whole of the
	// attempt's time, and nothing was sent.
	ErrBusy = errors.New("too many deliveries to this host are waiting for their answers")
)

// errRefused is the guard's verdict on an address, inside of the dialer's error.
var errRefused = errors.New("not a public address")

// Error is a failed attempt. Error() may be shown to the endpoint's owner; Cause has addresses and the like, and
// goes to the log.
type Error struct {
	Reason error // one of the Err variables
	Cause  error
}

// Error is the reason.
func (e *Error) Error() string { return e.Reason.Error() }

// Unwrap is the reason, not the cause: whatever prints the chain prints nothing of ours.
func (e *Error) Unwrap() error { return e.Reason }

// explain says what ended an attempt. asked is the caller's context: its cancellation is no verdict on the endpoint.
func explain(asked, limited context.Context, p *progress, err error) error {
	if errors.Is(asked.Err(), context.Canceled) {
		return context.Cause(asked)
	}
	return &Error{Reason: reason(limited, p, err), Cause: err}
}

func reason(limited context.Context, p *progress, err error) error {
	var (
		lookup  *net.DNSError
		network net.Error
		op      *net.OpError
	)
	switch {
	case errors.Is(err, errRefused):
		return ErrRefusedAddress
	case limited.Err() != nil && !p.begun.Load():
		return ErrBusy
	case limited.Err() != nil:
		return ErrTimeout
	case errors.As(err, &lookup):
		return ErrUnresolved
	case errors.As(err, &network) && network.Timeout():
		return ErrTimeout
	case p.tlsFailed.Load():
		return ErrTLS
	case errors.As(err, &op) && op.Op == "dial":
		return ErrConnect
	}
	return ErrAnswer
}
