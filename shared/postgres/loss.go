package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// isConnectionLoss tells whether err is the connection breaking under a statement, as when the server is killed.
func isConnectionLoss(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &op)
}

// broke tells whether what was asked can be asked again at once, on another connection: this one broke, or the server
// ended it. Not what took too long, which would take as long again, and not what never began.
func broke(err error) bool {
	if code := Code(err); code != "" {
		return leaving(code)
	}
	return !errors.Is(err, dependency.ErrOpen) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) &&
		(pgconn.SafeToRetry(err) || isConnectionLoss(err))
}
