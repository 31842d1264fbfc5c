package servicebus

import (
	"errors"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// Conditions that the clients know.
const (
	condDecode           = "amqp:decode-error"
	condInvalidField     = "amqp:invalid-field"
	condNotAllowed       = "amqp:not-allowed"
	condNotFound         = "amqp:not-found"
	condNotImplemented   = "amqp:not-implemented"
	condUnauthorized     = "amqp:unauthorized-access"
	condFraming          = "amqp:connection:framing-error"
	condDetachForced     = "amqp:link:detach-forced"
	condTooLarge         = "amqp:link:message-size-exceeded"
	condLockLost         = "com.microsoft:message-lock-lost"
	condMessageNotFound  = "com.microsoft:message-not-found"
	condSessionLocked    = "com.microsoft:session-cannot-be-locked"
	condSessionLockLost  = "com.microsoft:session-lock-lost"
	condTimeout          = "com.microsoft:timeout"
	condServerBusy       = "com.microsoft:server-busy"
	codeError            = 0x1d
	errorInfoPlace       = 2
	maxDescriptionLength = 1024
)

// wireError is an error that a client is told: a condition it decides by and a sentence for people.
type wireError struct{ condition, description string }

func (e *wireError) Error() string { return e.condition + ": " + e.description }

func (e *wireError) wire() amqp.Described {
	return amqp.Described{Code: uint64(codeError), Value: []any{amqp.Symbol(e.condition), e.description}}
}

var (
	errLockLost        = &wireError{condLockLost, "The lock is not valid: it expired, or the message was settled."}
	errSessionLockLost = &wireError{condSessionLockLost, "The session's lock was lost; accept the session again."}
	errNoSession       = &wireError{condNotAllowed, "The entity requires sessions, and the message has no session id."}
	errTooLarge        = &wireError{condTooLarge, "The message is larger than the entity takes."}
)

// toWire makes any error one that can be told. What isn't ours came from decoding what the client sent.
func toWire(err error) *wireError {
	var e *wireError
	if errors.As(err, &e) {
		return e
	}
	text := err.Error()
	return &wireError{condDecode, text[:min(len(text), maxDescriptionLength)]}
}
