package orders

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// situation is what the first round trip read under the locks.
type situation struct {
	shelves map[uuid.UUID]shelf
	keys    map[[sha256.Size]byte]idempotency.Row
	queued  map[uuid.UUID]bool // requests that were answered 202 and have no outcome yet
	now     time.Time
	tickets []int64 // a number for each order
}

// plan is what a batch does, decided and not yet written.
type plan struct {
	placed  []Order
	events  []events.Event
	saved   []idempotency.Saved
	expired [][]byte // digests whose rows make room

	deltas  map[uuid.UUID]int64 // stock, by product
	bumps   map[uuid.UUID]int64 // sequence, by product
	emptied map[uuid.UUID]int64 // products whose last unit goes, with their new sequence

	outcomes []outcome // of each placement of the batch
}

// transact places a batch in one transaction of two round trips. The first takes the locks and reads; the second
// writes and commits. In between, Go decides, order by order, on shelves that earlier orders of the batch have
// already taken from.
//
//	lock products by id → read prices, keys and clock, in statements of their own → decide → stock, orders, lines,
//	events, keys by digest → COMMIT
//
// Every transaction of the service takes locks in that order (products by id, then orders, keys last and sorted),
// so none waits in a circle. The keys are read in a statement after the locks: in the one that waited for them, a
// key that was committed meanwhile would not be seen (CX-01).
func (l *lane) transact(ctx context.Context, batch []*placement) error {
	scheme, err := l.numbers(ctx)
	if err != nil {
		return err
	}
	var done plan
	err = l.pool.Do(ctx, func(conn *pgx.Conn) error {
		s, err := read(ctx, conn, batch)
		if err == nil {
			done, err = decideAll(batch, s, scheme)
		}
		if err == nil && len(done.saved) == 0 {
			return rollback(ctx, conn) // all of them were answered before
		}
		if err == nil {
			err = write(ctx, conn, done)
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
	if len(done.emptied) > 0 {
		l.changed(ctx, done.emptied)
	}
	for i, p := range batch {
		p.tell(done.outcomes[i])
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

// read opens the transaction, locks, and reads: one round trip.
func read(ctx context.Context, conn *pgx.Conn, batch []*placement) (s situation, err error) {
	products := make(map[uuid.UUID]struct{})
	digests, requests := make([][]byte, len(batch)), make([]uuid.UUID, len(batch))
	for i, p := range batch {
		for _, w := range p.wants {
			products[w.product] = struct{}{}
		}
		digest := p.request.Digest()
		digests[i], requests[i] = digest[:], p.request.ID()
	}
	ids := make([]uuid.UUID, 0, len(products))
	for id := range products {
		ids = append(ids, id)
	}
	queued := &pgx.Batch{}
	queued.Queue("BEGIN")
	queued.Queue(lockSQL, ids)
	queued.Queue(pricesSQL, ids)
	queued.Queue(idempotency.FindAllSQL, digests)
	queued.Queue(queuedSQL, requests)
	queued.Queue(ticketsSQL, len(batch))
	results := conn.SendBatch(ctx, queued)
	defer func() { err = errors.Join(err, results.Close()) }()

	if _, err = results.Exec(); err != nil {
		return s, err
	}
	if s.shelves, err = scanStock(results); err != nil {
		return s, err
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

// decideAll goes through the batch in the order in which it came. A key that is known is answered with what was
// stored; a repeat of a key within the batch gets what the first one gets.
func decideAll(batch []*placement, s situation, scheme numbers) (plan, error) {
	d := plan{
		deltas: make(map[uuid.UUID]int64), bumps: make(map[uuid.UUID]int64), emptied: make(map[uuid.UUID]int64),
		outcomes: make([]outcome, len(batch)),
	}
	first := make(map[[sha256.Size]byte]int, len(batch))
	for i, p := range batch {
		digest := p.request.Digest()
		if row, ok := s.keys[digest]; ok {
			found, err := row.For(p.request)
			if err != nil {
				d.outcomes[i].err = err
				continue
			}
			if !found.Expired {
				d.outcomes[i] = outcome{answer: found.Answer, left: found.Left}
				continue
			}
			d.expired = append(d.expired, digest[:])
		}
		if earlier, ok := first[digest]; ok {
			d.outcomes[i] = repeat(batch[earlier], p, d.outcomes[earlier])
			continue
		}
		if p.accepted.IsZero() && s.queued[p.request.ID()] {
			d.outcomes[i].err = errQueued
			continue
		}
		first[digest] = i
		answer, err := d.decide(p, s, s.tickets[i], scheme)
		if err != nil {
			return plan{}, err
		}
		d.outcomes[i] = outcome{answer: answer, left: idempotency.Life}
		d.saved = append(d.saved, idempotency.Saved{Request: p.request, Answer: answer})
	}
	return d, nil
}

// repeat is what a placement gets whose key an earlier one of its batch has.
func repeat(earlier, p *placement, o outcome) outcome {
	if earlier.request.Fingerprint != p.request.Fingerprint {
		return outcome{err: idempotency.ErrKeyReused}
	}
	o.answer.Replayed = true
	return o
}

// decide adds one order to the plan, or refuses it, and returns its answer.
func (d *plan) decide(p *placement, s situation, ticket int64, scheme numbers) (idempotency.Answer, error) {
	if !p.accepted.IsZero() && s.now.Sub(p.accepted) > queuedLife {
		return p.refuse(tooOld()), nil
	}
	takes, problem := decide(p.wants, s.shelves)
	if problem != nil {
		return p.refuse(problem), nil
	}
	list, total, problem := lines(takes)
	if problem != nil {
		return p.refuse(problem), nil
	}
	order := Order{
		ID: postgres.NewID(s.now), OrderNumber: scheme.number(ticket), Status: Pending,
		CustomerID: p.customerID, ShippingAddress: p.address, Lines: list, TotalAmount: total, CreatedAt: s.now,
		customer: p.customer, version: 1,
	}
	answer, err := rest.JSON(http.StatusCreated, order)
	if err != nil {
		return idempotency.Answer{}, err
	}
	answer.Location = base + "/" + order.ID.String()
	d.placed = append(d.placed, order)
	d.events = append(d.events, event(order, events.OrderCreated, s.now))
	for _, t := range takes {
		d.take(t, s)
	}
	return answer, nil
}

// take empties the shelf by what an order takes, for the orders behind it, and notes what is to be written.
func (d *plan) take(t take, s situation) {
	shelf := t.shelf
	shelf.available -= t.quantity
	d.deltas[shelf.product] -= t.quantity
	if t.depleted {
		shelf.sequence++
		d.bumps[shelf.product]++
		d.emptied[shelf.product] = shelf.sequence
		d.events = append(d.events, events.Event{
			ID: postgres.NewID(s.now), Type: events.ProductStockDepleted,
			Aggregate: events.Aggregate{Type: "product", ID: shelf.product}, Sequence: shelf.sequence, Time: s.now,
			Data: events.StockDepletion{ProductID: shelf.product, SKU: shelf.sku},
		})
	}
	s.shelves[shelf.product] = shelf
}

// write writes the plan, answers and keys included, and commits: one round trip. A failing statement makes the
// server skip the rest, COMMIT included.
func write(ctx context.Context, conn *pgx.Conn, d plan) error {
	queued := &pgx.Batch{}
	if len(d.expired) > 0 {
		queued.Queue(idempotency.DropAllExpiredSQL, d.expired)
	}
	if len(d.placed) > 0 {
		d.queueStock(queued)
		if err := d.queueOrders(queued); err != nil {
			return err
		}
		args, err := outbox.InsertArgs(ctx, d.events)
		if err != nil {
			return err
		}
		queued.Queue(outbox.InsertSQL, args...)
	}
	args, err := idempotency.SaveAllArgs(d.saved)
	if err != nil {
		return err
	}
	queued.Queue(idempotency.SaveAllSQL, args...)
	queued.Queue("COMMIT")
	return conn.SendBatch(ctx, queued).Close()
}

func (d *plan) queueStock(queued *pgx.Batch) {
	n := len(d.deltas)
	ids, deltas, bumps := make([]uuid.UUID, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	for id := range maps.Keys(d.deltas) {
		ids, deltas, bumps = append(ids, id), append(deltas, d.deltas[id]), append(bumps, d.bumps[id])
	}
	queued.Queue(takeSQL, ids, deltas, bumps)
}

func (d *plan) queueOrders(queued *pgx.Batch) error {
	n := len(d.placed)
	ids, keys := make([]uuid.UUID, n), make([]uuid.UUID, n)
	numbers, customers, currencies := make([]string, n), make([]string, n), make([]string, n)
	addresses, totals, times := make([][]byte, n), make([]int64, n), make([]time.Time, n)
	var l lineColumns
	for i, o := range d.placed {
		address, err := json.Marshal(o.ShippingAddress)
		if err != nil {
			return fmt.Errorf("storing an address: %w", err)
		}
		ids[i], keys[i], numbers[i], customers[i] = o.ID, o.customer, o.OrderNumber, o.CustomerID
		currencies[i], addresses[i], totals[i], times[i] = o.TotalAmount.Currency(), address, o.TotalAmount.Minor(), o.CreatedAt
		l.add(o)
	}
	queued.Queue(insertOrdersSQL, ids, numbers, keys, customers, addresses, currencies, totals, times)
	queued.Queue(insertLinesSQL, l.orders, l.numbers, l.products, l.skus, l.names, l.quantities, l.prices)
	return nil
}

// lineColumns are order lines, column by column.
type lineColumns struct {
	orders, products    []uuid.UUID
	numbers, quantities []int32
	skus, names         []string
	prices              []int64
}

func (l *lineColumns) add(o Order) {
	for i, line := range o.Lines {
		l.orders, l.products = append(l.orders, o.ID), append(l.products, line.ProductID)
		l.numbers, l.quantities = append(l.numbers, int32(i+1)), append(l.quantities, int32(line.Quantity)) //nolint:gosec // at most 100 lines of 999
		l.skus, l.names, l.prices = append(l.skus, line.SKU), append(l.names, line.Name), append(l.prices, line.UnitPrice.Minor())
	}
}

// event tells of an order as it is now.
func event(o Order, kind string, at time.Time) events.Event {
	return events.Event{
		ID: postgres.NewID(at), Type: kind, Aggregate: events.Aggregate{Type: "order", ID: o.ID},
		Sequence: o.version, Time: at, Data: o,
	}
}
