package orders

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// situation is what the first round trip read under the locks, and what the batch has made of it so far.
type situation struct {
	shelves map[uuid.UUID]shelf
	orders  map[uuid.UUID]standing
	keys    map[[sha256.Size]byte]idempotency.Row
	queued  map[uuid.UUID]bool // requests that were answered 202 and have no outcome yet
	now     time.Time
	tickets []int64 // a place in the sequence of order numbers for each piece of work
	scheme  numbers
}

// transact commits a batch in one transaction of two round trips. The first takes the locks and reads; the second
// writes and commits. In between, Go decides one after the other, on shelves that what came earlier in the batch has
// already taken from or given back to.
//
//	lock products by id → lock orders by id → read prices, keys and clock, in statements of their own → decide →
//	stock, orders, lines, events, audit log, keys by digest → COMMIT
//
// Every transaction of the service takes locks in that order (products by id, then orders by id, keys last and sorted),
// so none waits in a circle. The keys are read in a statement after the locks: in the one that waited for them, a
// key that was committed meanwhile would not be seen (CX-01).
func (l *lane) transact(ctx context.Context, batch []work) error {
	scheme, err := l.numbers(ctx)
	if err != nil {
		return err
	}
	var done plan
	err = l.pool.Do(ctx, func(conn *pgx.Conn) error {
		s, err := read(ctx, conn, batch)
		if err == nil {
			l.clock.saw(s.now)
			s.scheme = scheme
			_, span := telemetry.Child(ctx, trace.SpanKindInternal, "order.decide")
			done, err = decideAll(batch, &s)
			span.End()
		}
		if err == nil && len(done.saved) == 0 {
			return rollback(ctx, conn) // all of them were answered before
		}
		if err == nil {
			err = write(ctx, conn, &done)
		}
		if err != nil {
			return errors.Join(err, rollback(ctx, conn))
		}
		return nil
	})
	if err != nil {
		return err
	}
	tells := make([]uuid.UUID, len(done.events))
	for i, e := range done.events {
		tells[i] = e.Aggregate.ID
	}
	l.nudge(tells...)
	if len(done.changed) > 0 {
		l.changed(ctx, done.changed)
	}
	for i, w := range batch {
		w.self().tell(done.outcomes[i])
	}
	return nil
}

// rollback ends a transaction that shall have no effect. A connection that can't do that is closed by its pool.
func rollback(ctx context.Context, conn *pgx.Conn) error {
	if conn.IsClosed() {
		return nil
	}
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		return fmt.Errorf("rolling back: %w", err)
	}
	return nil
}

// needs are the rows that a batch is decided by.
type needs struct {
	products map[uuid.UUID]struct{} // locked
	orders   []uuid.UUID            // locked
	requests []uuid.UUID            // that may have been answered 202
}

// read opens the transaction, locks, and reads: one round trip.
func read(ctx context.Context, conn *pgx.Conn, batch []work) (s situation, err error) {
	n := needs{products: make(map[uuid.UUID]struct{}), requests: make([]uuid.UUID, 0, len(batch))}
	digests := make([][]byte, len(batch))
	for i, w := range batch {
		w.needs(&n)
		digest := w.self().request.Digest()
		digests[i] = digest[:]
	}
	ids := make([]uuid.UUID, 0, len(n.products))
	for id := range n.products {
		ids = append(ids, id)
	}
	queued := &pgx.Batch{}
	queued.Queue("BEGIN")
	queued.Queue(postgres.PlanOnceSQL)
	queued.Queue(lockSQL, ids)
	if len(n.orders) > 0 {
		queued.Queue(lockOrdersSQL, n.orders)
	}
	queued.Queue(pricesSQL, ids)
	queued.Queue(idempotency.FindAllSQL, digests)
	queued.Queue(queuedSQL, n.requests)
	queued.Queue(ticketsSQL, len(batch))
	results := conn.SendBatch(ctx, queued)
	defer func() { err = errors.Join(err, results.Close()) }()

	for range 2 {
		if _, err = results.Exec(); err != nil {
			return s, err
		}
	}
	if s.shelves, err = scanStock(results); err != nil {
		return s, err
	}
	if len(n.orders) > 0 {
		if s.orders, err = scanStandings(results); err != nil {
			return s, err
		}
	}
	if err = scanPrices(results, s.shelves); err != nil {
		return s, err
	}
	rows, err := results.Query()
	if err != nil {
		return s, err
	}
	if s.keys, err = idempotency.ScanAll(rows); err != nil {
		return s, err
	}
	if rows, err = results.Query(); err != nil {
		return s, err
	}
	s.queued = make(map[uuid.UUID]bool)
	var request uuid.UUID
	if _, err = pgx.ForEachRow(rows, []any{&request}, func() error {
		s.queued[request] = true
		return nil
	}); err != nil {
		return s, err
	}
	if rows, err = results.Query(); err != nil {
		return s, err
	}
	var ticket int64
	_, err = pgx.ForEachRow(rows, []any{&s.now, &ticket}, func() error {
		s.tickets = append(s.tickets, ticket)
		return nil
	})
	s.now = clock(s.now)
	return s, err
}

func scanStock(results pgx.BatchResults) (map[uuid.UUID]shelf, error) {
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	shelves := make(map[uuid.UUID]shelf)
	var s shelf
	_, err = pgx.ForEachRow(rows, []any{&s.product, &s.available, &s.sequence}, func() error {
		shelves[s.product] = s
		return nil
	})
	return shelves, err
}

func scanStandings(results pgx.BatchResults) (map[uuid.UUID]standing, error) {
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	orders := make(map[uuid.UUID]standing)
	var (
		id uuid.UUID
		at standing
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &at.status, &at.version}, func() error {
		orders[id] = at
		return nil
	})
	return orders, err
}

func scanPrices(results pgx.BatchResults, shelves map[uuid.UUID]shelf) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	var (
		id                  uuid.UUID
		sku, name, currency string
		minor               int64
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &sku, &name, &minor, &currency}, func() error {
		s, ok := shelves[id]
		if !ok {
			return nil // a product without stock row can't be ordered
		}
		s.sku, s.name = sku, name
		s.price, err = money.FromMinor(minor, currency)
		shelves[id] = s
		return err
	})
	return err
}

// write writes the plan, answers and keys included, and commits: one round trip. A failing statement makes the
// server skip the rest, COMMIT included.
func write(ctx context.Context, conn *pgx.Conn, d *plan) error {
	queued := &pgx.Batch{}
	if len(d.expired) > 0 {
		queued.Queue(idempotency.DropAllExpiredSQL, d.expired)
	}
	if len(d.deltas) > 0 {
		d.queueStock(queued)
	}
	if len(d.cancelled) > 0 {
		d.queueCancelled(queued)
	}
	if len(d.placed) > 0 {
		d.queuePlaced(queued)
	}
	if len(d.events) > 0 {
		args, err := outbox.InsertArgs(ctx, d.events)
		if err != nil {
			return err
		}
		queued.Queue(outbox.InsertSQL, args...)
	}
	if len(d.audit) > 0 {
		args, err := audit.InsertArgs(d.audit)
		if err != nil {
			return err
		}
		queued.Queue(audit.InsertSQL, args...)
	}
	args, err := idempotency.SaveAllArgs(d.saved)
	if err != nil {
		return err
	}
	queued.Queue(idempotency.SaveAllSQL, args...)
	queued.Queue("COMMIT")
	return conn.SendBatch(ctx, queued).Close()
}
