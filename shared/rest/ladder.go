package rest

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// Rung is a step of the degradation ladder that an operator turns by hand (docs/resilience.md). Each takes something from
// callers before it costs anything, and leaves the rest. Several can be combined.
type Rung uint32

// The rungs.
const (
	// SearchOff refuses searches of the catalog, which are the dearest reads; lists without one go on.
	SearchOff Rung = 1 << iota
	// CartsReadOnly refuses changes of carts.
	CartsReadOnly
	// ReadOnly refuses all writes but operators' own, or nobody could turn it off again. What runs by itself goes on: the
	// drain, deliveries, the confirmation of orders, and the placing of those that were answered 202 before.
	ReadOnly
)

// RungsOf are the rungs that refuse an operation, by its tag and method.
func RungsOf(tag, method string) Rung {
	switch {
	case reads(method), tag == "Operations":
		return 0
	case tag == "Carts":
		return CartsReadOnly | ReadOnly
	default:
		return ReadOnly
	}
}

// rungs are those that may refuse the operation.
func (op Operation) rungs() Rung {
	all := RungsOf(op.Tag, op.Method)
	if op.Search != "" {
		all |= SearchOff
	}
	return all
}

// Turn turns a rung on or off: from the next request on. What is being worked on goes on to its end, so that no write is
// left half done.
func (a *API) Turn(rung Rung, on bool) {
	if on {
		a.off.Or(uint32(rung))
	} else {
		a.off.And(^uint32(rung))
	}
}

// Off is nil while none of the rungs is turned on, else the error that the caller is told.
func (a *API) Off(rungs Rung) error {
	on := rungs & Rung(a.off.Load())
	switch {
	case on == 0:
		return nil
	case on&ReadOnly != 0:
		return errReadOnly
	case on&CartsReadOnly != 0:
		return errCartsReadOnly
	default:
		return errSearchOff
	}
}

// offFor is Off for a request of an operation. rungs are the operation's own.
func (a *API) offFor(op Operation, rungs Rung, r *http.Request) error {
	err := a.Off(rungs)
	if errors.Is(err, errSearchOff) && strings.TrimSpace(r.URL.Query().Get(op.Search)) == "" {
		return nil // a list
	}
	return err
}

// offError says that an operator has turned off what a request asks for.
type offError struct {
	kind   ProblemKind
	detail string
}

// Error implements error.
func (e *offError) Error() string { return e.detail }

// A search that is off frees capacity for the rest. Writes that are off have nothing to be written to just now: their
// caller does as when the database is away, which is to come back with the same key. That goes for repeats too. The
// answer of one that was stored before is kept, and given when the writes are back: until then not even keys are looked
// at, so that nobody has to ask what a repeat does to a database that shall be left alone.
var (
	errSearchOff     = &offError{Overloaded, "Search is switched off for now; lists without a search can be read."}
	errCartsReadOnly = &offError{DependencyUnavailable, "Carts can be read and not changed for now. Nothing was done."}
	errReadOnly      = &offError{DependencyUnavailable, "Everything can be read and nothing changed for now. Nothing was done; if this repeats an earlier request, its answer is kept."}
)

// problem is what the caller is told. A switch stays for minutes and not for seconds, and when it goes not everybody shall
// come back at once.
func (e *offError) problem() *Problem {
	return &Problem{Kind: e.kind, Detail: e.detail, retryAfter: strconv.Itoa(5 + rand.IntN(11))} //nolint:gosec // spreads clients, keeps no secret
}
