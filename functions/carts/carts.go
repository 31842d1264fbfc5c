// Package carts keeps what a customer means to buy. A cart shows what its products cost now; only an order fixes
// prices. Carts belong to the caller who made them: for everybody else they do not exist.
package carts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

const (
	base     = "/api/v1/carts"
	maxLines = 100
)

// Options say what the slice stands on.
type Options struct {
	API   *rest.API
	Pools *postgres.Pools
	Keys  *idempotency.Store
}

// Carts are the use cases.
type Carts struct{ Options }

// Cart is what is shown of a cart.
type Cart struct {
	ID          uuid.UUID    `json:"id"`
	SessionID   string       `json:"sessionId"`
	Items       []Item       `json:"items"`
	TotalAmount *money.Money `json:"totalAmount,omitempty" doc:"Absent while the cart is empty: it has no currency yet"`

	customer uuid.UUID
}

// Item is one product of a cart at its current price.
type Item struct {
	ProductID uuid.UUID   `json:"productId"`
	Quantity  int         `json:"quantity"`
	UnitPrice money.Money `json:"unitPrice"`
}

// New makes the slice and registers its operations.
func New(o Options) *Carts {
	c := &Carts{o}
	rest.Register(o.API, rest.Operation{
		ID: "create-cart", Method: http.MethodPost, Path: base, Tag: "Carts", Policy: &auth.AnyToken, Keyed: true,
		Summary: "Make a cart", Status: http.StatusCreated, Response: Cart{},
	}, c.create)
	rest.Register(o.API, rest.Operation{
		ID: "read-cart", Method: http.MethodGet, Path: base + "/{cartId}", Tag: "Carts", Policy: &auth.AnyToken,
		Summary: "Read a cart", Status: http.StatusOK, Response: Cart{}, NotModified: true, Problems: []rest.ProblemKind{rest.NotFound},
	}, c.read)
	rest.Register(o.API, rest.Operation{
		ID: "set-cart-item", Method: http.MethodPut, Path: base + "/{cartId}/items", Tag: "Carts", Policy: &auth.AnyToken, Keyed: true,
		Summary: "Set the quantity of a product in a cart", Description: "`If-Match` is honoured and not required.",
		Status: http.StatusOK, Response: Cart{}, Problems: []rest.ProblemKind{rest.NotFound}, IfMatch: rest.MayMatch,
	}, c.set)
	rest.Register(o.API, rest.Operation{
		ID: "remove-cart-item", Method: http.MethodDelete, Path: base + "/{cartId}/items/{productId}", Tag: "Carts", Policy: &auth.AnyToken, Keyed: true,
		Summary: "Take a product out of a cart", Description: "Answers the cart, also when the product was not in it. `If-Match` is honoured and not required.",
		Status: http.StatusOK, Response: Cart{}, Problems: []rest.ProblemKind{rest.NotFound}, IfMatch: rest.MayMatch,
	}, c.remove)
	return c
}

type createInput struct {
	Body struct {
		SessionID string `json:"sessionId" minLength:"1" maxLength:"128" doc:"The shop's name for the visit"`
	}
}

const createSQL = `/* Carts.Create */ INSERT INTO carts (id, customer_key, session_id) VALUES ($1, $2, $3)`

func (c *Carts) create(ctx context.Context, in *createInput) (rest.Answer, error) {
	call := rest.From(ctx)
	return c.Keys.Do(ctx, call.Keyed(), func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		var now time.Time
		if err := tx.QueryRow(ctx, `/* Carts.Clock */ SELECT clock_timestamp()`).Scan(&now); err != nil {
			return rest.Answer{}, fmt.Errorf("making a cart: %w", err)
		}
		cart := Cart{ID: postgres.NewID(now), SessionID: in.Body.SessionID, Items: []Item{}}
		_, err := tx.Exec(ctx, createSQL, cart.ID, call.Caller.Key(), cart.SessionID)
		if err != nil {
			return rest.Answer{}, fmt.Errorf("making a cart: %w", err)
		}
		answer, err := rest.JSON(http.StatusCreated, cart)
		answer.Location = base + "/" + cart.ID.String()
		return answer, err
	})
}

type cartInput struct {
	CartID uuid.UUID `path:"cartId" format:"uuid"`
}

func (c *Carts) read(ctx context.Context, in *cartInput) (rest.Answer, error) {
	var answer rest.Answer
	err := c.Pools.Reads.Read(ctx, func(conn *pgx.Conn) error {
		cart, err := load(ctx, conn, readSQL, in.CartID, rest.From(ctx).Caller)
		if err != nil {
			return err
		}
		answer, err = rest.JSON(http.StatusOK, cart)
		return err
	})
	answer.CacheControl = "private, no-store"
	return answer, err
}

type setInput struct {
	CartID uuid.UUID `path:"cartId" format:"uuid"`
	Body   struct {
		ProductID uuid.UUID `json:"productId" format:"uuid"`
		Quantity  int       `json:"quantity" minimum:"1" maximum:"999"`
	}
}

const setSQL = `/* Carts.Set */
INSERT INTO cart_items (cart_id, product_id, quantity) VALUES ($1, $2, $3)
ON CONFLICT (cart_id, product_id) DO UPDATE SET quantity = EXCLUDED.quantity`

func (c *Carts) set(ctx context.Context, in *setInput) (rest.Answer, error) {
	return c.edit(ctx, in.CartID, func(ctx context.Context, tx pgx.Tx, cart Cart) error {
		if err := fits(ctx, tx, cart, in.Body.ProductID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, setSQL, cart.ID, in.Body.ProductID, in.Body.Quantity)
		return err
	})
}

// fits says why a product can't be in a cart.
func fits(ctx context.Context, tx pgx.Tx, cart Cart, product uuid.UUID) error {
	var currency string
	err := tx.QueryRow(ctx, `/* Carts.Product */ SELECT currency FROM products WHERE id = $1`, product).Scan(&currency)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return rest.Invalid("/productId", "there is no such product")
	case err != nil:
		return fmt.Errorf("looking for a product: %w", err)
	case cart.TotalAmount != nil && cart.TotalAmount.Currency() != currency:
		return rest.Invalid("/productId", "it is priced in %s, the cart in %s: one cart has one currency", currency, cart.TotalAmount.Currency())
	case len(cart.Items) >= maxLines && !cart.has(product):
		return rest.Invalid("/productId", "the cart is full: it holds %d products", maxLines)
	}
	return nil
}

type removeInput struct {
	CartID    uuid.UUID `path:"cartId" format:"uuid"`
	ProductID uuid.UUID `path:"productId" format:"uuid"`
}

// remove is the same whether or not the product is there: a retry under a new key has nothing to complain about.
func (c *Carts) remove(ctx context.Context, in *removeInput) (rest.Answer, error) {
	return c.edit(ctx, in.CartID, func(ctx context.Context, tx pgx.Tx, cart Cart) error {
		_, err := tx.Exec(ctx, `/* Carts.Remove */ DELETE FROM cart_items WHERE cart_id = $1 AND product_id = $2`, cart.ID, in.ProductID)
		return err
	})
}

// edit changes a cart under its lock, so that the check of the preconditions and the change are one.
func (c *Carts) edit(ctx context.Context, id uuid.UUID, change func(context.Context, pgx.Tx, Cart) error) (rest.Answer, error) {
	call := rest.From(ctx)
	return c.Keys.Do(ctx, call.Keyed(), func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		cart, err := load(ctx, tx, lockSQL, id, call.Caller)
		if err == nil && call.Conditional() {
			err = matches(call, cart)
		}
		if err == nil {
			err = change(ctx, tx, cart)
		}
		var problem *rest.Problem
		if errors.As(err, &problem) {
			return c.API.Refuse(ctx, problem), nil
		}
		if err != nil {
			return rest.Answer{}, fmt.Errorf("changing cart %s: %w", id, err)
		}
		if _, err := tx.Exec(ctx, `/* Carts.Touch */ UPDATE carts SET updated_at = now() WHERE id = $1`, id); err != nil {
			return rest.Answer{}, fmt.Errorf("changing cart %s: %w", id, err)
		}
		if cart, err = load(ctx, tx, readSQL, id, call.Caller); err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, cart)
	})
}

// matches asks the caller's preconditions of a cart as its owner sees it: another price in it is another version of it.
func matches(call *rest.Call, cart Cart) error {
	current, err := rest.JSON(http.StatusOK, cart)
	if err != nil {
		return err
	}
	if unmet := call.Unmet(current.ETag, "The cart, or a price in it,"); unmet != nil {
		return unmet
	}
	return nil
}

func (c Cart) has(product uuid.UUID) bool {
	for _, item := range c.Items {
		if item.ProductID == product {
			return true
		}
	}
	return false
}
