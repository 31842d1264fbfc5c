package catalog

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/cache"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

// pageTTL bounds how late a list may be where nobody says what changed, as after an import: twice as long.
const pageTTL = 5 * time.Second

// ProductPage is a part of a list of products.
type ProductPage struct {
	Items      []Product `json:"items"`
	NextCursor string    `json:"nextCursor,omitempty" doc:"Goes on from here; absent on the last page"`
}

// byNameSQL lists by name. An empty category means all.
const byNameSQL = `/* Catalog.List */ SELECT ` + columns + `, 0::float8
FROM products p JOIN inventory i ON i.product_id = p.id
WHERE ($1 = '' OR p.category = $1) AND (p.name, p.id) > ($2, $3)
ORDER BY p.name, p.id LIMIT $4 OFFSET $5`

// searchSQL lists by relevance. The rank is a function of row and query alone, so it can be a cursor's position;
// it travels as the double that PostgreSQL compared.
const searchSQL = `/* Catalog.Search */
SELECT * FROM (
    SELECT ` + columns + `, ts_rank(p.search, q)::float8 AS rank
    FROM products p JOIN inventory i ON i.product_id = p.id, websearch_to_tsquery('english', $6) q
    WHERE p.search @@ q AND ($1 = '' OR p.category = $1)
) found
WHERE rank < $2 OR (rank = $2 AND id > $3)
ORDER BY rank DESC, id LIMIT $4 OFFSET $5`

type listInput struct {
	PageSize int    `query:"pageSize" minimum:"1" maximum:"100" default:"20"`
	Cursor   string `query:"cursor" maxLength:"2048" doc:"nextCursor of the page before"`
	Page     int    `query:"page" minimum:"1" maximum:"100" doc:"Number of a page instead of a cursor"`
	Category string `query:"category" maxLength:"80"`
	Search   string `query:"search" maxLength:"200" doc:"Words, \"phrases\" and -exclusions"`
}

// position is the last row of a page: its sort values.
type position struct {
	Name string    `json:"n,omitempty"`
	Rank float64   `json:"r,omitempty"`
	ID   uuid.UUID `json:"i"`
}

// list answers with cached bytes. The key is the query as it was understood, so that two spellings of one are one
// page, and the generation of the products: a page is as new as they are.
func (c *Catalog) list(ctx context.Context, in *listInput) (rest.Answer, error) {
	in.Search = strings.Join(strings.Fields(in.Search), " ")
	scope := paging.Scope("products", in.Category, in.Search)
	after, offset := position{Rank: 1e30}, 0
	switch {
	case in.Cursor != "" && in.Page != 0:
		return rest.Answer{}, rest.NewProblem(rest.Malformed, "Send either cursor or page, not both.")
	case in.Cursor != "":
		if err := c.Cursors.Decode(scope, in.Cursor, &after); err != nil {
			return rest.Answer{}, rest.NewProblem(rest.Malformed, "The cursor is not one of this list. Start again without it.")
		}
	case in.Page > 1:
		offset = (in.Page - 1) * in.PageSize
	}
	key := paging.Scope(strconv.FormatInt(c.products.Generation(), 10), scope, strconv.Itoa(in.PageSize), strconv.Itoa(offset), in.Cursor)
	entry, err := c.pages.Get(ctx, key, func(ctx context.Context) (cache.Entry, error) {
		return c.page(ctx, in, scope, after, offset)
	})
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.Answer{
		Status: http.StatusOK, ContentType: "application/json", ETag: entry.ETag, CacheControl: fresh, Link: entry.Link, Body: entry.Body,
	}, nil
}

// page reads one row more than asked for, to know whether a page follows.
func (c *Catalog) page(ctx context.Context, in *listInput, scope string, after position, offset int) (cache.Entry, error) {
	page, last := ProductPage{Items: []Product{}}, after
	err := c.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		var (
			rows pgx.Rows
			err  error
		)
		if in.Search == "" {
			rows, err = conn.Query(ctx, byNameSQL, in.Category, after.Name, after.ID, in.PageSize+1, offset)
		} else {
			rows, err = conn.Query(ctx, searchSQL, in.Category, after.Rank, after.ID, in.PageSize+1, offset, in.Search)
		}
		if err != nil {
			return err
		}
		ranks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (float64, error) {
			p, rank, err := scanRanked(row)
			page.Items = append(page.Items, p)
			return rank, err
		})
		if len(page.Items) > in.PageSize {
			end := page.Items[in.PageSize-1]
			last = position{ID: end.ID, Name: end.Name}
			if in.Search != "" {
				last = position{ID: end.ID, Rank: ranks[in.PageSize-1]}
			}
		}
		return err
	})
	if err != nil {
		return cache.Entry{}, err
	}
	if len(page.Items) > in.PageSize {
		page.Items = page.Items[:in.PageSize]
		if page.NextCursor, err = c.Cursors.Encode(scope, last); err != nil {
			return cache.Entry{}, err
		}
	}
	answer, err := rest.JSON(http.StatusOK, page)
	return cache.Entry{Body: answer.Body, ETag: answer.ETag, Link: paging.Link(base, in.query(), page.NextCursor)}, err
}

func (in *listInput) query() url.Values {
	q := url.Values{"pageSize": {strconv.Itoa(in.PageSize)}}
	if in.Category != "" {
		q.Set("category", in.Category)
	}
	if in.Search != "" {
		q.Set("search", in.Search)
	}
	return q
}

func scanRanked(row pgx.CollectableRow) (p Product, rank float64, err error) {
	var (
		minor    int64
		currency string
	)
	err = row.Scan(&p.ID, &p.SKU, &p.Name, &p.Description, &p.Category, &minor, &currency, &p.IsAvailable, &p.Images, &p.sequence, &rank)
	if err != nil {
		return Product{}, 0, err
	}
	p.Price, err = price(minor, currency)
	return p, rank, err
}
