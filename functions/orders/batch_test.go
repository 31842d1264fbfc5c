package orders

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/rest"
)

// verdict is what a customer sees of a decision: the status, what was bought, and why not.
func verdict(t require.TestingT, o outcome) string {
	if o.err != nil {
		return o.err.Error()
	}
	var body struct {
		Lines, Products []map[string]any
		Total           any `json:"totalAmount"`
		Status          any // of the order
		CancelReason    any
		Detail          any
	}
	require.NoError(t, json.Unmarshal(o.answer.Body, &body))
	return fmt.Sprint(o.answer.Status, o.answer.Replayed, body)
}

func refusing(p *rest.Problem) idempotency.Answer {
	body, _ := json.Marshal(map[string]any{"detail": p.Detail, "products": p.Extensions["products"]}) //nolint:errchkjson // plain values
	return idempotency.Answer{Status: p.Kind.Status, Body: body}
}

// someShelves are up to four products with a few units each.
func someShelves(t *rapid.T) map[uuid.UUID]shelf {
	price, err := money.FromMinor(1999, "USD")
	require.NoError(t, err)
	shelves := make(map[uuid.UUID]shelf)
	for i := range rapid.IntRange(1, 4).Draw(t, "products") {
		id := uuid.UUID{15: byte(i + 1)}
		shelves[id] = shelf{product: id, sku: fmt.Sprint("P", i), name: "Thing", price: price, available: rapid.Int64Range(0, 12).Draw(t, "stock"), sequence: 1}
	}
	return shelves
}

// someOrders are up to four orders that were placed before, in any state.
func someOrders(t *rapid.T, shelves map[uuid.UUID]shelf) (list []Order) {
	for i := range rapid.IntRange(0, 4).Draw(t, "earlier orders") {
		o := Order{
			ID: uuid.UUID{0: 1, 15: byte(i)}, version: rapid.Int64Range(1, 3).Draw(t, "version"),
			Status: rapid.SampledFrom([]Status{Pending, Confirmed, Cancelled}).Draw(t, "status"),
		}
		for j := range rapid.IntRange(1, len(shelves)).Draw(t, "lines") {
			s := shelves[uuid.UUID{15: byte(j + 1)}]
			line, err := newLine(s.product, s.sku, s.name, rapid.IntRange(1, 5).Draw(t, "quantity"), s.price)
			require.NoError(t, err)
			o.Lines = append(o.Lines, line)
		}
		list = append(list, o)
	}
	return list
}

// someWork is a batch of up to twelve orders and cancellations; some repeat a key, some with another body.
func someWork(t *rapid.T, shelves map[uuid.UUID]shelf, earlier []Order) (batch []work) {
	for i := range rapid.IntRange(1, 12).Draw(t, "work") {
		j := job{refuse: refusing, done: make(chan outcome, 1), request: idempotency.Request{Operation: "place-order", Key: fmt.Sprint(i)}}
		var w work
		if rapid.IntRange(0, 2).Draw(t, "cancel") == 0 {
			j.request.Operation = "cancel-order"
			c := &cancellation{job: j, reason: fmt.Sprint("reason ", i), admin: rapid.Bool().Draw(t, "admin")}
			if n := rapid.IntRange(0, len(earlier)).Draw(t, "order"); n > 0 { // 0: one that isn't theirs
				c.order = &earlier[n-1]
			}
			w = c
		} else {
			w = &placement{job: j, customerID: "ada", wants: someWants(t, len(shelves))}
		}
		if rapid.IntRange(0, 9).Draw(t, "repeat") == 0 && i > 0 {
			if of := batch[rapid.IntRange(0, i-1).Draw(t, "of")]; of.kind() == w.kind() {
				w.self().request = of.self().request
			}
		}
		if rapid.IntRange(0, 19).Draw(t, "other body") == 0 {
			w.self().request.Fingerprint = sha256.Sum256([]byte{byte(i)})
		}
		batch = append(batch, w)
	}
	return batch
}

func someWants(t *rapid.T, products int) []want {
	var wants []want
	for j := range rapid.IntRange(1, 3).Draw(t, "lines") {
		id := uuid.UUID{15: byte(rapid.IntRange(1, products+rapid.IntRange(0, 1).Draw(t, "unknown")).Draw(t, "product"))}
		wants = append(wants, want{product: id, quantity: rapid.IntRange(1, 5).Draw(t, "quantity"), pointer: fmt.Sprintf("/lines/%d", j)})
	}
	wants, problem := merge(wants)
	require.Nil(t, problem)
	return wants
}

// told are events without what is different each time: the ids of new orders.
func told(list []events.Event) (out []string) {
	for _, e := range list {
		if e.Type == events.OrderCreated {
			e.Aggregate.ID = uuid.Nil
		}
		out = append(out, fmt.Sprint(e.Type, e.Aggregate, e.Sequence))
	}
	return out
}

// found is what a batch meets in the database, with copies of what it may change.
func found(shelves map[uuid.UUID]shelf, earlier []Order, tickets int) *situation {
	s := &situation{
		shelves: maps.Clone(shelves), orders: make(map[uuid.UUID]standing), keys: map[[sha256.Size]byte]idempotency.Row{},
		now: time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), tickets: make([]int64, tickets), scheme: numbers{key: make([]byte, 32)},
	}
	for _, o := range earlier {
		s.orders[o.ID] = standing{o.Status, o.version}
	}
	return s
}

// TestABatchDecidesAsOneOrderAfterTheOther compares the lane's decisions with the same orders and cancellations alone,
// each in a transaction of its own that finds what the ones before it left: stock, states, and stored answers.
func TestABatchDecidesAsOneOrderAfterTheOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before := someShelves(t)
		earlier := someOrders(t, before)
		batch := someWork(t, before, earlier)
		s := found(before, earlier, len(batch))
		whole, err := decideAll(batch, s)
		require.NoError(t, err)

		single := found(before, earlier, 1)
		stored := make(map[[sha256.Size]byte]int) // digest -> who has it
		answers := make([]outcome, len(batch))
		sum := plan{deltas: make(map[uuid.UUID]int64), bumps: make(map[uuid.UUID]int64), changed: make(map[uuid.UUID]int64)}
		for i, w := range batch {
			j := w.self()
			if first, ok := stored[j.request.Digest()]; ok { // what the key's row says
				answers[i] = repeat(batch[first].self(), j, answers[first])
			} else {
				alone, err := decideAll([]work{w}, single)
				require.NoError(t, err)
				answers[i], stored[j.request.Digest()] = alone.outcomes[0], i
				sum.events, sum.cancelled, sum.placed = append(sum.events, alone.events...), append(sum.cancelled, alone.cancelled...), append(sum.placed, alone.placed...)
				for id := range alone.deltas {
					sum.deltas[id] += alone.deltas[id]
					sum.bumps[id] += alone.bumps[id]
				}
				maps.Copy(sum.changed, alone.changed)
			}
			assert.Equal(t, verdict(t, answers[i]), verdict(t, whole.outcomes[i]), "work %d", i)
		}
		assert.Equal(t, single.shelves, s.shelves, "what is left")
		assert.Equal(t, single.orders, s.orders, "where the orders stand")
		assert.Equal(t, told(sum.events), told(whole.events))
		assert.Equal(t, sum.cancelled, whole.cancelled)
		assert.Len(t, whole.placed, len(sum.placed))
		assert.Equal(t, sum.deltas, whole.deltas)
		assert.Equal(t, sum.changed, whole.changed)
		assert.Len(t, whole.saved, len(stored), "each key once")
		conserved(t, before, s, whole)
	})
}

// conserved asserts that units went only into orders and came only out of cancelled ones, each of them cancelled once.
func conserved(t *rapid.T, before map[uuid.UUID]shelf, s *situation, p plan) {
	sold, once := make(map[uuid.UUID]int64), make(map[uuid.UUID]bool)
	for _, o := range p.placed {
		for _, line := range o.Lines {
			sold[line.ProductID] += int64(line.Quantity)
		}
	}
	for _, o := range p.cancelled {
		assert.False(t, once[o.ID], "cancelled twice")
		once[o.ID] = true
		for _, line := range o.Lines {
			sold[line.ProductID] -= int64(line.Quantity)
		}
	}
	for id, shelf := range before {
		assert.Equal(t, shelf.available-sold[id], s.shelves[id].available, "units are conserved")
		assert.Equal(t, -sold[id], p.deltas[id])
		assert.GreaterOrEqual(t, s.shelves[id].available, int64(0))
		assert.Equal(t, shelf.sequence+p.bumps[id], s.shelves[id].sequence)
	}
}

// Who came first is served first, as many as a batch may have.
func TestBatchesAreBoundedAndInOrder(t *testing.T) {
	t.Parallel()
	l := &lane{working: 1}
	for i := range 2*maxBatch + 1 {
		wants := 1
		if i == maxBatch {
			wants = maxLines + 1 // alone more than a batch's lines
		}
		l.waiting = append(l.waiting, &placement{customerID: fmt.Sprint(i), wants: make([]want, wants)})
	}
	var sizes []int
	n := 0
	for batch := l.next(); batch != nil; batch = l.next() {
		sizes = append(sizes, len(batch))
		for _, w := range batch {
			assert.Equal(t, fmt.Sprint(n), w.(*placement).customerID)
			n++
		}
	}
	assert.Equal(t, []int{maxBatch, 1, maxBatch}, sizes)
	assert.Zero(t, l.working, "the committer is idle")
}
