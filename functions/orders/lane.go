package orders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// placement is an order on its way into the database.
type placement struct {
	request    idempotency.Request
	customer   uuid.UUID
	customerID string
	address    Address
	wants      []want                                 // merged and sorted
	refuse     func(*rest.Problem) idempotency.Answer // renders a no
}

// lane commits placements. This is the one place where orders meet stock: one transaction per order, in two
// round trips. The first takes the locks and reads; the second writes and commits. In between, Go decides.
//
//	lock products by id → read prices, key and clock, in statements of their own → decide → stock, order, lines,
//	events, key → COMMIT
//
// Every transaction of the service takes locks in that order (products by id, then orders, the key last), so
// none waits in a circle.
type lane struct {
	pool    *postgres.Pool
	numbers func(context.Context) (numbers, error)
	changed func(context.Context, map[uuid.UUID]int64) // availability changed: product -> its new sequence
	nudge   func(aggregates ...uuid.UUID)              // events were committed
}

// effect is what a commit did, for those who are told of it after.
type effect struct {
	depleted map[uuid.UUID]int64 // products that it emptied, with their new sequence
	tells    []uuid.UUID         // aggregates that it stored events of
}

// situation is what the first round trip read under the locks.
type situation struct {
	shelves  map[uuid.UUID]shelf
	found    *idempotency.Found
	now      time.Time
	sequence int64
}

// commit places one order and returns its answer with what is left of the stored answer's life. The answer may
// be a refusal, or one that was stored before.
func (l *lane) commit(ctx context.Context, p placement) (answer idempotency.Answer, left time.Duration, err error) {
	scheme, err := l.numbers(ctx)
	if err != nil {
		return answer, 0, err
	}
	var done effect
	err = l.pool.Do(ctx, func(conn *pgx.Conn) error {
		s, err := l.read(ctx, conn, p)
		if err == nil && s.found != nil && !s.found.Expired {
			answer, left = s.found.Answer, s.found.Left
			return rollback(ctx, conn)
		}
		if err == nil {
			answer, done, err = l.write(ctx, conn, p, s, scheme)
			left = idempotency.Life
		}
		if err != nil {
			return errors.Join(err, rollback(ctx, conn))
		}
		return nil
	})
	if err != nil {
		return idempotency.Answer{}, 0, fmt.Errorf("placing an order: %w", err)
	}
	l.nudge(done.tells...)
	if len(done.depleted) > 0 {
		l.changed(ctx, done.depleted)
	}
	return answer, left, nil
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
func (l *lane) read(ctx context.Context, conn *pgx.Conn, p placement) (s situation, err error) {
	ids := make([]uuid.UUID, len(p.wants))
	for i, w := range p.wants {
		ids[i] = w.product
	}
	key := p.request.Digest()
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	batch.Queue(lockSQL, ids)
	batch.Queue(pricesSQL, ids)
	batch.Queue(idempotency.FindSQL, key[:])
	batch.Queue(ticketSQL)
	results := conn.SendBatch(ctx, batch)
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
	if s.found, err = idempotency.ScanFound(rows, p.request); err != nil {
		return s, err
	}
	err = results.QueryRow().Scan(&s.now, &s.sequence)
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

// write decides and writes, answer and key included, and commits: one round trip.
func (l *lane) write(ctx context.Context, conn *pgx.Conn, p placement, s situation, scheme numbers) (idempotency.Answer, effect, error) {
	batch := &pgx.Batch{}
	if s.found != nil { // expired: its row makes room for ours
		key := p.request.Digest()
		batch.Queue(idempotency.DropExpiredSQL, key[:])
	}
	answer, done, err := l.decide(ctx, batch, p, s, scheme)
	if err != nil {
		return idempotency.Answer{}, effect{}, err
	}
	args, err := idempotency.SaveArgs(p.request, answer)
	if err != nil {
		return idempotency.Answer{}, effect{}, err
	}
	batch.Queue(idempotency.SaveSQL, args...)
	batch.Queue("COMMIT")
	// A failing statement makes the server skip the rest of the batch, COMMIT included.
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return idempotency.Answer{}, effect{}, err
	}
	return answer, done, nil
}

// decide queues what the order does, and returns its answer and effect.
func (l *lane) decide(ctx context.Context, batch *pgx.Batch, p placement, s situation, scheme numbers) (idempotency.Answer, effect, error) {
	takes, problem := decide(p.wants, s.shelves)
	if problem != nil {
		return p.refuse(problem), effect{}, nil
	}
	list, total, problem := lines(takes)
	if problem != nil {
		return p.refuse(problem), effect{}, nil
	}
	order := Order{
		ID: postgres.NewID(s.now), OrderNumber: scheme.number(s.sequence), Status: Pending,
		CustomerID: p.customerID, ShippingAddress: p.address, Lines: list, TotalAmount: total, CreatedAt: s.now,
		customer: p.customer, version: 1,
	}
	done := effect{depleted: queueStock(batch, takes)}
	if err := queueOrder(batch, order); err != nil {
		return idempotency.Answer{}, effect{}, err
	}
	happened := append([]events.Event{event(order, events.OrderCreated, s.now)}, emptied(takes, s.now)...)
	for _, e := range happened {
		done.tells = append(done.tells, e.Aggregate.ID)
	}
	args, err := outbox.InsertArgs(ctx, happened)
	if err != nil {
		return idempotency.Answer{}, effect{}, err
	}
	batch.Queue(outbox.InsertSQL, args...)
	answer, err := rest.JSON(http.StatusCreated, order)
	answer.Location = "/api/v1/orders/" + order.ID.String()
	return answer, done, err
}

func queueStock(batch *pgx.Batch, takes []take) map[uuid.UUID]int64 {
	n := len(takes)
	ids, deltas, bumps := make([]uuid.UUID, n), make([]int64, n), make([]int64, n)
	depleted := make(map[uuid.UUID]int64)
	for i, t := range takes {
		ids[i], deltas[i] = t.shelf.product, -t.quantity
		if t.depleted {
			bumps[i] = 1
			depleted[t.shelf.product] = t.shelf.sequence + 1
		}
	}
	batch.Queue(takeSQL, ids, deltas, bumps)
	return depleted
}

func queueOrder(batch *pgx.Batch, o Order) error {
	address, err := json.Marshal(o.ShippingAddress)
	if err != nil {
		return fmt.Errorf("storing an address: %w", err)
	}
	batch.Queue(insertOrderSQL, o.ID, o.OrderNumber, o.customer, o.CustomerID, address, o.TotalAmount.Currency(),
		o.TotalAmount.Minor(), o.CreatedAt)
	n := len(o.Lines)
	numbers, quantities, prices := make([]int32, n), make([]int32, n), make([]int64, n)
	products, skus, names := make([]uuid.UUID, n), make([]string, n), make([]string, n)
	for i, line := range o.Lines {
		numbers[i], quantities[i], prices[i] = int32(i+1), int32(line.Quantity), line.UnitPrice.Minor() //nolint:gosec // at most 100 lines of 999
		products[i], skus[i], names[i] = line.ProductID, line.SKU, line.Name
	}
	batch.Queue(insertLinesSQL, o.ID, numbers, products, skus, names, quantities, prices)
	return nil
}

// event tells of an order as it is now.
func event(o Order, kind string, at time.Time) events.Event {
	return events.Event{
		ID: postgres.NewID(at), Type: kind, Aggregate: events.Aggregate{Type: "order", ID: o.ID},
		Sequence: o.version, Time: at, Data: o,
	}
}

// emptied tells of products whose last unit went.
func emptied(takes []take, at time.Time) (list []events.Event) {
	for _, t := range takes {
		if t.depleted {
			list = append(list, events.Event{
				ID: postgres.NewID(at), Type: events.ProductStockDepleted,
				Aggregate: events.Aggregate{Type: "product", ID: t.shelf.product}, Sequence: t.shelf.sequence + 1, Time: at,
				Data: events.StockDepletion{ProductID: t.shelf.product, SKU: t.shelf.sku},
			})
		}
	}
	return list
}
