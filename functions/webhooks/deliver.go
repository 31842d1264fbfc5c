package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/servicebus"
)

// readWake reads a message of the queue.
func readWake(body []byte) (wake wakeUp, err error) {
	if err := json.Unmarshal(body, &wake); err != nil {
		return wakeUp{}, err
	}
	if wake.Endpoint == uuid.Nil {
		return wakeUp{}, errors.New("no endpoint")
	}
	return wake, nil
}

// Deliver answers one wake-up. It attempts the delivery, and then goes on with what else is due for the endpoint, for
// a while. An error gives the message back to the broker.
//
// When the endpoint has its share of attempts in this process already, the message is done: whoever is at work
// there goes on. So ten thousand wake-ups for one slow endpoint are gone at once, and the others' are reached.
func (w *Webhooks) Deliver(ctx context.Context, m servicebus.Received) error {
	wake, err := readWake(m.Body)
	if err != nil {
		return w.Poison(ctx, servicebus.QueueWebhookDelivery, m, err)
	}
	switch {
	case wake.Probe:
		return w.probe(ctx, wake.Endpoint)
	case wake.Replay:
		return w.replaying(ctx, wake.Endpoint)
	}
	seat := w.bulkhead.enter(wake.Endpoint)
	if seat == nil {
		return nil
	}
	defer seat.leave()
	return w.work(ctx, seat, wake.Endpoint, wake.Event)
}

// work attempts first, and after it whatever is due, until nothing is or its time is over. first may be the zero id.
func (w *Webhooks) work(ctx context.Context, seat *seat, endpoint, first uuid.UUID) error {
	end := time.Now().Add(w.Limits.Invocation)
	for event := first; ; event = uuid.Nil {
		worked, err := w.attemptOne(ctx, seat, endpoint, event)
		if err != nil {
			return err
		}
		if !worked && seat.done() {
			return nil
		}
		over := time.Now().After(end)
		select {
		case <-ctx.Done():
			over = true
		default:
		}
		if over {
			// Others shall have their turn; the rest of this queue starts again at the end of the line.
			w.wake(ctx, wakeUp{Endpoint: endpoint})
			return nil
		}
	}
}

// attemptOne makes one attempt if there is one to make.
func (w *Webhooks) attemptOne(ctx context.Context, seat *seat, endpoint, event uuid.UUID) (worked bool, err error) {
	// The place is taken for each attempt anew, so that who waits gets it between two attempts of a long queue.
	if !seat.begin(ctx, w.Limits.Patience) {
		return false, nil // the sweep will come to it
	}
	defer seat.end()
	l, err := w.lease(ctx, endpoint, event)
	if err != nil || l == nil {
		return false, err
	}
	return true, w.attempt(ctx, l)
}

// replaying goes on with an endpoint's replay, and puts two workers to what came of it.
func (w *Webhooks) replaying(ctx context.Context, endpoint uuid.UUID) error {
	end := time.Now().Add(w.Limits.Invocation)
	for {
		_, found, err := w.goOnReplay(ctx, &endpoint)
		if err != nil {
			return err
		}
		if !found {
			return nil
		}
		w.wake(ctx, wakeUp{Endpoint: endpoint}, wakeUp{Endpoint: endpoint})
		if time.Now().After(end) {
			w.wake(ctx, wakeUp{Endpoint: endpoint, Replay: true})
			return nil
		}
	}
}

// bulkhead bounds the attempts of this process, all together and to each endpoint.
type bulkhead struct {
	places chan struct{}
	width  int

	mu    sync.Mutex
	seats map[uuid.UUID]*seats
}

// seats are the workers of one endpoint.
type seats struct {
	taken int
	rung  bool // somebody came while all were taken
}

func newBulkhead(places, width int) *bulkhead {
	return &bulkhead{places: make(chan struct{}, places), width: width, seats: make(map[uuid.UUID]*seats)}
}

// seat is one worker's.
type seat struct {
	of       *bulkhead
	endpoint uuid.UUID
	left     bool
}

// enter takes a seat of the endpoint, nil when there is none. Whoever has one hears that somebody came.
func (b *bulkhead) enter(endpoint uuid.UUID) *seat {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.seats[endpoint]
	if s == nil {
		s = &seats{}
		b.seats[endpoint] = s
	}
	if s.taken >= b.width {
		s.rung = true
		return nil
	}
	s.taken++
	return &seat{of: b, endpoint: endpoint}
}

// done leaves the seat, unless somebody was turned away since the last time a worker asked: what they came for may
// be newer than this worker's look, so it has to look again. The question and the leaving are one step, or a
// delivery could come between them and be nobody's.
func (s *seat) done() bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if all := s.of.seats[s.endpoint]; all.rung {
		all.rung = false
		return false
	}
	s.free()
	return true
}

func (s *seat) leave() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.free()
}

// free gives the seat back, once. The caller holds the lock.
func (s *seat) free() {
	if s.left {
		return
	}
	s.left = true
	all := s.of.seats[s.endpoint]
	if all.taken--; all.taken == 0 {
		delete(s.of.seats, s.endpoint)
	}
}

// begin waits for a place among the attempts of the process.
func (s *seat) begin(ctx context.Context, patience time.Duration) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case s.of.places <- struct{}{}:
		return true
	case <-timeout.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (s *seat) end() { <-s.of.places }
