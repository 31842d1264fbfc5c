package dependency

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// ErrOpen says that a dependency was not asked, because it failed a moment ago. Nothing was done.
var ErrOpen = errors.New("not asked: it does not answer")

// Breaker keeps callers from a dependency that does not answer. Closed, everybody may call. After some failures in a row it
// opens, and nobody may; after a pause it is half open, and one may. Whether it closes is for that one call to say.
//
// While all is well it costs two looks at atomics a call; only from the first failure on is there more to it.
type Breaker struct {
	policy Policy

	// turn counts openings and closings: even is closed. What began in another turn says nothing about this one.
	turn    atomic.Uint64
	failing atomic.Bool // closed, and the latest call failed

	opened, refused atomic.Int64

	mu      sync.Mutex
	machine circuitbreaker.CircuitBreaker[struct{}]
}

// NewBreaker makes the breaker of a policy, closed.
func NewBreaker(p Policy) *Breaker {
	return &Breaker{policy: p, machine: circuitbreaker.NewBuilder[struct{}]().
		WithFailureThreshold(p.Failures).WithSuccessThreshold(1).
		WithDelay(p.Pause).WithJitterFactor(0.2).Build()}
}

// Permit is the right to make one call. Whoever has one settles it, whatever happens: the one of a probe is the only one.
type Permit struct {
	turn  uint64
	probe bool
}

// Outcome is what a call says about its dependency.
type Outcome uint8

// The outcomes.
const (
	Undecided Outcome = iota // nothing: the caller left, or it was never asked
	Answered                 // it is there, whatever the answer was
	Failed                   // it could not be reached, or did not answer in time
)

// Acquire asks for a permit. The error is ErrOpen.
func (b *Breaker) Acquire() (Permit, error) {
	if turn := b.turn.Load(); turn%2 == 0 {
		return Permit{turn: turn}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	turn := b.turn.Load()
	if turn%2 == 0 { // closed meanwhile
		return Permit{turn: turn}, nil
	}
	if !b.machine.TryAcquirePermit() {
		b.refused.Add(1)
		return Permit{}, ErrOpen
	}
	return Permit{turn: turn, probe: true}, nil
}

// Check is for callers of whose calls none is a probe, as somebody else makes those. The error is ErrOpen.
func (b *Breaker) Check() error {
	if b.turn.Load()%2 == 0 {
		return nil
	}
	b.refused.Add(1)
	return ErrOpen
}

// Settle says what became of a call.
func (b *Breaker) Settle(p Permit, o Outcome) {
	if !p.probe && (o == Undecided || o == Answered && !b.failing.Load()) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	turn := b.turn.Load()
	if p.turn != turn {
		return
	}
	switch o {
	case Answered:
		b.machine.RecordSuccess()
	case Failed:
		b.machine.RecordFailure()
	case Undecided: // the next one is the probe
		b.machine.Open()
		b.machine.HalfOpen()
	}
	closed := b.machine.IsClosed()
	b.failing.Store(closed && o == Failed)
	if closed == (turn%2 == 0) {
		return
	}
	b.turn.Add(1)
	if closed {
		slog.WarnContext(context.Background(), "a dependency answers again", "dependency", b.policy.Name)
		return
	}
	b.opened.Add(1)
	slog.WarnContext(context.Background(), "a dependency does not answer and is not asked for now", "dependency", b.policy.Name)
}

// Wait is how long nobody gets a permit yet.
func (b *Breaker) Wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.machine.RemainingDelay()
}

// State is what a breaker does with callers.
type State uint8

// The states, as metrics show them.
const (
	Closed   State = iota // everybody may call
	HalfOpen              // one call probes
	Open                  // nobody may
)

// State is what it does with callers now.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.machine.State() {
	case circuitbreaker.OpenState:
		return Open
	case circuitbreaker.HalfOpenState:
		return HalfOpen
	default:
		return Closed
	}
}
