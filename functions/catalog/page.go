package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/cache"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

// Query is a list of products and the part of it that is asked for.
type Query struct {
	paging.Slice
	Category, Search string
	Available        *bool
	Sort             Sort
}

// Sort is an order of products. The zero value is by name, and by relevance in a search.
type Sort string

// The orders.
const (
	ByName      Sort = "NAME_ASC"
	ByNameDown  Sort = "NAME_DESC"
	ByPrice     Sort = "PRICE_ASC"
	ByPriceDown Sort = "PRICE_DESC"
	Newest      Sort = "NEWEST"
	ByRelevance Sort = "RELEVANCE"
)

// sorts are the columns of each order and whether they go down. The id is the last of them, in the same direction: so a
// row's place is one comparison of rows, forward and backward.
var sorts = map[Sort]struct {
	columns string
	down    bool
}{
	ByName: {"p.name", false}, ByNameDown: {"p.name", true}, ByPrice: {"p.currency, p.price_minor", false},
	ByPriceDown: {"p.currency, p.price_minor", true}, Newest: {"", true}, ByRelevance: {rank, true},
}

const rank = "ts_rank(p.search, q)::float8"

// Edge is a product and its place in the list.
type Edge struct {
	Product Product
	Cursor  string
}

// Part is the part of a list that was asked for. It is shared: it must not be changed.
type Part struct {
	Edges                []*Edge
	HasNext, HasPrevious bool
}

// place is what a cursor holds: the row's values of the order, and its id.
type place struct {
	Name     string    `json:"n,omitempty"`
	Currency string    `json:"c,omitempty"`
	Price    int64     `json:"p,omitempty"`
	Rank     float64   `json:"r,omitempty"`
	ID       uuid.UUID `json:"i"`
}

func (s Sort) values(p place) []any {
	switch s {
	case ByPrice, ByPriceDown:
		return []any{p.Currency, p.Price, p.ID}
	case Newest:
		return []any{p.ID}
	case ByRelevance:
		return []any{p.Rank, p.ID}
	default:
		return []any{p.Name, p.ID}
	}
}

// List is a part of a list, from memory when it is there: like list, for who needs products and not bytes.
func (c *Catalog) List(ctx context.Context, q Query) (*Part, error) {
	q.Search = strings.Join(strings.Fields(q.Search), " ")
	switch {
	case q.Sort == "" && q.Search != "":
		q.Sort = ByRelevance
	case q.Sort == "":
		q.Sort = ByName
	case q.Sort == ByRelevance && q.Search == "":
		return nil, rest.NewProblem(rest.Malformed, "The order RELEVANCE needs a search.")
	case sorts[q.Sort].columns == "" && q.Sort != Newest:
		return nil, rest.NewProblem(rest.Malformed, "There is no such order.")
	}
	available := ""
	if q.Available != nil {
		available = strconv.FormatBool(*q.Available)
	}
	scope := paging.Scope("products", q.Category, q.Search, string(q.Sort), available)
	after, err := c.place(scope, q.After)
	if err != nil {
		return nil, err
	}
	before, err := c.place(scope, q.Before)
	if err != nil {
		return nil, err
	}
	key := paging.Scope("part", strconv.FormatInt(c.products.Generation(), 10), scope, strconv.Itoa(q.Size), strconv.FormatBool(q.Backward), q.After, q.Before)
	entry, err := c.pages.Get(ctx, key, func(ctx context.Context) (cache.Entry, error) {
		part, err := c.part(ctx, q, scope, after, before)
		if err != nil {
			return cache.Entry{}, err
		}
		weight := 0
		for _, e := range part.Edges {
			weight += 400 + len(e.Cursor) + len(e.Product.Name) + len(e.Product.Description) + 100*len(e.Product.Images)
		}
		return cache.Entry{Value: part, Weight: weight}, nil
	})
	if err != nil {
		return nil, err
	}
	return entry.Value.(*Part), nil
}

// place is a cursor's, nil for none.
func (c *Catalog) place(scope, cursor string) (*place, error) {
	if cursor == "" {
		return nil, nil //nolint:nilnil // no cursor, no place
	}
	var p place
	if err := c.Cursors.Decode(scope, cursor, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// part reads one row more than asked for, to know whether there are more in that direction; in the other one it looks
// for a single row at the cursor or beyond.
func (c *Catalog) part(ctx context.Context, q Query, scope string, after, before *place) (*Part, error) {
	part := &Part{}
	var (
		rows  []Product
		ranks []float64
	)
	err := c.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		sql, args := q.statement(columns+", "+q.rank(), after, before)
		found, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		if ranks, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (float64, error) {
			p, rank, err := scanRanked(row)
			rows = append(rows, p)
			return rank, err
		}); err != nil {
			return err
		}
		if q.Backward && before != nil {
			part.HasNext, err = q.beyond(ctx, conn, *before, false)
		} else if !q.Backward && after != nil {
			part.HasPrevious, err = q.beyond(ctx, conn, *after, true)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing products: %w", err)
	}
	edges := make([]*Edge, len(rows))
	for i, p := range rows {
		cursor, err := c.Cursors.Encode(scope, q.Sort.place(p, ranks[i]))
		if err != nil {
			return nil, err
		}
		edges[i] = &Edge{p, cursor}
	}
	var more bool
	part.Edges, more = paging.Trim(q.Slice, edges)
	if q.Backward {
		part.HasPrevious = more
	} else {
		part.HasNext = more
	}
	return part, nil
}

// place is where a product stands in the order.
func (s Sort) place(p Product, rank float64) place {
	at := place{ID: p.ID}
	switch s {
	case ByPrice, ByPriceDown:
		at.Currency, at.Price = p.Price.Currency(), p.Price.Minor()
	case ByRelevance:
		at.Rank = rank
	case Newest:
	default:
		at.Name = p.Name
	}
	return at
}

func (q Query) rank() string {
	if q.Search == "" {
		return "0::float8"
	}
	return rank
}

// statement selects the rows between two places, the nearest to where the reading starts first, and one more than asked.
func (q Query) statement(selected string, after, before *place) (sql string, args []any) {
	columns, down := q.order()
	down = down != q.Backward
	from, where, args := q.filter()
	for _, bound := range []struct {
		at   *place
		past bool
	}{{after, true}, {before, false}} {
		if bound.at != nil {
			where, args = q.compare(where, args, *bound.at, bound.past, false)
		}
	}
	direction := " ASC"
	if down {
		direction = " DESC"
	}
	args = append(args, q.Size+1)
	return fmt.Sprintf("/* Catalog.Part */ SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT $%d",
		selected, from, where, strings.Join(columns, direction+", ")+direction, len(args)), args
}

// beyond tells whether there is a row at a place, or on the side of it that the page doesn't show.
func (q Query) beyond(ctx context.Context, conn *pgx.Conn, at place, earlier bool) (there bool, err error) {
	from, where, args := q.filter()
	where, args = q.compare(where, args, at, !earlier, true)
	err = conn.QueryRow(ctx, fmt.Sprintf("/* Catalog.Beyond */ SELECT EXISTS (SELECT FROM %s WHERE %s)", from, where), args...).Scan(&there)
	return there, err
}

func (q Query) order() (columns []string, down bool) {
	s := sorts[q.Sort]
	if s.columns != "" {
		columns = strings.Split(s.columns, ", ")
		if q.Sort == ByRelevance {
			columns = []string{s.columns}
		}
	}
	return append(columns, "p.id"), s.down
}

func (q Query) filter() (from, where string, args []any) {
	from, where, args = "products p JOIN inventory i ON i.product_id = p.id", "($1 = '' OR p.category = $1)", []any{q.Category}
	if q.Search != "" {
		args = append(args, q.Search)
		from += ", websearch_to_tsquery('english', $2) q"
		where += " AND p.search @@ q"
	}
	if q.Available != nil {
		args = append(args, *q.Available)
		where += fmt.Sprintf(" AND (i.available > 0) = $%d", len(args))
	}
	return from, where, args
}

// compare adds: on the list's later (past) or earlier side of a place, or at it too.
func (q Query) compare(where string, args []any, at place, past, orAt bool) (string, []any) {
	columns, down := q.order()
	operator := "<"
	if past != down {
		operator = ">"
	}
	if orAt {
		operator += "="
	}
	marks := make([]string, len(columns))
	for i, value := range q.Sort.values(at) {
		args = append(args, value)
		marks[i] = "$" + strconv.Itoa(len(args))
	}
	return where + fmt.Sprintf(" AND (%s) %s (%s)", strings.Join(columns, ", "), operator, strings.Join(marks, ", ")), args
}

const manySQL = `/* Catalog.Many */ SELECT ` + columns + `
FROM products p JOIN inventory i ON i.product_id = p.id WHERE p.id = ANY($1)`

// Many are the products of these ids that exist, with one statement for all that memory doesn't have. They are shared:
// they must not be changed.
func (c *Catalog) Many(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Product, error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	entries, err := c.products.GetMany(ctx, names, c.loadMany)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]*Product, len(entries))
	for i, id := range ids {
		entry, ok := entries[names[i]]
		if !ok {
			continue
		}
		p, ok := entry.Value.(*Product)
		if !ok { // it came as bytes from another process
			p = new(Product)
			if err := json.Unmarshal(entry.Body, p); err != nil {
				return nil, fmt.Errorf("reading product %s: %w", id, err)
			}
		}
		found[id] = p
	}
	return found, nil
}

func (c *Catalog) loadMany(ctx context.Context, missing []string) (map[string]cache.Entry, error) {
	found := make(map[string]cache.Entry, len(missing))
	err := c.Pools.Reads.Read(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, manySQL, slices.Clone(missing))
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scan)
		if err != nil {
			return err
		}
		for _, p := range list {
			if found[p.ID.String()], err = entryOf(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading products: %w", err)
	}
	return found, nil
}

func entryOf(p Product) (cache.Entry, error) {
	body, err := json.Marshal(p)
	return cache.Entry{Body: body, ETag: rest.ETag(body), Version: p.sequence, Value: &p, Weight: len(body)}, err
}
