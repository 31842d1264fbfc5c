package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// The lane's bounds.
const (
	committers = 3    // batches in flight
	maxBatch   = 64   // orders of a batch
	maxLines   = 512  // lines of a batch, unless one order alone has more
	maxWaiting = 1000 // orders that may wait; who comes then is told to come back
	commitTime = 8 * time.Second
)

// errLaneFull refuses an order at once when more of them wait than can be placed in time.
var errLaneFull = fmt.Errorf("%w: too many orders are waiting", postgres.ErrUnavailable)

// placement is an order on its way into the database.
type placement struct {
	request    idempotency.Request
	customer   uuid.UUID
	customerID string
	address    Address
	wants      []want                                 // merged and sorted
	refuse     func(*rest.Problem) idempotency.Answer // renders a no

	accepted time.Time // when a queued order was answered 202; zero for the others
	deadline time.Time
	came     time.Time
	done     chan outcome // takes one outcome without waiting
}

// outcome is what became of a placement. The answer may be a refusal, or one that was stored before; left is what
// is left of its row's life.
type outcome struct {
	answer idempotency.Answer
	left   time.Duration
	err    error
}

// lane commits placements in batches: those that wait at the same moment share one transaction (batch.go), as the
// writes of several transactions share one flush in a database's group commit. Nobody waits for company: an order
// that finds the lane idle is a batch of one, at once. While batches are in flight orders gather, first come, first
// served, and the next batch takes them all.
//
// What a batch saves is what orders cost most: round trips, a flush of the log, and the lock of a hot product,
// which is taken once for all of them.
type lane struct {
	pool    *postgres.Pool
	numbers func(context.Context) (numbers, error)
	changed func(context.Context, map[uuid.UUID]int64) // availability changed: product -> its new sequence
	nudge   func(aggregates ...uuid.UUID)              // events were committed
	logger  *slog.Logger
	metrics laneMetrics

	mu      sync.Mutex
	waiting []*placement
	working int // committers at work
}

// commit places an order and waits for what becomes of it, or for the end of ctx: then the order may still be
// placed, and the next request with its key finds the answer.
func (l *lane) commit(ctx context.Context, p placement) (idempotency.Answer, time.Duration, error) {
	p.came = time.Now()
	p.done = make(chan outcome, 1)
	p.deadline, _ = ctx.Deadline()
	if !l.enter(&p) {
		return idempotency.Answer{}, 0, errLaneFull
	}
	select {
	case o := <-p.done:
		return o.answer, o.left, o.err
	case <-ctx.Done():
		return idempotency.Answer{}, 0, fmt.Errorf("placing an order: %w", ctx.Err())
	}
}

// enter puts a placement in line, and a committer to work when one is idle.
func (l *lane) enter(p *placement) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return false
	}
	l.waiting = append(l.waiting, p)
	if l.working < committers {
		l.working++
		go l.work()
	}
	return true
}

// work commits batches until nobody waits.
func (l *lane) work() {
	for batch := l.next(); batch != nil; batch = l.next() {
		l.place(batch)
	}
}

// next takes those who came first, as many as a batch may have. With none, the committer is idle from here on.
func (l *lane) next() []*placement {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, lines := 0, 0
	for n < len(l.waiting) && n < maxBatch {
		lines += len(l.waiting[n].wants)
		if n > 0 && lines > maxLines {
			break
		}
		n++
	}
	if n == 0 {
		l.working--
		l.waiting = nil // a burst's memory goes
		return nil
	}
	batch := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return batch
}

// place commits a batch and tells everybody. A batch that fails is placed one by one, so that an order which can't
// be placed harms no other.
func (l *lane) place(batch []*placement) {
	// A panic must not end the process, and nobody shall wait for ever: what was told already stays told.
	defer func() {
		if p := recover(); p != nil {
			l.logger.Error("panic in the commit lane", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			for _, b := range batch {
				b.tell(outcome{err: errors.New("placing an order failed")})
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), commitTime)
	defer cancel()
	batch = l.stillWanted(ctx, batch)
	if len(batch) == 0 {
		return
	}
	began := time.Now()
	err := l.transact(ctx, batch)
	l.metrics.committed(ctx, batch, began)
	if err == nil {
		return
	}
	if len(batch) == 1 && idempotency.IsDuplicate(err) {
		// Another process committed this key while we were deciding: once more, and the key will be found.
		if err = l.transact(ctx, batch); err == nil {
			return
		}
	}
	if len(batch) == 1 || errors.Is(err, postgres.ErrUnavailable) && !postgres.RolledBack(err) {
		// Nobody's fault: one by one would only take longer to say so.
		for _, p := range batch {
			p.tell(outcome{err: fmt.Errorf("placing an order: %w", err)}) // whoever was told already stays told
		}
		return
	}
	l.logger.WarnContext(ctx, "a batch of orders failed and is placed one by one", "orders", len(batch), "error", err)
	for i := range batch {
		l.place(batch[i : i+1 : i+1])
	}
}

// stillWanted drops placements whose caller has gone: their time is over, and a retry will bring them back.
func (l *lane) stillWanted(ctx context.Context, batch []*placement) []*placement {
	now := time.Now()
	kept := batch[:0:0]
	for _, p := range batch {
		if !p.deadline.IsZero() && now.After(p.deadline) {
			l.metrics.expired.Add(ctx, 1)
			p.tell(outcome{err: context.DeadlineExceeded})
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// tell hands the outcome to whoever waits. Only the first one counts.
func (p *placement) tell(o outcome) {
	select {
	case p.done <- o:
	default:
	}
}

type laneMetrics struct {
	size, wait, commit metric.Float64Histogram
	expired            metric.Int64Counter
}

func (l *lane) watch() (err error) {
	meter := otel.Meter("orders")
	var errs [5]error
	l.metrics.size, errs[0] = meter.Float64Histogram("order_lane_batch_size", metric.WithDescription("Orders of a batch."),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64))
	l.metrics.wait, errs[1] = meter.Float64Histogram("order_lane_wait_seconds", metric.WithDescription("From an order's arrival to the begin of its batch."),
		metric.WithExplicitBucketBoundaries(.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	l.metrics.commit, errs[2] = meter.Float64Histogram("order_lane_commit_seconds", metric.WithDescription("A batch's transaction."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	l.metrics.expired, errs[3] = meter.Int64Counter("order_lane_expired_total", metric.WithDescription("Orders whose caller's time was over before their turn."))
	_, errs[4] = meter.Int64ObservableGauge("order_lane_depth", metric.WithDescription("Orders that wait for a batch."),
		metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			out.Observe(int64(len(l.waiting)))
			return nil
		}))
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("making the lane's metrics: %w", err)
	}
	return nil
}

func (m laneMetrics) committed(ctx context.Context, batch []*placement, began time.Time) {
	m.size.Record(ctx, float64(len(batch)))
	m.commit.Record(ctx, time.Since(began).Seconds())
	for _, p := range batch {
		m.wait.Record(ctx, began.Sub(p.came).Seconds())
	}
}
