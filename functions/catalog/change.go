package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/cache"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// lockSQL is taken before anything of a product changes: price and text too, so that its sequence is one counter.
const lockSQL = `/* Catalog.Lock */
SELECT i.initial, i.available, i.sequence, p.sku, clock_timestamp() FROM inventory i JOIN products p ON p.id = i.product_id
WHERE i.product_id = $1 FOR NO KEY UPDATE OF i`

type changeInput struct {
	ProductID uuid.UUID `path:"productId" format:"uuid"`
	Body      struct {
		Name        *string      `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Description *string      `json:"description,omitempty" maxLength:"4000"`
		Category    *string      `json:"category,omitempty" minLength:"1" maxLength:"80"`
		Price       *money.Money `json:"price,omitempty"`
		Images      *[]string    `json:"images,omitempty" maxItems:"20"`
	}
}

// change edits a product. The check of If-Match and the write are under one lock.
func (c *Catalog) change(ctx context.Context, in *changeInput) (rest.Answer, error) {
	if in.Body.Price != nil && in.Body.Price.Minor() < 0 {
		return rest.Answer{}, rest.Invalid("/price/amount", "a price is not negative")
	}
	if in.Body.Images != nil {
		for i, image := range *in.Body.Images {
			if !isImage(image) {
				return rest.Answer{}, rest.Invalid("/images/"+strconv.Itoa(i), "want an absolute http or https URL of up to 500 characters")
			}
		}
	}
	var changed map[uuid.UUID]int64
	answer, err := c.Keys.Do(ctx, rest.From(ctx).Keyed(), func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		shelf, err := lock(ctx, tx, in.ProductID)
		if err != nil {
			return c.refuseMissing(ctx, err)
		}
		before, err := one(ctx, tx, in.ProductID)
		if err != nil {
			return rest.Answer{}, err
		}
		current, err := rest.JSON(http.StatusOK, before)
		if err != nil {
			return rest.Answer{}, err
		}
		if unmet := rest.From(ctx).Unmet(current.ETag, "The product"); unmet != nil {
			return c.API.Refuse(ctx, unmet), nil
		}
		after := apply(before, in)
		if same(after, before) {
			return current, nil
		}
		changed = map[uuid.UUID]int64{after.ID: shelf.sequence + 1}
		if err := store(ctx, tx, before, after, shelf); err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, after)
	})
	if err == nil {
		c.Nudge(in.ProductID)
		c.Invalidate(ctx, changed)
	}
	return answer, err
}

func apply(p Product, in *changeInput) Product {
	for _, f := range []struct {
		from *string
		to   *string
	}{{in.Body.Name, &p.Name}, {in.Body.Description, &p.Description}, {in.Body.Category, &p.Category}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if in.Body.Price != nil {
		p.Price = *in.Body.Price
	}
	if in.Body.Images != nil {
		p.Images = *in.Body.Images
	}
	return p
}

// difference is what the audit log keeps of a change: which members, and of the price both values.
func difference(before, after Product) map[string]any {
	details := make(map[string]any)
	changed := []string{}
	for _, f := range []struct{ name, from, to string }{
		{"name", before.Name, after.Name}, {"description", before.Description, after.Description}, {"category", before.Category, after.Category},
	} {
		if f.from != f.to {
			changed = append(changed, f.name)
		}
	}
	if !slices.Equal(before.Images, after.Images) {
		changed = append(changed, "images")
	}
	if before.Price != after.Price {
		changed = append(changed, "price")
		details["priceBefore"], details["priceAfter"] = before.Price, after.Price
	}
	details["changed"] = changed
	return details
}

func same(a, b Product) bool {
	return a.Name == b.Name && a.Description == b.Description && a.Category == b.Category && a.Price == b.Price && slices.Equal(a.Images, b.Images)
}

// isImage tells whether a text may be shown as the address of a picture.
func isImage(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(s) <= 500
}

// store writes a changed product, raises its sequence, and tells of a new price.
func store(ctx context.Context, tx pgx.Tx, before, after Product, shelf shelf) error {
	const update = `/* Catalog.Change */
UPDATE products SET name = $2, description = $3, category = $4, price_minor = $5, currency = $6, images = $7, updated_at = now() WHERE id = $1`
	_, err := tx.Exec(ctx, update, after.ID, after.Name, after.Description, after.Category, after.Price.Minor(), after.Price.Currency(), after.Images)
	if err == nil {
		_, err = tx.Exec(ctx, `/* Catalog.Bump */ UPDATE inventory SET sequence = sequence + 1 WHERE product_id = $1`, after.ID)
	}
	if err != nil {
		return fmt.Errorf("changing product %s: %w", after.ID, err)
	}
	if err := audit.Write(ctx, tx, audit.Entry{Action: audit.ProductChanged, Target: after.ID.String(), Details: difference(before, after)}); err != nil {
		return err
	}
	if after.Price == before.Price {
		return nil
	}
	return outbox.Insert(ctx, tx, shelf.event(events.ProductPriceChanged, shelf.sequence+1, events.PriceChange{
		ProductID: after.ID, SKU: after.SKU, OldPrice: before.Price, NewPrice: after.Price,
	}))
}

// Stock is what is left of a product.
type Stock struct {
	ProductID uuid.UUID `json:"productId"`
	Available int64     `json:"available"`
}

type adjustInput struct {
	ProductID uuid.UUID `path:"productId" format:"uuid"`
	Body      struct {
		Delta  int64  `json:"delta" minimum:"-1000000" maximum:"1000000" doc:"Units put in, or taken out when negative"`
		Reason string `json:"reason" minLength:"1" maxLength:"200"`
	}
}

// adjust moves initial and available together, so that what was sold stays what it is.
func (c *Catalog) adjust(ctx context.Context, in *adjustInput) (rest.Answer, error) {
	if in.Body.Delta == 0 {
		return rest.Answer{}, rest.Invalid("/delta", "it changes nothing: want a number other than 0")
	}
	var changed map[uuid.UUID]int64
	answer, err := c.Keys.Do(ctx, rest.From(ctx).Keyed(), func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		shelf, err := lock(ctx, tx, in.ProductID)
		if err != nil {
			return c.refuseMissing(ctx, err)
		}
		left := shelf.available + in.Body.Delta
		if left < 0 {
			p := rest.NewProblem(rest.SoldOut, "There are only %d units to take out.", shelf.available)
			p.Extensions = map[string]any{"products": []map[string]any{{"productId": in.ProductID, "requested": -in.Body.Delta, "available": shelf.available}}}
			return c.API.Refuse(ctx, p), nil
		}
		sequence := shelf.sequence
		if (left == 0) != (shelf.available == 0) {
			sequence++
			changed = map[uuid.UUID]int64{in.ProductID: sequence}
		}
		const update = `/* Catalog.Adjust */
UPDATE inventory SET initial = initial + $2, available = available + $2, sequence = $3 WHERE product_id = $1`
		if _, err := tx.Exec(ctx, update, in.ProductID, in.Body.Delta, sequence); err != nil {
			return rest.Answer{}, fmt.Errorf("adjusting stock of %s: %w", in.ProductID, err)
		}
		err = audit.Write(ctx, tx, audit.Entry{
			Action: audit.StockAdjusted, Target: in.ProductID.String(), Details: map[string]any{"delta": in.Body.Delta, "reason": in.Body.Reason, "available": left},
		})
		if err != nil {
			return rest.Answer{}, err
		}
		if left == 0 {
			err = outbox.Insert(ctx, tx, shelf.event(events.ProductStockDepleted, sequence, events.StockDepletion{ProductID: in.ProductID, SKU: shelf.sku}))
			if err != nil {
				return rest.Answer{}, err
			}
		}
		return rest.JSON(http.StatusOK, Stock{ProductID: in.ProductID, Available: left})
	})
	if err == nil {
		c.Nudge(in.ProductID)
		c.Invalidate(ctx, changed)
	}
	return answer, err
}

func (c *Catalog) refuseMissing(ctx context.Context, err error) (rest.Answer, error) {
	if errors.Is(err, cache.ErrNotFound) {
		return c.API.Refuse(ctx, notFound()), nil
	}
	return rest.Answer{}, err
}

// shelf is a product's locked inventory row.
type shelf struct {
	id                           uuid.UUID
	initial, available, sequence int64
	sku                          string
	now                          time.Time
}

func lock(ctx context.Context, tx pgx.Tx, id uuid.UUID) (shelf, error) {
	s := shelf{id: id}
	err := tx.QueryRow(ctx, lockSQL, id).Scan(&s.initial, &s.available, &s.sequence, &s.sku, &s.now)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, cache.ErrNotFound
	}
	if err != nil {
		return s, fmt.Errorf("locking product %s: %w", id, err)
	}
	return s, nil
}

func (s shelf) event(kind string, sequence int64, data any) events.Event {
	return events.Event{
		ID: postgres.NewID(s.now), Type: kind, Aggregate: events.Aggregate{Type: "product", ID: s.id},
		Sequence: sequence, Time: s.now, Data: data,
	}
}
