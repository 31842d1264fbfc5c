package redis

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

const (
	// maxBatch bounds a round trip: its replies must all come within the client's read timeout.
	maxBatch = 256
	// maxPosted bounds what waits to be written with nobody waiting for it: at a kilobyte each, a few megabytes.
	maxPosted = 4096
)

// Lane sends the commands that wait at the same moment in one round trip. Alone, a command waits for nothing: there is
// no timer; while a round trip is on its way, the next one gathers.
//
// There is one round trip at a time, so what one process sends arrives in the order in which it was sent: a repeat that
// comes after its answer was posted finds it.
type Lane struct {
	client  *redis.Client
	dropped metric.Int64Counter

	mu      sync.Mutex
	queue   []*ask
	posted  int // of the queue: what nobody waits for
	sending bool
}

// ask is one command on its way. done is nil when nobody waits.
type ask struct {
	cmd  redis.Cmder
	done chan struct{}
}

// NewLane makes a lane on a client. What the client does around commands (its breaker, its timeouts) it does around the
// lane's round trips.
func NewLane(client *redis.Client) (*Lane, error) {
	dropped, err := otel.Meter("redis").Int64Counter("redis_writes_dropped_total",
		metric.WithDescription("Copies that were not written to Redis because too many waited."))
	if err != nil {
		return nil, fmt.Errorf("making redis_writes_dropped_total: %w", err)
	}
	// A counter that was never added to is not shown; alerts look at it before it counts anything.
	dropped.Add(context.Background(), 0)
	_, err = otel.Meter("redis").Int64ObservableGauge("redis_circuit_open",
		metric.WithDescription("1 while Redis is not asked because it failed a moment ago, else 0."),
		metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
			open := int64(0)
			if g, ok := guards.Load(client); ok && g.(*guard).breaker.State() != dependency.Closed {
				open = 1
			}
			out.Observe(open)
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("making redis_circuit_open: %w", err)
	}
	if g, ok := guards.Load(client); ok {
		if _, err := g.(*guard).breaker.Watch(); err != nil { // for the life of the process
			return nil, err
		}
	}
	return &Lane{client: client, dropped: dropped}, nil
}

// Do sends a command and waits for its reply. It returns when ctx ends too; the command may then still be sent.
func (l *Lane) Do(ctx context.Context, cmd redis.Cmder) error {
	span := traceCommand(ctx, cmd)
	a := &ask{cmd: cmd, done: make(chan struct{})}
	l.mu.Lock()
	l.push(a)
	l.mu.Unlock()
	select {
	case <-a.done:
		endCommand(span, cmd.Err())
		return cmd.Err()
	case <-ctx.Done():
		endCommand(span, ctx.Err())
		return ctx.Err() // cmd belongs to the sender
	}
}

// Post sends a command that nobody waits for. When too many wait already it is dropped, counted, and false: only what
// can be lost is posted.
func (l *Lane) Post(ctx context.Context, cmd redis.Cmder) bool {
	l.mu.Lock()
	fits := l.posted < maxPosted
	if fits {
		l.posted++
		l.push(&ask{cmd: cmd})
	}
	l.mu.Unlock()
	if !fits {
		l.dropped.Add(ctx, 1)
	}
	return fits
}

// push puts a into the queue and starts the sender if there is none. l.mu is held.
func (l *Lane) push(a *ask) {
	l.queue = append(l.queue, a)
	if !l.sending {
		l.sending = true
		background.Go("redis lane", l.send)
	}
}

// send works until nothing waits.
func (l *Lane) send() {
	var batch []*ask
	for {
		l.mu.Lock()
		batch = l.take(batch)
		l.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		l.exchange(batch)
	}
}

// take is the next batch, in the order in which it came. used is the one before; its memory becomes the next queue's.
func (l *Lane) take(used []*ask) []*ask {
	clear(used)
	if len(l.queue) == 0 {
		l.sending = false
		return nil
	}
	var batch []*ask
	if len(l.queue) <= maxBatch {
		batch, l.queue = l.queue, used[:0]
	} else {
		batch = append(used[:0], l.queue[:maxBatch]...)
		l.queue = append(l.queue[:0], l.queue[maxBatch:]...)
	}
	for _, a := range batch {
		if a.done == nil {
			l.posted--
		}
	}
	return batch
}

// exchange is one round trip. Every waiter is woken whatever happens in it.
func (l *Lane) exchange(batch []*ask) {
	ctx := inLane // bounded by the client's timeouts
	defer func() {
		if p := recover(); p != nil {
			slog.ErrorContext(ctx, "panic in the Redis lane", "panic", fmt.Sprint(p))
			for _, a := range batch {
				a.cmd.SetErr(ErrDown)
			}
		}
		for _, a := range batch {
			if a.done != nil {
				close(a.done)
			}
		}
	}()
	if len(batch) == 1 {
		_ = l.client.Process(ctx, batch[0].cmd) // the command has its error
		return
	}
	pipe := l.client.Pipeline()
	for _, a := range batch {
		_ = pipe.Process(ctx, a.cmd) // only remembers it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
}
