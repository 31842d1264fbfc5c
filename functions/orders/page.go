package orders

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/paging"
)

// Edge is an order and its place in the list.
type Edge struct {
	Order  Order
	Cursor string
}

// Part is a part of a customer's orders.
type Part struct {
	Edges                []*Edge
	HasNext, HasPrevious bool
}

// Between two cursors, newest first or oldest first. The other end's default is before or after everything.
const (
	olderSQL = `/* Orders.Older */ SELECT ` + orderColumns + ` FROM orders
WHERE customer_key = $1 AND id < $2 AND id > $3 ORDER BY id DESC LIMIT $4`

	newerSQL = `/* Orders.Newer */ SELECT ` + orderColumns + ` FROM orders
WHERE customer_key = $1 AND id < $2 AND id > $3 ORDER BY id LIMIT $4`

	anyNewerSQL = `/* Orders.AnyNewer */ SELECT EXISTS (SELECT FROM orders WHERE customer_key = $1 AND id >= $2)`
	anyOlderSQL = `/* Orders.AnyOlder */ SELECT EXISTS (SELECT FROM orders WHERE customer_key = $1 AND id <= $2)`

	// visibleSQL finds the caller's own, and for an admin all: what isn't theirs takes exactly as long as what isn't there.
	visibleSQL = `/* Orders.Visible */ SELECT ` + orderColumns + ` FROM orders WHERE id = ANY($1) AND (customer_key = $2 OR $3)`
)

// List is a part of the caller's orders, newest first. The error may be paging.ErrBadCursor.
func (o *Orders) List(ctx context.Context, caller auth.Identity, s paging.Slice) (*Part, error) {
	customer := caller.Key()
	scope := paging.Scope("orders", customer.String())
	after, before := position{newest}, position{}
	for _, c := range []struct {
		cursor string
		at     *position
	}{{s.After, &after}, {s.Before, &before}} {
		if c.cursor != "" {
			if err := o.Cursors.Decode(scope, c.cursor, c.at); err != nil {
				return nil, err
			}
		}
	}
	part := &Part{}
	var list []Order
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) (err error) {
		sql, beyond, there := olderSQL, "", &part.HasPrevious
		switch {
		case s.Backward && s.Before != "":
			sql, beyond, there = newerSQL, anyOlderSQL, &part.HasNext
		case s.Backward:
			sql = newerSQL
		case s.After != "":
			beyond = anyNewerSQL
		}
		if list, err = query(ctx, conn, sql, customer, after.ID, before.ID, s.Size+1); err != nil || beyond == "" {
			return err
		}
		at := after.ID
		if s.Backward {
			at = before.ID
		}
		return conn.QueryRow(ctx, beyond, customer, at).Scan(there)
	})
	if err != nil {
		return nil, fmt.Errorf("listing orders: %w", err)
	}
	page, more := paging.Trim(s, list)
	if s.Backward {
		part.HasPrevious = more
	} else {
		part.HasNext = more
	}
	for _, order := range page {
		cursor, err := o.Cursors.Encode(scope, position{order.ID})
		if err != nil {
			return nil, err
		}
		part.Edges = append(part.Edges, &Edge{order, cursor})
	}
	return part, nil
}

// Many are the orders of these ids that the caller may see.
func (o *Orders) Many(ctx context.Context, caller auth.Identity, ids []uuid.UUID) (map[uuid.UUID]*Order, error) {
	found := make(map[uuid.UUID]*Order, len(ids))
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		list, err := query(ctx, conn, visibleSQL, ids, caller.Key(), auth.OrderRead.ReachesAll(caller))
		for i := range list {
			found[list[i].ID] = &list[i]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	return found, nil
}
