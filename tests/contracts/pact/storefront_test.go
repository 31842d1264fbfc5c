//go:build contracts

package pact

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pact-foundation/pact-go/v2/consumer"
	"github.com/pact-foundation/pact-go/v2/matchers"
	"github.com/pact-foundation/pact-go/v2/models"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// storefront is a shop's client, as somebody writes it who has the API's reference and nothing of our code. It reads the
// members that it shows and no others: what it doesn't read, the service may change.
type storefront struct {
	base, token string
}

type price struct{ Amount, Currency string }

type item struct {
	ID          string
	Name        string
	Price       price
	IsAvailable bool
}

type listing struct {
	Items      []item
	NextCursor string
}

type bought struct {
	ID          string
	OrderNumber string
	Status      string
	TotalAmount price
	Lines       []struct {
		ProductID string
		Name      string
		Quantity  int
		LineTotal price
	}
}

type history struct{ Items []bought }

// soldOut is the refusal that the storefront has a page of its own for.
type soldOut struct {
	Type     string
	Products []struct {
		ProductID            string
		Requested, Available int
	}
}

func (soldOut) Error() string { return "sold out" }

// ask sends a request and decodes the answer if its status is the one wanted.
func (s storefront) ask(ctx context.Context, method, path, key string, body any, want int, into any) (http.Header, error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, &sent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusConflict {
		var problem soldOut
		if err := json.NewDecoder(res.Body).Decode(&problem); err != nil {
			return nil, err
		}
		if strings.HasSuffix(problem.Type, "/docs/problems/sold-out") {
			return res.Header, problem
		}
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	return res.Header, json.NewDecoder(res.Body).Decode(into)
}

func (s storefront) list(ctx context.Context, size int, cursor string) (page listing, err error) {
	query := url.Values{"pageSize": {fmt.Sprint(size)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	_, err = s.ask(ctx, http.MethodGet, "/api/v1/products?"+query.Encode(), "", nil, http.StatusOK, &page)
	return page, err
}

func (s storefront) product(ctx context.Context, id string) (p item, err error) {
	_, err = s.ask(ctx, http.MethodGet, "/api/v1/products/"+id, "", nil, http.StatusOK, &p)
	return p, err
}

// place buys some units of one product; replayed says that this key had bought them before.
func (s storefront) place(ctx context.Context, key, customer, product string, quantity int) (order bought, replayed bool, err error) {
	header, err := s.ask(ctx, http.MethodPost, "/api/v1/orders", key, map[string]any{
		"customerId": customer, "lines": []any{map[string]any{"productId": product, "quantity": quantity}},
		"shippingAddress": map[string]any{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
	}, http.StatusCreated, &order)
	return order, header.Get("Idempotent-Replayed") == "true", err
}

func (s storefront) orders(ctx context.Context) (mine history, err error) {
	_, err = s.ask(ctx, http.MethodGet, "/api/v1/orders", "", nil, http.StatusOK, &mine)
	return mine, err
}

// What the examples in the contract say. Who verifies it puts in the ids of what is there.
const (
	aProduct  = "0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d"
	anOrder   = "0197c2f4-7a31-7c7e-9d0e-5b1f6a2c8d11"
	aCustomer = "customer-1"
)

var (
	isID     = matchers.Regex(anOrder, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	isNumber = matchers.Like("7K2M-9QXD-4") // to be shown, and nothing else
	isToken  = matchers.Regex("Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln", `^Bearer .+$`)
	isMoney  = members{"amount": matchers.Regex("19.99", `^-?[0-9]+(\.[0-9]{1,4})?$`), "currency": matchers.Regex("USD", `^[A-Z]{3}$`)}

	productID  = matchers.FromProviderState("${productId}", aProduct)
	customerID = matchers.FromProviderState("${customerId}", aCustomer)
	orderID    = matchers.FromProviderState("${orderId}", anOrder)
)

func shown(status matchers.Matcher, id matchers.Matcher) members {
	return members{
		"id": id, "orderNumber": isNumber, "status": status, "totalAmount": isMoney,
		"lines": matchers.EachLike(members{
			"productId": productID, "name": matchers.Like("Thing"), "quantity": matchers.Integer(2), "lineTotal": isMoney,
		}, 1),
	}
}

func drafted(quantity int) members {
	return members{
		"customerId": customerID, "lines": []any{members{"productId": productID, "quantity": quantity}},
		"shippingAddress": members{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
	}
}

// TestStorefront is the contract of a shop's pages: products, a product, an order, its repeat, a refusal, and my orders.
func TestStorefront(t *testing.T) {
	dir := t.TempDir()
	shop, err := consumer.NewV4Pact(consumer.MockHTTPProviderConfig{Consumer: "storefront", Provider: provider, PactDir: dir, LogDir: dir})
	require.NoError(t, err)
	json := matchers.Regex("application/json", `^application/json(;.*)?$`)
	play := func(i *consumer.V4InteractionWithResponse, use func(s storefront) error) {
		t.Helper()
		require.NoError(t, i.ExecuteTest(t, func(c consumer.MockServerConfig) error {
			return use(storefront{base: fmt.Sprintf("http://%s:%d", c.Host, c.Port), token: "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"})
		}))
	}
	state := func(name string) *consumer.V4UnconfiguredInteraction {
		return shop.AddInteraction().GivenWithParameter(models.ProviderState{Name: name})
	}
	write := func(key string, quantity int) func(*consumer.V4RequestBuilder) {
		return func(b *consumer.V4RequestBuilder) {
			b.Header("Authorization", isToken).Header("Content-Type", matchers.S("application/json")).Header("Idempotency-Key", matchers.S(key)).JSONBody(drafted(quantity))
		}
	}
	read := func(b *consumer.V4RequestBuilder) { b.Header("Authorization", isToken) }
	product := members{"id": isID, "name": matchers.Like("Thing"), "price": isMoney, "isAvailable": matchers.Like(true)}

	play(state("a catalog of several products").UponReceiving("the first page of the catalog").
		WithRequest(http.MethodGet, "/api/v1/products", func(b *consumer.V4RequestBuilder) { read(b.Query("pageSize", matchers.S("2"))) }).
		WillRespondWith(http.StatusOK, func(b *consumer.V4ResponseBuilder) {
			b.Header("Content-Type", json).JSONBody(members{"items": matchers.EachLike(product, 2), "nextCursor": matchers.Like("abc")})
		}), func(s storefront) error {
		page, err := s.list(t.Context(), 2, "")
		if err == nil {
			assert.Len(t, page.Items, 2)
			assert.Equal(t, price{"19.99", "USD"}, page.Items[0].Price)
			assert.NotEmpty(t, page.NextCursor)
		}
		return err
	})
	play(state("a product in stock").UponReceiving("a product's page").
		WithRequestPathMatcher(http.MethodGet, matchers.FromProviderState("/api/v1/products/${productId}", "/api/v1/products/"+aProduct), read).
		WillRespondWith(http.StatusOK, func(b *consumer.V4ResponseBuilder) {
			b.Header("Content-Type", json).JSONBody(members{"id": productID, "name": matchers.Like("Thing"), "price": isMoney, "isAvailable": matchers.Equality(true)})
		}), func(s storefront) error {
		p, err := s.product(t.Context(), aProduct)
		assert.True(t, p.IsAvailable)
		return err
	})
	play(state("a product in stock").UponReceiving("an order").
		WithRequest(http.MethodPost, "/api/v1/orders", write("storefront-order", 2)).
		WillRespondWith(http.StatusCreated, func(b *consumer.V4ResponseBuilder) {
			b.Header("Content-Type", json).Header("Location", matchers.Regex("/api/v1/orders/"+anOrder, `^/api/v1/orders/[0-9a-f-]{36}$`)).
				JSONBody(shown(matchers.S("Pending"), isID))
		}), func(s storefront) error {
		order, replayed, err := s.place(t.Context(), "storefront-order", aCustomer, aProduct, 2)
		assert.False(t, replayed)
		assert.Equal(t, "Pending", order.Status)
		return err
	})
	play(state("an order placed with the key storefront-again").UponReceiving("the same order again, since its answer was lost").
		WithRequest(http.MethodPost, "/api/v1/orders", write("storefront-again", 2)).
		WillRespondWith(http.StatusCreated, func(b *consumer.V4ResponseBuilder) {
			b.Header("Content-Type", json).Header("Idempotent-Replayed", matchers.S("true")).JSONBody(shown(matchers.S("Pending"), orderID))
		}), func(s storefront) error {
		order, replayed, err := s.place(t.Context(), "storefront-again", aCustomer, aProduct, 2)
		assert.True(t, replayed)
		assert.Equal(t, anOrder, order.ID)
		return err
	})
	play(state("a product with one unit left").UponReceiving("an order for more than there is").
		WithRequest(http.MethodPost, "/api/v1/orders", write("storefront-too-many", 2)).
		WillRespondWith(http.StatusConflict, func(b *consumer.V4ResponseBuilder) {
			b.Header("Content-Type", matchers.Regex("application/problem+json", `^application/problem\+json(;.*)?$`)).JSONBody(members{
				"type": matchers.Regex("/docs/problems/sold-out", `/docs/problems/sold-out$`), "status": http.StatusConflict,
				"products": matchers.EachLike(members{"productId": productID, "requested": matchers.Equality(2), "available": matchers.Equality(1)}, 1),
			})
		}), func(s storefront) error {
		_, _, err := s.place(t.Context(), "storefront-too-many", aCustomer, aProduct, 2)
		var refusal soldOut
		require.ErrorAs(t, err, &refusal)
		assert.Equal(t, 1, refusal.Products[0].Available)
		return nil
	})
	play(state("a customer with an order").UponReceiving("my orders").
		WithRequest(http.MethodGet, "/api/v1/orders", read).
		WillRespondWith(http.StatusOK, func(b *consumer.V4ResponseBuilder) {
			b.Header("Content-Type", json).JSONBody(members{
				"items": matchers.EachLike(shown(matchers.Regex("Pending", `^(Pending|Confirmed|Cancelled)$`), orderID), 1),
			})
		}), func(s storefront) error {
		mine, err := s.orders(t.Context())
		if err == nil {
			assert.Equal(t, anOrder, mine.Items[0].ID)
		}
		return err
	})
	committed(t, dir, "storefront")
}
