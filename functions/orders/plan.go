package orders

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
)

// plan is what a batch does, decided and not yet written.
type plan struct {
	placed    []Order
	cancelled []Order // as they are afterwards
	events    []events.Event
	audit     []audit.Entry
	saved     []idempotency.Saved
	expired   [][]byte // digests whose rows make room

	deltas  map[uuid.UUID]int64 // stock, by product
	bumps   map[uuid.UUID]int64 // sequence, by product
	changed map[uuid.UUID]int64 // products that became sold out or came back, with their new sequence

	outcomes []outcome // of each piece of work of the batch
}

// decideAll goes through the batch in the order in which it came. A key that is known is answered with what was
// stored; a repeat of a key within the batch gets what the first one gets.
func decideAll(batch []work, s *situation) (plan, error) {
	d := plan{
		deltas: make(map[uuid.UUID]int64), bumps: make(map[uuid.UUID]int64), changed: make(map[uuid.UUID]int64),
		outcomes: make([]outcome, len(batch)),
	}
	first := make(map[[sha256.Size]byte]int, len(batch))
	for i, w := range batch {
		j := w.self()
		digest := j.request.Digest()
		if row, ok := s.keys[digest]; ok {
			age := time.Duration(0)
			if !j.accepted.IsZero() {
				age = s.now.Sub(j.accepted)
			}
			found, err := row.For(j.request, age)
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
			d.outcomes[i] = repeat(batch[earlier].self(), j, d.outcomes[earlier])
			continue
		}
		answer, err := w.decide(&d, s, s.tickets[i])
		if errors.Is(err, errQueued) {
			d.outcomes[i].err = err
			continue
		}
		if err != nil {
			return plan{}, err
		}
		first[digest] = i
		d.outcomes[i] = outcome{answer: answer, left: idempotency.Life}
		d.saved = append(d.saved, idempotency.Saved{Request: j.request, Answer: answer})
	}
	return d, nil
}

// repeat is what a piece of work gets whose key an earlier one of its batch has.
func repeat(earlier, later *job, o outcome) outcome {
	if earlier.request.Fingerprint != later.request.Fingerprint {
		return outcome{err: idempotency.ErrKeyReused}
	}
	o.answer.Replayed = true
	return o
}

// take empties the shelf by what an order takes, for the orders behind it, and notes what is to be written.
func (d *plan) take(t take, s *situation) {
	shelf := t.shelf
	shelf.available -= t.quantity
	d.deltas[shelf.product] -= t.quantity
	if t.depleted {
		shelf.sequence++
		d.bumps[shelf.product]++
		d.changed[shelf.product] = shelf.sequence
		d.events = append(d.events, events.Event{
			ID: postgres.NewID(s.now), Type: events.ProductStockDepleted,
			Aggregate: events.Aggregate{Type: "product", ID: shelf.product}, Sequence: shelf.sequence, Time: s.now,
			Data: events.StockDepletion{ProductID: shelf.product, SKU: shelf.sku},
		})
	}
	s.shelves[shelf.product] = shelf
}

// giveBack returns a line's units to its shelf, for what comes behind in the batch. From an empty shelf the product
// becomes available again, which readers see.
func (d *plan) giveBack(line Line, s *situation) {
	shelf, ok := s.shelves[line.ProductID]
	if !ok {
		return // the shop no longer keeps it in stock
	}
	if shelf.available == 0 {
		shelf.sequence++
		d.bumps[shelf.product]++
		d.changed[shelf.product] = shelf.sequence
	}
	shelf.available += int64(line.Quantity)
	d.deltas[shelf.product] += int64(line.Quantity)
	s.shelves[shelf.product] = shelf
}

func (d *plan) queueStock(queued *pgx.Batch) {
	n := len(d.deltas)
	ids, deltas, bumps := make([]uuid.UUID, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	for id := range maps.Keys(d.deltas) {
		ids, deltas, bumps = append(ids, id), append(deltas, d.deltas[id]), append(bumps, d.bumps[id])
	}
	queued.Queue(takeSQL, ids, deltas, bumps)
}

// queueCancelled writes only over the versions that were decided on.
func (d *plan) queueCancelled(queued *pgx.Batch) {
	n := len(d.cancelled)
	ids, versions, reasons := make([]uuid.UUID, n), make([]int64, n), make([]string, n)
	for i, o := range d.cancelled {
		ids[i], versions[i], reasons[i] = o.ID, o.version-1, o.CancelReason
	}
	queued.Queue(cancelSQL, ids, versions, reasons, n)
}

func (d *plan) queuePlaced(queued *pgx.Batch) {
	n := len(d.placed)
	ids, keys := make([]uuid.UUID, n), make([]uuid.UUID, n)
	numbers, customers, currencies := make([]string, n), make([]string, n), make([]string, n)
	addresses, totals, times := make([][]byte, n), make([]int64, n), make([]time.Time, n)
	var l lineColumns
	for i, o := range d.placed {
		ids[i], keys[i], numbers[i], customers[i] = o.ID, o.customer, o.OrderNumber, o.CustomerID
		currencies[i], addresses[i], totals[i], times[i] = o.TotalAmount.Currency(), o.ShippingAddress.append(nil), o.TotalAmount.Minor(), o.CreatedAt
		l.add(o)
	}
	queued.Queue(insertOrdersSQL, ids, numbers, keys, customers, addresses, currencies, totals, times)
	queued.Queue(insertLinesSQL, l.orders, l.numbers, l.products, l.skus, l.names, l.quantities, l.prices)
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

// event tells of an order as it was answered, whose encoding it takes, and goes on with the trace of the request.
func (j *job) event(o Order, kind string, answer idempotency.Answer, at time.Time) events.Event {
	e := event(o, kind, at)
	e.Data, e.TraceParent = json.RawMessage(answer.Body), j.trace
	return e
}

// event tells of an order as it is now.
func event(o Order, kind string, at time.Time) events.Event {
	return events.Event{
		ID: postgres.NewID(at), Type: kind, Aggregate: events.Aggregate{Type: "order", ID: o.ID},
		Sequence: o.version, Time: at, Data: o,
	}
}
