package carts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// MaxQuantity is the most units of one product in a cart.
const MaxQuantity = 999

const (
	// ownSQL finds the caller's: what is somebody else's takes as long as what isn't there.
	ownSQL      = `/* Carts.Own */ SELECT id, session_id FROM carts WHERE id = ANY($1) AND customer_key = $2`
	allItemsSQL = `/* Carts.AllItems */
SELECT c.cart_id, c.product_id, c.quantity, p.price_minor, p.currency
FROM cart_items c JOIN products p ON p.id = c.product_id WHERE c.cart_id = ANY($1) ORDER BY c.cart_id, c.added_at, c.product_id`
)

// Many are the carts of these ids that are the caller's.
func (c *Carts) Many(ctx context.Context, caller auth.Identity, ids []uuid.UUID) (map[uuid.UUID]*Cart, error) {
	found := make(map[uuid.UUID]*Cart, len(ids))
	err := c.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, ownSQL, ids, caller.Key())
		if err != nil {
			return err
		}
		var (
			id      uuid.UUID
			session string
		)
		if _, err = pgx.ForEachRow(rows, []any{&id, &session}, func() error {
			found[id] = &Cart{ID: id, SessionID: session, Items: []Item{}}
			return nil
		}); err != nil || len(found) == 0 {
			return err
		}
		if rows, err = conn.Query(ctx, allItemsSQL, slices.Collect(maps.Keys(found))); err != nil {
			return err
		}
		var (
			item     Item
			minor    int64
			currency string
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &item.ProductID, &item.Quantity, &minor, &currency}, func() error {
			cart := found[id]
			if item.UnitPrice, err = money.FromMinor(minor, currency); err != nil {
				return err
			}
			cart.Items = append(cart.Items, item)
			return cart.add(item)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading carts: %w", err)
	}
	return found, nil
}

// SetItem is the operation set-cart-item for who calls it in the process: its key is of the call in ctx.
func (c *Carts) SetItem(ctx context.Context, cart, product uuid.UUID, quantity int) (rest.Answer, error) {
	if err := quantityFits(quantity); err != nil {
		return rest.Answer{}, err
	}
	in := &setInput{CartID: cart}
	in.Body.ProductID, in.Body.Quantity = product, quantity
	return c.set(ctx, in)
}

// RemoveItem is the operation remove-cart-item.
func (c *Carts) RemoveItem(ctx context.Context, cart, product uuid.UUID) (rest.Answer, error) {
	return c.remove(ctx, &removeInput{CartID: cart, ProductID: product})
}

func quantityFits(quantity int) error {
	if quantity < 1 || quantity > MaxQuantity {
		return rest.Invalid("/quantity", "want a whole number from 1 to %d", MaxQuantity)
	}
	return nil
}

// Addition is what AddItem does. Without a cart it makes one.
type Addition struct {
	Cart      *uuid.UUID
	SessionID string // of a new cart
	Product   uuid.UUID
	Quantity  int
}

const addSQL = `/* Carts.Add */
INSERT INTO cart_items (cart_id, product_id, quantity) VALUES ($1, $2, $3)
ON CONFLICT (cart_id, product_id) DO UPDATE SET quantity = cart_items.quantity + EXCLUDED.quantity`

// AddItem puts units on top of what is in the cart, once per key. A new cart, its first item and the answer are one
// transaction.
func (c *Carts) AddItem(ctx context.Context, a Addition) (rest.Answer, error) {
	if err := quantityFits(a.Quantity); err != nil {
		return rest.Answer{}, err
	}
	if n := len([]rune(a.SessionID)); a.Cart == nil && (n < 1 || n > 128) {
		return rest.Answer{}, rest.Invalid("/sessionId", "a new cart needs one, of 1 to 128 characters; or name a cart in cartId")
	}
	call := rest.From(ctx)
	return c.Keys.Do(ctx, call.Keyed(), func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		cart, err := c.basket(ctx, tx, a, call.Caller)
		if err == nil {
			err = c.put(ctx, tx, cart, a)
		}
		var problem *rest.Problem
		if errors.As(err, &problem) {
			return c.API.Refuse(ctx, problem), nil
		}
		if err != nil {
			return rest.Answer{}, fmt.Errorf("adding to a cart: %w", err)
		}
		if cart, err = load(ctx, tx, readSQL, cart.ID, call.Caller); err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, cart)
	})
}

// basket is the cart, locked, or a new one that is not written yet: a refusal must have no effect.
func (c *Carts) basket(ctx context.Context, tx pgx.Tx, a Addition, caller auth.Identity) (Cart, error) {
	if a.Cart != nil {
		return load(ctx, tx, lockSQL, *a.Cart, caller)
	}
	var now time.Time
	err := tx.QueryRow(ctx, `/* Carts.Clock */ SELECT clock_timestamp()`).Scan(&now)
	return Cart{ID: postgres.NewID(now), SessionID: a.SessionID}, err
}

// put writes the addition, and the cart if it is new.
func (c *Carts) put(ctx context.Context, tx pgx.Tx, cart Cart, a Addition) error {
	if err := fits(ctx, tx, cart, a.Product); err != nil {
		return err
	}
	for _, item := range cart.Items {
		if item.ProductID == a.Product && item.Quantity+a.Quantity > MaxQuantity {
			return rest.Invalid("/quantity", "there are %d in the cart already, and more than %d is too many", item.Quantity, MaxQuantity)
		}
	}
	write, args := `/* Carts.Touch */ UPDATE carts SET updated_at = now() WHERE id = $1`, []any{cart.ID}
	if a.Cart == nil {
		write, args = createSQL, []any{cart.ID, rest.From(ctx).Caller.Key(), cart.SessionID}
	}
	if _, err := tx.Exec(ctx, write, args...); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, addSQL, cart.ID, a.Product, a.Quantity)
	return err
}
