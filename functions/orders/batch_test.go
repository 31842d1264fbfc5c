package orders

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/rest"
)

// verdict is what a customer sees of a decision: the status, and of whom it was sold out.
func verdict(t require.TestingT, o outcome) string {
	if o.err != nil {
		return o.err.Error()
	}
	var body struct {
		Lines, Products []map[string]any
		Total           any `json:"totalAmount"`
	}
	require.NoError(t, json.Unmarshal(o.answer.Body, &body))
	return fmt.Sprint(o.answer.Status, body.Lines, body.Products, body.Total)
}

func refusing(p *rest.Problem) idempotency.Answer {
	body, _ := json.Marshal(p.Extensions) //nolint:errchkjson // plain values
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

func somePlacements(t *rapid.T, shelves map[uuid.UUID]shelf) (batch []*placement) {
	for i := range rapid.IntRange(1, 12).Draw(t, "orders") {
		p := &placement{customerID: "ada", refuse: refusing, done: make(chan outcome, 1)}
		p.request = idempotency.Request{Operation: "place-order", Key: fmt.Sprint(i)}
		if rapid.IntRange(0, 9).Draw(t, "repeat") == 0 && i > 0 {
			p.request = batch[rapid.IntRange(0, i-1).Draw(t, "of")].request
		}
		if rapid.IntRange(0, 19).Draw(t, "other body") == 0 {
			p.request.Fingerprint = sha256.Sum256([]byte{byte(i)})
		}
		var wants []want
		for j := range rapid.IntRange(1, 3).Draw(t, "lines") {
			id := uuid.UUID{15: byte(rapid.IntRange(1, len(shelves)+rapid.IntRange(0, 1).Draw(t, "unknown")).Draw(t, "product"))}
			wants = append(wants, want{product: id, quantity: rapid.IntRange(1, 5).Draw(t, "quantity"), pointer: fmt.Sprintf("/lines/%d", j)})
		}
		var problem *rest.Problem
		p.wants, problem = merge(wants)
		require.Nil(t, problem)
		batch = append(batch, p)
	}
	return batch
}

// TestABatchDecidesAsOneOrderAfterTheOther compares the lane's decisions with the same orders alone, each in a
// transaction of its own that finds what the ones before it left: stock, and stored answers.
func TestABatchDecidesAsOneOrderAfterTheOther(t *testing.T) {
	t.Parallel()
	scheme := numbers{key: make([]byte, 32)}
	rapid.Check(t, func(t *rapid.T) {
		shelves := someShelves(t)
		batch := somePlacements(t, shelves)
		tickets := make([]int64, len(batch))
		for i := range tickets {
			tickets[i] = int64(i + 1)
		}
		before := copied(shelves)
		now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
		whole, err := decideAll(batch, situation{shelves: shelves, keys: map[[sha256.Size]byte]idempotency.Row{}, now: now, tickets: tickets}, scheme)
		require.NoError(t, err)

		single := copied(before)
		stored := make(map[[sha256.Size]byte]int) // digest -> who has it
		answers := make([]outcome, len(batch))
		sold, events := make(map[uuid.UUID]int64), 0
		for i, p := range batch {
			if earlier, ok := stored[p.request.Digest()]; ok { // what the key's row says
				answers[i] = repeat(batch[earlier], p, answers[earlier])
			} else {
				alone, err := decideAll([]*placement{p}, situation{shelves: single, keys: map[[sha256.Size]byte]idempotency.Row{}, now: now, tickets: tickets[i:]}, scheme)
				require.NoError(t, err)
				answers[i], stored[p.request.Digest()] = alone.outcomes[0], i
				events += len(alone.events)
				for id, delta := range alone.deltas {
					sold[id] -= delta
				}
			}
			assert.Equal(t, verdict(t, answers[i]), verdict(t, whole.outcomes[i]), "order %d", i)
		}
		assert.Equal(t, single, shelves, "what is left")
		assert.Len(t, whole.events, events)
		assert.Len(t, whole.saved, len(stored), "each key once")
		placed := 0
		for _, s := range whole.saved {
			if s.Answer.Status == http.StatusCreated {
				placed++
			}
		}
		assert.Len(t, whole.placed, placed)
		for id, s := range before {
			assert.Equal(t, s.available-sold[id], shelves[id].available, "units are conserved")
			assert.Equal(t, -sold[id], whole.deltas[id])
			assert.GreaterOrEqual(t, shelves[id].available, int64(0))
		}
	})
}

func copied(shelves map[uuid.UUID]shelf) map[uuid.UUID]shelf {
	out := make(map[uuid.UUID]shelf, len(shelves))
	for id, s := range shelves {
		out[id] = s
	}
	return out
}

// Who came first is served first, as many as a batch may have.
func TestBatchesAreBoundedAndInOrder(t *testing.T) {
	t.Parallel()
	l := &lane{working: 1}
	for i := range 2*maxBatch + 1 {
		l.waiting = append(l.waiting, &placement{customerID: fmt.Sprint(i), wants: make([]want, 1)})
	}
	l.waiting[maxBatch].wants = make([]want, maxLines+1) // alone more than a batch's lines
	var sizes []int
	n := 0
	for batch := l.next(); batch != nil; batch = l.next() {
		sizes = append(sizes, len(batch))
		for _, p := range batch {
			assert.Equal(t, fmt.Sprint(n), p.customerID)
			n++
		}
	}
	assert.Equal(t, []int{maxBatch, 1, maxBatch}, sizes)
	assert.Zero(t, l.working, "the committer is idle")
}

func TestALongLineIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l := &lane{working: committers, waiting: make([]*placement, maxWaiting)}
	_, _, err := l.commit(t.Context(), placement{})
	assert.ErrorIs(t, err, errLaneFull)
}
