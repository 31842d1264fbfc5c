package graphql_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/company/order-catalog-service/functions/graphql"
	"github.com/company/order-catalog-service/tests/kit"
)

// reader counts what the tests' processes measure: the statements among it.
var reader = metric.NewManualReader()

func TestMain(m *testing.M) {
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	os.Exit(m.Run())
}

// statements is how often each statement ran in this process, by name.
func statements(t *testing.T) map[string]uint64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	counts := map[string]uint64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "db_query_duration_seconds" {
				for _, p := range h.DataPoints {
					for _, a := range p.Attributes.ToSlice() {
						if name := a.Value.AsString(); !strings.HasPrefix(name, "Connect.") {
							counts[name] += p.Count
						}
					}
				}
			}
		}
	}
	return counts
}

// place puts orders of one customer into the database, each of some products.
func (s *shop) place(t testing.TB, customer string, orders int, products ...uuid.UUID) (ids []string) {
	t.Helper()
	token := s.Token(t, customer, kit.Everything)
	for range orders {
		list := map[uuid.UUID]int{}
		for _, id := range products {
			list[id] = 1
		}
		r := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: uuid.NewString(), Body: map[string]any{
			"customerId": customer, "shippingAddress": ship, "lines": lines(list),
		}})
		require.Equal(t, http.StatusCreated, r.Status, "%s", r.Body)
		ids = append(ids, r.JSON(t)["id"].(string))
	}
	return ids
}

// A page of orders with their lines and products costs as many statements as a page of one: one per kind and depth.
// Not parallel: the counts are of the process.
func TestStatementsDoNotGrowWithThePage(t *testing.T) {
	s := open(t)
	var products []uuid.UUID
	for range 30 {
		products = append(products, s.Product(t, 1000))
	}
	s.place(t, "customer-1", 20, products[:15]...)
	s.place(t, "customer-1", 5, products[15:]...)
	ids := s.place(t, "customer-2", 3, products[0])
	cart := data(t, s.write(t, "cart", post{Query: `mutation { addToCart(input: {sessionId: "s", productId: "` + products[29].String() + `", quantity: 2}) { id } }`}))
	query := func(size int) (query string) {
		return fmt.Sprintf(`{
			myOrders(first: %d) { edges { node { id lines { product { id name price { amount } } } } } pageInfo { hasNextPage } }
			more: myOrders(last: 2) { nodes { lines { product { sku } } } }
			a: product(id: "%s") { name } b: product(id: "%s") { name }
			cart(id: %q) { items { product { name } } }
			nodes(ids: [%q, %q, %q]) { id }
		}`, size, products[0], products[29], at(t, cart, "addToCart", "id"),
			nodeID("Order", ids[0]), nodeID("Order", ids[1]), nodeID("Product", products[3].String()))
	}
	counted := func(size int) map[string]uint64 {
		second := openOn(t, kit.NewAPIOn(t, s.Database, s.API)) // with a cache of its own: nothing is known there
		before := statements(t)
		got := data(t, second.ask(t, post{Query: query(size)}))
		require.Len(t, at(t, got, "myOrders", "edges"), size)
		after := statements(t)
		for name, n := range before {
			if after[name] -= n; after[name] == 0 {
				delete(after, name)
			}
		}
		return after
	}
	one, twenty := counted(1), counted(20)
	assert.Equal(t, one, twenty)
	assert.Equal(t, map[string]uint64{
		"Orders.Older": 1, "Orders.Newer": 1, // two lists
		"Orders.Lines":   2, // of each; none of the orders of customer-2 is there
		"Orders.Visible": 1, // both nodes
		"Carts.Own":      1, "Carts.AllItems": 1,
		"Catalog.Many": 3, // the root's three products, then those of the lines of one list, and of the other, a level deeper
	}, twenty)
}

func nodeID(of, id string) string { return base64.StdEncoding.EncodeToString([]byte(of + ":" + id)) }

// What is not the caller's is not there: by node, nodes, order and cart, with the same statements as what isn't there at all.
func TestForeignThingsAreNotThere(t *testing.T) {
	s := open(t)
	product := s.Product(t, 100)
	theirs := s.place(t, "customer-2", 1, product)[0]
	ask := func(id string) (kit.Reply, map[string]uint64) {
		before := statements(t)
		r := s.ask(t, post{Query: `query($id: ID!) { node(id: $id) { id } order(id: $id) { id } nodes(ids: [$id, $id]) { id } }`, Variables: map[string]any{"id": id}})
		after := statements(t)
		for name, n := range before {
			if after[name] -= n; after[name] == 0 {
				delete(after, name)
			}
		}
		return r, after
	}
	foreign, costForeign := ask(nodeID("Order", theirs))
	missing, costMissing := ask(nodeID("Order", uuid.NewString()))
	assert.Equal(t, string(missing.Body), string(foreign.Body))
	assert.Equal(t, costMissing, costForeign, "so that time tells nothing either")
	assert.Contains(t, string(foreign.Body), `{"data":{"node":null,"order":null,"nodes":[null,null]}`)

	admin := s.Do(t, kit.Call{
		Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "boss", kit.Everything, "admin"),
		Body: post{Query: `{ order(id: "` + theirs + `") { customerId } }`},
	})
	assert.Equal(t, "customer-2", at(t, data(t, admin), "order", "customerId"))

	cart := at(t, data(t, s.write(t, "c", post{Query: `mutation { addToCart(input: {sessionId: "s", productId: "` + product.String() + `", quantity: 1}) { id } }`})), "addToCart", "id")
	stranger := func(key, query string) kit.Reply {
		return s.Do(t, kit.Call{
			Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "customer-3", kit.Everything), Key: key,
			Body: post{Query: query, Variables: map[string]any{"c": cart, "p": product}},
		})
	}
	assert.Nil(t, at(t, data(t, stranger("", `query($c: ID!) { cart(id: $c) { id } }`)), "cart"))
	got := data(t, stranger("x", `mutation($c: ID!, $p: ID!) { updateCartItem(input: {cartId: $c, productId: $p, quantity: 5}) { cart { id } userErrors { code } } }`))
	assert.Equal(t, "NOT_FOUND", at(t, got, "updateCartItem", "userErrors", 0, "code"))
}

// A field whose policy the token does not satisfy is null with a reason, and its neighbours are there.
func TestPoliciesAreThoseOfREST(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	order := s.place(t, "customer-1", 1, product)[0]
	for _, c := range []struct{ scope, query, code string }{
		{"order:read", `{ product(id: "` + product.String() + `") { id } }`, "FORBIDDEN"},
		{"catalog:read", `{ product(id: "` + product.String() + `") { id } }`, ""},
		{"catalog:read", `{ order(id: "` + order + `") { id } }`, "FORBIDDEN"},
		{"catalog:read", `{ node(id: "` + nodeID("Order", order) + `") { id } }`, "FORBIDDEN"},
		{"order:read", `{ order(id: "` + order + `") { id lines { sku } } }`, ""},
		{"order:read", `{ order(id: "` + order + `") { id lines { product { id } } } }`, "FORBIDDEN"},
		{"order:read", createOrder, "FORBIDDEN"},
		{"order:write", `mutation { cancelOrder(input: {orderId: "` + order + `", reason: "r"}) { order { id } } }`, "FORBIDDEN"},
	} {
		r := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "customer-1", c.scope), Key: uuid.NewString(), Body: post{
			Query: c.query, Variables: map[string]any{"input": map[string]any{"shippingAddress": ship, "lines": lines(map[uuid.UUID]int{product: 1})}},
		}})
		if c.code == "" {
			data(t, r)
			continue
		}
		_, code := failure(t, r)
		assert.Equal(t, c.code, code, "%s %s: %s", c.scope, c.query, r.Body)
	}
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT count(*)::int FROM orders`))
}

// Nothing of what the service is made of leaves it: texts of errors are its own.
func TestFailuresAreNotTold(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Exec(t, `ALTER TABLE orders RENAME TO elsewhere`)
	r := s.ask(t, post{Query: `{ myOrders { nodes { id } } }`})
	message, code := failure(t, r)
	assert.Equal(t, "DEPENDENCY_UNAVAILABLE", code)
	assert.Equal(t, "The service cannot do this right now.", message)
	assert.NotContains(t, string(r.Body), `relation "orders"`)
	assert.Contains(t, string(r.Body), r.Header.Get("X-Correlation-Id"))
	assert.Contains(t, string(r.Body), `{"data":null,`)
}

func TestImagesAndTextsOfAProduct(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.Product(t, 0)
	s.Exec(t, `UPDATE products SET images = '{https://img.example/1.png,https://img.example/2.png}', description = 'A "thing" <b>' WHERE id = $1`, id)
	got := at(t, data(t, s.ask(t, post{Query: `{ product(id: "` + id.String() + `") { images description stock isAvailable category } }`})), "product")
	assert.Equal(t, map[string]any{
		"images": []any{"https://img.example/1.png", "https://img.example/2.png"}, "description": `A "thing" <b>`,
		"stock": "SOLD_OUT", "isAvailable": false, "category": "Things",
	}, got)
}

func TestIntrospectionIsByPolicy(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *graphql.Options) { o.Introspection = false })
	const query = `{ __schema { queryType { name } } __typename }`
	_, code := failure(t, s.ask(t, post{Query: query}))
	assert.Equal(t, "INTROSPECTION_DISABLED", code)
	assert.Equal(t, "Query", at(t, data(t, s.ask(t, post{Query: `{ __typename }`})), "__typename"))
	admin := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "boss", "", "admin"), Body: post{Query: query}})
	assert.Equal(t, "Query", at(t, data(t, admin), "__schema", "queryType", "name"))
	message, _ := failure(t, s.ask(t, post{Query: `{ produts { id } }`}))
	assert.NotContains(t, message, "Did you mean")
}
