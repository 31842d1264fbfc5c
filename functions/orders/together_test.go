package orders

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/tests/kit"
)

// bench is a lane on a database of its own, whose batches the test puts together.
type bench struct {
	*kit.API
	*Orders
	changed map[uuid.UUID]int64 // what was told of the last batch
	keys    int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{API: kit.NewAPI(t)}
	var err error
	b.Orders, err = New(Options{
		API: b.REST, Pools: b.API.Pools, Keys: b.Keys, Cursors: b.Cursors,
		AvailabilityChanged: func(_ context.Context, m map[uuid.UUID]int64) { b.changed = m },
	})
	require.NoError(t, err)
	return b
}

func (b *bench) job(operation string) job {
	b.keys++
	j := b.Orders.job(context.Background(), idempotency.Request{Operation: operation, Key: fmt.Sprint(b.keys)})
	j.done = make(chan outcome, 1)
	return j
}

func (b *bench) order(product uuid.UUID, units int) *placement {
	return &placement{
		job: b.job("place-order"), customerID: "ada", customer: uuid.UUID{1},
		address: Address{Name: "Ada", Line1: "1 Main St", City: "Austin", PostalCode: "73301", Country: "US"},
		wants:   []want{{product: product, quantity: units, pointer: "/lines/0"}},
	}
}

// back is a cancellation of a placed order, as it is read before the lane.
func (b *bench) back(t *testing.T, id uuid.UUID) *cancellation {
	t.Helper()
	c := &cancellation{job: b.job("cancel-order"), reason: "no", by: audit.Entry{Who: auth.Identity{Subject: "ada"}}}
	require.NoError(t, b.API.Pools.Orders.Do(t.Context(), func(conn *pgx.Conn) (err error) {
		c.order, err = one(t.Context(), conn, readSQL, id)
		return err
	}))
	require.NotNil(t, c.order)
	return c
}

// commit commits work together and returns the answers.
func (b *bench) commit(t *testing.T, batch ...work) (answers []idempotency.Answer) {
	t.Helper()
	b.changed = nil
	require.NoError(t, b.lane.transact(t.Context(), batch))
	for _, w := range batch {
		o := <-w.self().done
		require.NoError(t, o.err)
		answers = append(answers, o.answer)
	}
	return answers
}

func idOf(t *testing.T, a idempotency.Answer) uuid.UUID {
	t.Helper()
	var o Order
	require.NoError(t, json.Unmarshal(a.Body, &o), "%s", a.Body)
	return o.ID
}

func (b *bench) stock(t *testing.T, column string, product uuid.UUID) int {
	t.Helper()
	return kit.One[int](t, b.Database, `SELECT `+column+`::int FROM inventory WHERE product_id = $1`, product)
}

// A unit that comes back is there for who stands behind in the same batch, and for nobody before; it comes back once.
func TestAReturnedUnitIsForWhoComesNextInTheBatch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	product := b.Product(t, 1)
	mine := idOf(t, b.commit(t, b.order(product, 1))[0])
	assert.Equal(t, map[uuid.UUID]int64{product: 2}, b.changed)

	answers := b.commit(t, b.order(product, 1), b.back(t, mine), b.back(t, mine), b.order(product, 1), b.order(product, 1))
	var statuses []int
	for _, a := range answers {
		statuses = append(statuses, a.Status)
	}
	assert.Equal(t, []int{http.StatusConflict, http.StatusOK, http.StatusConflict, http.StatusCreated, http.StatusConflict}, statuses)
	assert.Contains(t, string(answers[2].Body), "/docs/problems/too-late")
	assert.Equal(t, map[uuid.UUID]int64{product: 4}, b.changed, "it came back and went again")
	assert.Equal(t, 4, b.stock(t, "sequence", product))
	assert.Zero(t, b.stock(t, "available", product))

	b.commit(t, b.back(t, idOf(t, answers[3])))
	assert.Equal(t, map[uuid.UUID]int64{product: 5}, b.changed, "it is back")
	assert.Equal(t, 1, b.stock(t, "available", product))
	assert.Zero(t, kit.One[int](t, b.Database, `SELECT count(*) FROM stock_ledger WHERE initial <> available + sold`))
	types := kit.One[[]string](t, b.Database, `SELECT array_agg(type || '#' || sequence ORDER BY type, sequence) FROM outbox`)
	assert.Equal(t, []string{
		"order.cancelled.v1#2", "order.cancelled.v1#2", "order.created.v1#1", "order.created.v1#1",
		"product.stock_depleted.v1#2", "product.stock_depleted.v1#4",
	}, types)
}

// CX-14: an order that was moved behind the lock's back. The statement notices, and nothing of the batch is kept.
func TestCX14StockOfAnOrderThatDidNotMoveStaysOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	product := b.Product(t, 10)
	id := idOf(t, b.commit(t, b.order(product, 4))[0])
	c := b.back(t, id)
	err := b.API.Pools.Orders.Do(t.Context(), func(conn *pgx.Conn) error {
		s, err := read(t.Context(), conn, []work{c})
		require.NoError(t, err)
		s.orders[id] = standing{Pending, s.orders[id].version + 1} // as if the lock had not held
		p, err := decideAll([]work{c}, &s)
		require.NoError(t, err)
		require.Len(t, p.cancelled, 1)
		require.Error(t, write(t.Context(), conn, &p))
		return rollback(t.Context(), conn)
	})
	require.NoError(t, err)
	assert.Equal(t, 6, b.stock(t, "available", product))
	assert.Equal(t, "Pending", kit.One[string](t, b.Database, `SELECT status FROM orders`))
	assert.Zero(t, kit.One[int](t, b.Database, `SELECT count(*) FROM outbox WHERE type = $1`, events.OrderCancelled))
	assert.Equal(t, http.StatusOK, b.commit(t, c)[0].Status)
	assert.Equal(t, 10, b.stock(t, "available", product))
}
