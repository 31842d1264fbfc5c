package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// The lane's bounds.
const (
	committers = 3    // batches in flight
	maxBatch   = 256  // pieces of work of a batch
	maxLines   = 1024 // order lines of a batch, unless one order alone has more
	maxWaiting = 1000 // pieces of work that may wait; who comes then is told to come back
	commitTime = 8 * time.Second

	// A batch costs the database as much as twenty orders do, whatever its size. Beside a batch in flight another one is
	// begun only when it is full, or when the latest one takes so long that something holds it up.
	held = 25 * time.Millisecond
)

// errLaneFull refuses work at once when more of it waits than can be done in time.
var errLaneFull = fmt.Errorf("%w: too many orders are waiting", postgres.ErrUnavailable)

// work is what a batch is made of: an order to place (placement.go), or one to cancel (cancellation.go).
type work interface {
	self() *job
	kind() kind
	// size is how many order lines it has.
	size() int
	// needs adds the rows that it is decided by.
	needs(*needs)
	// decide adds what it does to the plan, or nothing, and returns its answer. Of the errors, errQueued is its own;
	// any other one fails the whole batch.
	decide(d *plan, s *situation, ticket int64) (idempotency.Answer, error)
}

// job is what the lane knows of a piece of work, whatever its kind.
type job struct {
	request idempotency.Request
	refuse  func(*rest.Problem) idempotency.Answer // renders a no
	trace   string                                 // the request's W3C trace context, for its events
	span    telemetry.Span                         // of its time in the lane

	accepted time.Time // when it was answered 202, by the database's clock; zero for what was not queued
	deadline time.Time
	came     time.Time
	done     chan outcome // takes one outcome without waiting
}

func (j *job) self() *job { return j }

// outcome is what became of a piece of work. The answer may be a refusal, or one that was stored before; left is what
// is left of its row's life.
type outcome struct {
	answer idempotency.Answer
	left   time.Duration
	err    error
}

// lane commits orders and cancellations in batches: those that wait at the same moment share one transaction (batch.go), as the
// writes of several transactions share one flush in a database's group commit. Nobody waits for company: work
// that finds the lane idle is a batch of one, at once. While a batch is in flight work gathers, first come, first
// served, and the next batch takes it all, each kind in its turn.
//
// What a batch saves is what orders cost most: round trips, a flush of the log, and the lock of a hot product,
// which is taken once for all of them.
type lane struct {
	pool    *postgres.Pool
	clock   *databaseClock
	numbers func(context.Context) (numbers, error)
	changed func(context.Context, map[uuid.UUID]int64) // availability changed: product -> its new sequence
	nudge   func(aggregates ...uuid.UUID)              // events were committed
	logger  *slog.Logger
	metrics laneMetrics

	mu      sync.Mutex
	waiting []work
	working int       // committers at work
	began   time.Time // when the latest batch began
	looking bool      // relieve is coming
}

// commit does a piece of work and waits for what becomes of it, or for the end of ctx: then it may still be done, and
// the next request with its key finds the answer. While the database is known not to answer nobody gets in line, behind
// batches that hang.
func (l *lane) commit(ctx context.Context, w work) (idempotency.Answer, time.Duration, error) {
	if err := l.pool.Check(); err != nil {
		return idempotency.Answer{}, 0, err
	}
	j := w.self()
	j.came = time.Now()
	ctx, j.span = telemetry.Child(ctx, trace.SpanKindInternal, "order.lane")
	defer j.span.End()
	j.trace = telemetry.TraceParent(ctx)
	j.done = make(chan outcome, 1)
	j.deadline, _ = ctx.Deadline()
	if !l.enter(w) {
		l.metrics.full.Add(ctx, 1, w.kind().attribute)
		return idempotency.Answer{}, 0, errLaneFull
	}
	select {
	case o := <-j.done:
		return o.answer, o.left, o.err
	case <-ctx.Done():
		return idempotency.Answer{}, 0, fmt.Errorf("waiting in the commit lane: %w", ctx.Err())
	}
}

// enter puts work in line, and a committer to work when one is due.
func (l *lane) enter(w work) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return false
	}
	l.waiting = append(l.waiting, w)
	l.staff()
	return true
}

// staff puts a committer to work when one is due, and looks again later when one may become due while nobody comes.
func (l *lane) staff() {
	switch {
	case l.working == 0 || l.working < committers && l.worth():
		l.working++
		background.Go("commit lane", l.run)
	case !l.looking && l.working < committers:
		l.looking = true
		background.After(held, "commit lane", l.relieve)
	}
}

// relieve sees to it that nobody waits behind a batch that hangs, as on the lock of a product that is none of theirs.
func (l *lane) relieve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking = false
	if len(l.waiting) > 0 {
		l.staff()
	}
}

// worth tells whether those who wait get a batch beside the ones in flight.
func (l *lane) worth() bool {
	return len(l.waiting) >= maxBatch || time.Since(l.began) > held
}

// delay is how long the next in line has waited already. It is what who comes now should expect: with as many ahead and
// batches as slow as of late, theirs will be about the same. While a batch hangs it grows by itself.
func (l *lane) delay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return 0
	}
	return time.Since(l.waiting[0].self().came)
}

// run commits batches until nobody waits.
func (l *lane) run() {
	for batch := l.next(); batch != nil; batch = l.next() {
		l.do(batch)
	}
}

// next takes those who came first, as many as a batch may have. With none, or too few to have a batch beside another's, the
// committer is idle from here on.
func (l *lane) next() []work {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, lines := 0, 0
	for n < len(l.waiting) && n < maxBatch {
		lines += l.waiting[n].size()
		if n > 0 && lines > maxLines {
			break
		}
		n++
	}
	if n == 0 {
		l.waiting = nil // a burst's memory goes
	}
	if n == 0 || l.working > 1 && !l.worth() {
		l.working--
		return nil
	}
	l.began = time.Now()
	batch := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return batch
}

// do commits a batch and tells everybody. A batch that fails is done one by one, so that what can't be stored harms
// no neighbour.
func (l *lane) do(batch []work) {
	// A panic must not end the process, and nobody shall wait for ever: what was told already stays told.
	defer func() {
		if p := recover(); p != nil {
			l.logger.Error("panic in the commit lane", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			tellAll(batch, errors.New("the commit lane failed"))
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), commitTime)
	defer cancel()
	batch = l.stillWanted(ctx, batch)
	if len(batch) == 0 {
		return
	}
	began := time.Now()
	ctx, span := traceBatch(ctx, batch)
	defer span.End()
	err := l.transact(ctx, batch)
	l.metrics.committed(ctx, batch, began)
	if err == nil {
		return
	}
	span.Fail("batch")
	if len(batch) == 1 && idempotency.IsDuplicate(err) {
		// Another process committed this key while we were deciding: once more, and the key will be found.
		if err = l.transact(ctx, batch); err == nil {
			return
		}
	}
	if len(batch) == 1 || errors.Is(err, postgres.ErrUnavailable) && !postgres.RolledBack(err) {
		// Nobody's fault: one by one would only take longer to say so.
		tellAll(batch, fmt.Errorf("committing a batch: %w", err))
		return
	}
	l.logger.WarnContext(ctx, "a batch failed and is committed one by one", "size", len(batch), "error", err)
	l.metrics.fallbacks.Add(ctx, 1)
	for i := range batch {
		l.do(batch[i : i+1 : i+1])
	}
}

// stillWanted drops work whose caller has gone: the time is over, and a retry will bring it back.
func (l *lane) stillWanted(ctx context.Context, batch []work) []work {
	now := time.Now()
	kept := batch[:0:0]
	for _, w := range batch {
		j := w.self()
		if !j.deadline.IsZero() && now.After(j.deadline) {
			l.metrics.expired.Add(ctx, 1, w.kind().attribute)
			j.tell(outcome{err: context.DeadlineExceeded})
			continue
		}
		kept = append(kept, w)
	}
	return kept
}

// tell hands the outcome to whoever waits. Only the first one counts.
func (j *job) tell(o outcome) {
	select {
	case j.done <- o:
	default:
	}
}

// tellAll tells a batch of an error: whoever was told already stays told.
func tellAll(batch []work, err error) {
	for _, w := range batch {
		w.self().tell(outcome{err: err})
	}
}

// traceBatch starts a batch's span: inside of the first of its orders that is traced, linked to all the others. With
// none there is no span, and the statements have none either.
func traceBatch(ctx context.Context, batch []work) (context.Context, telemetry.Span) {
	if !telemetry.Tracing() {
		return ctx, telemetry.Span{}
	}
	first := slices.IndexFunc(batch, func(w work) bool { return w.self().span.Recording() })
	if first < 0 {
		return ctx, telemetry.Span{}
	}
	ctx, span := telemetry.Child(batch[first].self().span.Under(ctx), trace.SpanKindInternal, "order.batch")
	span.Set(attribute.Int("app.batch.size", len(batch)))
	for _, w := range batch[first+1:] {
		span.Link(w.self().span)
		w.self().span.Link(span)
	}
	return ctx, span
}
