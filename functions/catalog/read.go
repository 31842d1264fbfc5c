package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/cache"
	"github.com/company/order-catalog-service/shared/rest"
)

const columns = `p.id, p.sku, p.name, p.description, p.category, p.price_minor, p.currency, i.available > 0, p.images, i.sequence`

const readSQL = `/* Catalog.Read */ SELECT ` + columns + `
FROM products p JOIN inventory i ON i.product_id = p.id WHERE p.id = $1`

// fresh is how long a client or gateway may use an answer unasked. Answers need a token but are the same for
// everybody who may read them, so `public` lets a shared cache keep them although the request had an
// Authorization header (RFC 9111, section 3.5); the gateway checks the token before it looks there.
const fresh = "public, max-age=60, stale-while-revalidate=30, stale-if-error=300"

type productInput struct {
	ProductID uuid.UUID `path:"productId" format:"uuid"`
}

// read answers with cached bytes: no product is decoded or encoded on a hit.
func (c *Catalog) read(ctx context.Context, in *productInput) (rest.Answer, error) {
	entry, err := c.products.Get(ctx, in.ProductID.String(), func(ctx context.Context) (cache.Entry, error) {
		return c.load(ctx, in.ProductID)
	})
	if errors.Is(err, cache.ErrNotFound) {
		return rest.Answer{}, notFound()
	}
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.Answer{Status: http.StatusOK, ContentType: "application/json", ETag: entry.ETag, CacheControl: fresh, Body: entry.Body}, nil
}

func notFound() *rest.Problem { return rest.NewProblem(rest.NotFound, "There is no such product.") }

func (c *Catalog) load(ctx context.Context, id uuid.UUID) (entry cache.Entry, err error) {
	err = c.Pools.Reads.Read(ctx, func(conn *pgx.Conn) error {
		p, err := one(ctx, conn, id)
		if err != nil {
			return err
		}
		entry, err = entryOf(p)
		return err
	})
	if err != nil {
		return cache.Entry{}, fmt.Errorf("reading product %s: %w", id, err)
	}
	return entry, nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// one reads a product; cache.ErrNotFound when there is none.
func one(ctx context.Context, q querier, id uuid.UUID) (Product, error) {
	rows, err := q.Query(ctx, readSQL, id)
	if err != nil {
		return Product{}, err
	}
	p, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return Product{}, cache.ErrNotFound
	}
	return p, err
}

// scan reads columns.
func scan(row pgx.CollectableRow) (p Product, err error) {
	var (
		minor    int64
		currency string
	)
	if err := row.Scan(&p.ID, &p.SKU, &p.Name, &p.Description, &p.Category, &minor, &currency, &p.IsAvailable, &p.Images, &p.sequence); err != nil {
		return Product{}, err
	}
	p.Price, err = price(minor, currency)
	return p, err
}
