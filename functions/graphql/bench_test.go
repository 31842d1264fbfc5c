package graphql_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

const (
	pageQuery  = `query Page($first: Int) { products(first: $first) { edges { node { id sku name description category price { amount currency } isAvailable images } } pageInfo { hasNextPage endCursor } } }`
	orderQuery = `query One($id: ID!) { order(id: $id) { id orderNumber status customerId shippingAddress { name line1 line2 city region postalCode country } lines { sku name quantity unitPrice { amount currency } lineTotal { amount currency } } totalAmount { amount currency } createdAt } }`
)

// What a persisted operation costs beside the REST operation that gives the same: in one process, through the whole edge.
func BenchmarkTwins(b *testing.B) {
	s := open(b)
	for i := range 40 {
		s.Exec(b, `UPDATE products SET name = $2, description = 'A thing of which there is a little more to say than its name, as shops do' WHERE id = $1`, s.Product(b, 100), fmt.Sprintf("Thing %03d", i))
	}
	product := s.Product(b, 1000)
	token := s.Token(b, "customer-1", kit.Everything)
	placed := s.Do(b, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: "k", Body: map[string]any{
		"customerId": "customer-1", "shippingAddress": ship, "lines": []map[string]any{{"productId": product, "quantity": 2}},
	}})
	require.Equal(b, http.StatusCreated, placed.Status, "%s", placed.Body)
	order := placed.JSON(b)["id"].(string)

	handler := s.REST.Handler()
	measure := func(name, method, path string, body []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), method, path, bytes.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	persisted := func(query string, variables map[string]any) []byte {
		digest := sha(query)
		extensions := map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": digest}}
		require.Equal(b, http.StatusOK, s.ask(b, post{Query: query, Variables: variables, Extensions: extensions}).Status)
		raw, err := json.Marshal(post{Variables: variables, Extensions: extensions})
		require.NoError(b, err)
		return raw
	}
	measure("page/rest", http.MethodGet, "/api/v1/products?pageSize=20", nil)
	page := persisted(pageQuery, map[string]any{"first": 20})
	measure("page/graphql", http.MethodPost, "/graphql", page)
	var q post
	require.NoError(b, json.Unmarshal(page, &q))
	extensions, err := json.Marshal(q.Extensions)
	require.NoError(b, err)
	measure("page/graphql-get", http.MethodGet, "/graphql?"+url.Values{"variables": {`{"first":20}`}, "extensions": {string(extensions)}}.Encode(), nil)
	measure("order/rest", http.MethodGet, "/api/v1/orders/"+order, nil)
	measure("order/graphql", http.MethodPost, "/graphql", persisted(orderQuery, map[string]any{"id": order}))
}
