package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
)

// isConnectionLoss tells whether err is the connection breaking under a statement, as when the server is killed.
func isConnectionLoss(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &op)
}
