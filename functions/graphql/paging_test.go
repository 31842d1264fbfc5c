package graphql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// RY-06: who walks all pages, in either direction, while products come, go and change elsewhere in the list, sees each
// one that was there all the time exactly once and in order.
func TestRYPagesUnderConcurrentWrites(t *testing.T) {
	t.Parallel()
	s := open(t)
	owner, err := pgx.Connect(t.Context(), s.OwnerURL)
	require.NoError(t, err)
	defer func() { assert.NoError(t, owner.Close(context.Background())) }()
	exec := func(sql string, args ...any) {
		_, err := owner.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	for round := range 40 {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 1))
		category, sorts := uuid.NewString(), []string{"NAME_ASC", "NAME_DESC", "PRICE_ASC", "PRICE_DESC", "NEWEST"}
		sort, backward, size := sorts[round%5], random.IntN(2) == 0, 1+random.IntN(7)
		about := fmt.Sprintf("seed %d, %s, backward %v, pages of %d", seed, sort, backward, size)
		add := func() uuid.UUID {
			id := uuid.Must(uuid.NewV7())
			// Few names and prices, so that many rows are told apart by their ids alone.
			exec(`WITH p AS (INSERT INTO products (id, sku, name, category, price_minor, currency) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id)
				INSERT INTO inventory (product_id, initial, available) SELECT id, 1, 1 FROM p`,
				id, id.String(), fmt.Sprintf("n%d", random.IntN(3)), category, random.IntN(3), []string{"EUR", "USD"}[random.IntN(2)])
			return id
		}
		var stay []string
		var passing []uuid.UUID
		for range random.IntN(16) {
			stay = append(stay, nodeID("Product", add().String()))
		}
		query := `query($c: String, $n: Int!, $s: ProductSort, $f: ProductFilter) { products(first: $n, after: $c, sort: $s, filter: $f) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`
		if backward {
			query = `query($c: String, $n: Int!, $s: ProductSort, $f: ProductFilter) { products(last: $n, before: $c, sort: $s, filter: $f) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`
		}
		var seen []string
		var cursor any
		for pages := 0; ; pages++ {
			require.Less(t, pages, 60, about)
			got := at(t, data(t, s.ask(t, post{Query: query, Variables: map[string]any{"c": cursor, "n": size, "s": sort, "f": map[string]any{"category": category}}})), "products")
			var page []string
			for _, edge := range at(t, got, "edges").([]any) {
				page = append(page, at(t, edge, "node", "id").(string))
			}
			require.LessOrEqual(t, len(page), size, about)
			more, end := "hasNextPage", "endCursor"
			if backward {
				more, end = "hasPreviousPage", "startCursor"
				seen = append(page, seen...)
			} else {
				seen = append(seen, page...)
			}
			if at(t, got, "pageInfo", more) == false {
				break
			}
			require.NotEmpty(t, page, about)
			cursor = at(t, got, "pageInfo", end)
			// Meanwhile, but not for ever: new rows may all come where the walk is going.
			for range random.IntN(3) * max(0, 1-pages/20) {
				passing = append(passing, add())
			}
			if len(passing) > 0 && random.IntN(2) == 0 {
				exec(`DELETE FROM inventory WHERE product_id = $1`, passing[0])
				exec(`DELETE FROM products WHERE id = $1`, passing[0])
				passing = passing[1:]
			}
		}
		for _, id := range stay {
			count := 0
			for _, other := range seen {
				if other == id {
					count++
				}
			}
			require.Equal(t, 1, count, "%s: %s of %v in %v", about, id, stay, seen)
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(seen)))
		require.Len(t, seen, len(distinct), "no row twice: %s", about)
	}
}

// RY-04: both flags, in both directions, by the specification's own algorithm; and a search by relevance.
func TestRYPageInfo(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 100)
	s.place(t, "customer-1", 5, product)
	ask := func(args string) (list []string, next, previous bool) {
		got := at(t, data(t, s.ask(t, post{Query: `{ myOrders(` + args + `) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage } } }`})), "myOrders")
		for _, edge := range at(t, got, "edges").([]any) {
			list = append(list, at(t, edge, "cursor").(string))
		}
		return list, at(t, got, "pageInfo", "hasNextPage").(bool), at(t, got, "pageInfo", "hasPreviousPage").(bool)
	}
	all, next, previous := ask("first: 10")
	require.Len(t, all, 5)
	assert.Equal(t, [2]bool{false, false}, [2]bool{next, previous})
	for _, c := range []struct {
		args           string
		want           []string
		next, previous bool
	}{
		{"first: 2", all[:2], true, false},
		{fmt.Sprintf("first: 2, after: %q", all[1]), all[2:4], true, true},
		{fmt.Sprintf("first: 2, after: %q", all[3]), all[4:], false, true},
		{fmt.Sprintf("first: 2, after: %q", all[4]), nil, false, true},
		{"last: 2", all[3:], false, true},
		{fmt.Sprintf("last: 2, before: %q", all[3]), all[1:3], true, true},
		{fmt.Sprintf("last: 2, before: %q", all[1]), all[:1], true, false},
		{fmt.Sprintf("first: 9, after: %q, before: %q", all[0], all[4]), all[1:4], false, true},
		{fmt.Sprintf("last: 1, after: %q, before: %q", all[0], all[4]), all[3:4], true, true},
	} {
		list, next, previous := ask(c.args)
		assert.Equal(t, c.want, list, c.args)
		assert.Equal(t, [2]bool{c.next, c.previous}, [2]bool{next, previous}, c.args)
	}
	other := openOn(t, kit.NewAPIOn(t, s.Database, s.API))
	_, code := failure(t, other.ask(t, post{Query: `query($c: String) { products(after: $c) { nodes { id } } }`, Variables: map[string]any{"c": all[0]}}))
	assert.Equal(t, "BAD_CURSOR", code, "of another field")

	for i, text := range []string{"red kettle", "blue kettle kettle", "green cup"} {
		s.Exec(t, `UPDATE products SET name = $2 WHERE id = $1`, s.Product(t, i%2), text)
	}
	search := func(more string) (names []string) {
		got := data(t, s.ask(t, post{Query: `{ products(filter: {search: "kettle"` + more + `}) { nodes { name } } }`}))
		for _, n := range at(t, got, "products", "nodes").([]any) {
			names = append(names, at(t, n, "name").(string))
		}
		return names
	}
	assert.Equal(t, []string{"blue kettle kettle", "red kettle"}, search(""))
	assert.Equal(t, []string{"blue kettle kettle"}, search(", isAvailable: true"))
	assert.Equal(t, []string{"red kettle"}, search(", isAvailable: false"))
}
