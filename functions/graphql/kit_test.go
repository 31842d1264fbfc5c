package graphql_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/functions/graphql"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/tests/kit"
)

// shop is a service with REST and GraphQL on a database of its own.
type shop struct {
	*kit.API
	graphql *graphql.GraphQL
	orders  *orders.Orders
}

func open(t testing.TB, change ...func(*graphql.Options)) *shop {
	t.Helper()
	return openOn(t, kit.NewAPI(t), change...)
}

func openOn(t testing.TB, api *kit.API, change ...func(*graphql.Options)) *shop {
	t.Helper()
	products, err := catalog.New(catalog.Options{API: api.REST, Pools: api.Pools, Keys: api.Keys, Cursors: api.Cursors, Redis: api.Redis})
	require.NoError(t, err)
	placed, err := orders.New(orders.Options{
		API: api.REST, Pools: api.Pools, Keys: api.Keys, Cursors: api.Cursors, AvailabilityChanged: products.Invalidate,
	})
	require.NoError(t, err)
	o := graphql.Options{
		API: api.REST, Catalog: products, Orders: placed, Introspection: true,
		Carts: carts.New(carts.Options{API: api.REST, Pools: api.Pools, Keys: api.Keys}),
	}
	for _, f := range change {
		f(&o)
	}
	g, err := graphql.New(o)
	require.NoError(t, err)
	return &shop{API: api, graphql: g, orders: placed}
}

// post is a GraphQL request.
type post struct {
	Query         string         `json:"query,omitempty"`
	OperationName string         `json:"operationName,omitempty"`
	Variables     map[string]any `json:"variables,omitempty"`
	Extensions    map[string]any `json:"extensions,omitempty"`
	DocumentID    string         `json:"documentId,omitempty"`
}

// ask sends a request as customer-1 with all of a customer's scopes.
func (s *shop) ask(t testing.TB, q post) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "customer-1", kit.Everything), Body: q})
}

// write sends a mutation under a key.
func (s *shop) write(t testing.TB, key string, q post) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "customer-1", kit.Everything), Key: key, Body: q})
}

// data is the data of an answer without errors, with the answer's order of members lost.
func data(t testing.TB, r kit.Reply) map[string]any {
	t.Helper()
	var out struct {
		Data   map[string]any `json:"data"`
		Errors []any          `json:"errors"`
	}
	require.NoError(t, json.Unmarshal(r.Body, &out), "%s", r.Body)
	require.Empty(t, out.Errors, "%s", r.Body)
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	return out.Data
}

// failure is the first error of an answer.
func failure(t testing.TB, r kit.Reply) (message, code string) {
	t.Helper()
	var out struct {
		Errors []struct {
			Message    string
			Extensions map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(r.Body, &out), "%s", r.Body)
	require.NotEmpty(t, out.Errors, "%s", r.Body)
	code, _ = out.Errors[0].Extensions["code"].(string)
	return out.Errors[0].Message, code
}

// at walks into an answer: names and positions.
func at(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			require.True(t, ok, "%v has no %s", v, step)
			v = m[step]
		case int:
			list, ok := v.([]any)
			require.True(t, ok && len(list) > step, "%v has no %d", v, step)
			v = list[step]
		}
	}
	return v
}

var ship = map[string]any{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"}

func lines(quantities map[uuid.UUID]int) (list []map[string]any) {
	for id, n := range quantities {
		list = append(list, map[string]any{"productId": id, "quantity": n})
	}
	return list
}

const createOrder = `mutation($input: CreateOrderInput!) { createOrder(input: $input) {
  order { id orderNumber status totalAmount { amount currency } lines { quantity product { id name } } }
  userErrors { code message field products { productId requested available } } clientMutationId } }`

// sha is the digest that names a persisted query.
func sha(query string) string {
	sum := sha256.Sum256([]byte(query))
	return hex.EncodeToString(sum[:])
}
