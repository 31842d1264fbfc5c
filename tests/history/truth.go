package history

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/jackc/pgx/v5"
)

// Order is an order as the database has it. Key is what its client wrote into the address's second line: the key that it was
// asked for with, so that an order that nobody heard of still says whose it is.
type Order struct {
	ID, Key, Status string
	Lines           []Line
}

// Event is an event of an aggregate.
type Event struct {
	ID, Aggregate, Type string
	Sequence            int64
}

// EventOf reads an event's place in its aggregate from its message.
func EventOf(m *azservicebus.ReceivedMessage) Event {
	e := Event{ID: m.MessageID, Aggregate: fmt.Sprint(m.ApplicationProperties["aggregate"])}
	e.Sequence, _ = m.ApplicationProperties["sequence"].(int64)
	if m.Subject != nil {
		e.Type = *m.Subject
	}
	return e
}

// InOrder lists events by the topic's own numbers of them: a receiver that lost its connection gets what it had not
// settled later than what came after, so that the time of arrival says nothing of the order.
func InOrder(places map[int64]Event) (list []Event) {
	for _, place := range slices.Sorted(maps.Keys(places)) {
		list = append(list, places[place])
	}
	return list
}

// Ledger is a product's stock.
type Ledger struct {
	Initial, Available, Sold int
}

// Delivery is what became of an event at an endpoint. Counted is how many attempts it was delivered by, by its record: those
// that were answered well and counted.
type Delivery struct {
	Event, Endpoint, Status string
	Counted                 int
}

// Truth is what the stores hold at the end of a run, and what subscribers heard.
type Truth struct {
	Orders     []Order
	Stock      map[string]Ledger
	Outbox     []Event // all that was stored
	Unsent     int     // of them, not marked as sent
	Parked     int
	Feed       []Event // in its order
	Topic      []Event // in the topic's order; an event may come twice
	Deliveries []Delivery
	Endpoints  []string        // that subscribe to all events
	Hooks      map[string]bool // event ids that the receiver of the endpoints answered well
	Carts      map[string][]Line
}

// ReadDatabase reads what is in the database; topic and hooks are the caller's to fill in.
func ReadDatabase(ctx context.Context, db *pgx.Conn) (t Truth, err error) {
	t.Stock, t.Carts = map[string]Ledger{}, map[string][]Line{}
	for _, step := range []struct {
		what string
		read func(context.Context, *pgx.Conn, *Truth) error
	}{
		{"orders", readOrders}, {"stock", readStock}, {"events", readEvents}, {"deliveries", readDeliveries}, {"carts", readCarts},
	} {
		if err := step.read(ctx, db, &t); err != nil {
			return t, fmt.Errorf("reading the %s: %w", step.what, err)
		}
	}
	return t, nil
}

func readOrders(ctx context.Context, db *pgx.Conn, t *Truth) error {
	rows, err := db.Query(ctx, `SELECT o.id::text, coalesce(o.shipping_address ->> 'line2', ''), o.status, l.product_id::text, l.quantity
FROM orders o JOIN order_lines l ON l.order_id = o.id ORDER BY o.id, l.product_id`)
	if err != nil {
		return err
	}
	var o Order
	var l Line
	_, err = pgx.ForEachRow(rows, []any{&o.ID, &o.Key, &o.Status, &l.Product, &l.Quantity}, func() error {
		if n := len(t.Orders); n == 0 || t.Orders[n-1].ID != o.ID {
			t.Orders = append(t.Orders, Order{ID: o.ID, Key: o.Key, Status: o.Status})
		}
		last := &t.Orders[len(t.Orders)-1]
		last.Lines = append(last.Lines, l)
		return nil
	})
	return err
}

func readStock(ctx context.Context, db *pgx.Conn, t *Truth) error {
	rows, err := db.Query(ctx, `SELECT product_id::text, initial, available, sold FROM stock_ledger`)
	if err != nil {
		return err
	}
	var product string
	var l Ledger
	_, err = pgx.ForEachRow(rows, []any{&product, &l.Initial, &l.Available, &l.Sold}, func() error {
		t.Stock[product] = l
		return nil
	})
	return err
}

func readEvents(ctx context.Context, db *pgx.Conn, t *Truth) (err error) {
	read := func(sql string) ([]Event, error) {
		rows, err := db.Query(ctx, sql)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Event, err error) {
			return e, row.Scan(&e.ID, &e.Aggregate, &e.Type, &e.Sequence)
		})
	}
	if t.Outbox, err = read(`SELECT id::text, aggregate_id::text, type, sequence FROM outbox`); err != nil {
		return err
	}
	if t.Feed, err = read(`SELECT f.id::text, f.aggregate_id::text, f.type, (convert_from(f.payload, 'UTF8')::jsonb ->> 'sequence')::bigint FROM feed f ORDER BY number`); err != nil {
		return err
	}
	return db.QueryRow(ctx, `SELECT (SELECT count(*) FROM outbox WHERE processed_at IS NULL), (SELECT count(*) FROM outbox_parked)`).Scan(&t.Unsent, &t.Parked)
}

func readDeliveries(ctx context.Context, db *pgx.Conn, t *Truth) error {
	rows, err := db.Query(ctx, `SELECT d.event_id::text, d.endpoint_id::text, d.status,
	(SELECT count(*) FROM webhook_attempts a WHERE a.event_id = d.event_id AND a.endpoint_id = d.endpoint_id AND a.status BETWEEN 200 AND 299 AND a.error IS NULL)
FROM webhook_deliveries d`)
	if err != nil {
		return err
	}
	if t.Deliveries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Delivery, err error) {
		return d, row.Scan(&d.Event, &d.Endpoint, &d.Status, &d.Counted)
	}); err != nil {
		return err
	}
	if rows, err = db.Query(ctx, `SELECT id::text FROM webhook_endpoints`); err != nil {
		return err
	}
	t.Endpoints, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

func readCarts(ctx context.Context, db *pgx.Conn, t *Truth) error {
	rows, err := db.Query(ctx, `SELECT cart_id::text, product_id::text, quantity FROM cart_items ORDER BY cart_id, product_id`)
	if err != nil {
		return err
	}
	var cart string
	var l Line
	_, err = pgx.ForEachRow(rows, []any{&cart, &l.Product, &l.Quantity}, func() error {
		t.Carts[cart] = append(t.Carts[cart], l)
		return nil
	})
	return err
}
