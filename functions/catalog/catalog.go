// Package catalog shows products: lists with filters and search, single ones from a cache; and changes them.
//
// A product's representation has one version, inventory.sequence: everything that changes what a reader sees
// (price, text, availability) locks the inventory row and raises it. It numbers the product's events and versions
// its cache entry, so no two contents share a number.
//
// Read read.go (the cached path), list.go (keyset paging), page.go (the same for GraphQL, in both directions), change.go (how products change) and import.go.
package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/cache"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// Options say what the slice stands on.
type Options struct {
	API     *rest.API
	Pools   *postgres.Pools
	Keys    *idempotency.Store
	Cursors *paging.Codec
	Redis   *redis.Client // nil: the cache is this process's memory
	// Nudge is told, after a commit, of which aggregates there are new events to send; nil tells nobody.
	Nudge func(aggregates ...uuid.UUID)
}

// Catalog are the use cases.
type Catalog struct {
	Options
	products *cache.Cache
	pages    *cache.Cache // of lists, in memory only: cheap to make again, and many
}

// Product is what is shown of a product.
type Product struct {
	ID          uuid.UUID   `json:"id"`
	SKU         string      `json:"sku"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Category    string      `json:"category"`
	Price       money.Money `json:"price"`
	IsAvailable bool        `json:"isAvailable" doc:"Whether at least one unit is in stock"`
	Images      []string    `json:"images" doc:"URLs of pictures, the main one first"`

	sequence int64
}

const base = "/api/v1/products"

// New makes the slice and registers its operations.
func New(o Options) (*Catalog, error) {
	if o.Nudge == nil {
		o.Nudge = func(...uuid.UUID) {}
	}
	products, err := cache.New(cache.Options{Name: "product", Redis: o.Redis})
	if err != nil {
		return nil, err
	}
	pages, err := cache.New(cache.Options{Name: "products", SoftTTL: pageTTL, MaxBytes: 32 << 20})
	if err != nil {
		return nil, err
	}
	for _, c := range []*cache.Cache{products, pages} {
		if err := c.Watch(); err != nil {
			return nil, err
		}
	}
	c := &Catalog{Options: o, products: products, pages: pages}
	c.register()
	return c, nil
}

func (c *Catalog) register() {
	rest.Register(c.API, rest.Operation{
		ID: "list-products", Method: "GET", Path: base, Tag: "Catalog", Policy: &auth.CatalogRead,
		Summary:     "List and search products",
		Description: "By name, or by relevance when `search` is given. Follow `nextCursor`; `page` is a convenience for the first hundred pages.",
		Status:      200, Response: ProductPage{}, NotModified: true, Search: "search",
	}, c.list)
	rest.Register(c.API, rest.Operation{
		ID: "read-product", Method: "GET", Path: base + "/{productId}", Tag: "Catalog", Policy: &auth.CatalogRead,
		Summary: "Read a product", Status: 200, Response: Product{}, NotModified: true, Problems: []rest.ProblemKind{rest.NotFound},
	}, c.read)
	rest.Register(c.API, rest.Operation{
		ID: "change-product", Method: "PATCH", Path: base + "/{productId}", Tag: "Catalog", Policy: &auth.CatalogWrite, Keyed: true,
		Summary: "Change a product's text or price", Description: "Needs `If-Match` with the ETag of what you read.",
		Status: 200, Response: Product{}, Problems: []rest.ProblemKind{rest.NotFound}, IfMatch: rest.MustMatch,
	}, c.change)
	rest.Register(c.API, rest.Operation{
		ID: "adjust-stock", Method: "POST", Path: base + "/{productId}/stock-adjustments", Tag: "Catalog", Policy: &auth.CatalogWrite, Keyed: true,
		Summary: "Put units into stock, or take them out", Status: 200, Response: Stock{},
		Problems: []rest.ProblemKind{rest.NotFound, rest.SoldOut},
	}, c.adjust)
	c.API.Event(events.ProductPriceChanged, "A product costs something else", events.PriceChange{})
	c.API.Event(events.ProductStockDepleted, "A product's last unit is gone", events.StockDepletion{})
}

// Invalidate drops products from the caches of all processes; the map tells each one's new sequence.
func (c *Catalog) Invalidate(ctx context.Context, changed map[uuid.UUID]int64) {
	for id, sequence := range changed {
		c.products.Invalidate(ctx, id.String(), sequence)
	}
}

// Listen hears of products that other processes changed, until ctx ends.
func (c *Catalog) Listen(ctx context.Context) { c.products.Listen(ctx) }

// CacheStats are the product cache's counts.
func (c *Catalog) CacheStats() cache.Stats { return c.products.Stats() }

// PageStats are the counts of the cached lists.
func (c *Catalog) PageStats() cache.Stats { return c.pages.Stats() }

// price puts a row's two columns together.
func price(minor int64, currency string) (money.Money, error) {
	m, err := money.FromMinor(minor, currency)
	if err != nil {
		return money.Money{}, fmt.Errorf("reading a price: %w", err)
	}
	return m, nil
}
