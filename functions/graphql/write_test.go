package graphql_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

func (s *shop) available(t testing.TB, product uuid.UUID) int {
	t.Helper()
	return kit.One[int](t, s.Database, `SELECT available::int FROM inventory WHERE product_id = $1`, product)
}

func input(product uuid.UUID, quantity int) map[string]any {
	return map[string]any{"input": map[string]any{"shippingAddress": ship, "lines": lines(map[uuid.UUID]int{product: quantity})}}
}

// IK-18: a repeat of a mutation has no second effect and gets the first answer, whichever way the key comes; what it
// asks of the answer may differ, and so may the name that the client gave the message.
func TestIK18ARepeatGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	first := s.write(t, "k", post{Query: createOrder, Variables: input(product, 2)})
	again := s.write(t, `"k"`, post{Query: createOrder, Variables: input(product, 2)})
	assert.Equal(t, string(first.Body), string(again.Body))
	assert.Empty(t, first.Header.Get("Idempotent-Replayed"))
	assert.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	assert.Equal(t, 8, s.available(t, product))

	fewer := data(t, s.write(t, "k", post{
		Query:     `mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { orderNumber } clientMutationId } }`,
		Variables: map[string]any{"input": map[string]any{"shippingAddress": ship, "lines": lines(map[uuid.UUID]int{product: 2}), "clientMutationId": "second try"}},
	}))
	assert.Equal(t, at(t, data(t, first), "createOrder", "order", "orderNumber"), at(t, fewer, "createOrder", "order", "orderNumber"))
	assert.Equal(t, "second try", at(t, fewer, "createOrder", "clientMutationId"))

	_, code := failure(t, s.write(t, "k", post{Query: createOrder, Variables: input(product, 3)}))
	assert.Equal(t, "IDEMPOTENCY_KEY_REUSED", code)

	const byDirective = `mutation($input: CreateOrderInput!, $key: String!) @idempotent(key: $key) { createOrder(input: $input) { order { id } } }`
	variables := input(product, 1)
	variables["key"] = "by directive"
	one, two := s.ask(t, post{Query: byDirective, Variables: variables}), s.ask(t, post{Query: byDirective, Variables: variables})
	assert.Equal(t, string(one.Body), string(two.Body))
	assert.Equal(t, 7, s.available(t, product))
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT count(*)::int FROM orders`))
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT count(*)::int FROM outbox WHERE type = 'order.created.v1'`))
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*)::int FROM stock_ledger WHERE initial <> available + sold`))
}

// IK-18: each field of a request has a key of its own, and a repeat does what is missing: here the second order, which
// was refused for want of stock only after the first one was placed, is still the same refusal.
func TestIK18EachFieldHasAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 3)
	const two = `mutation($a: CreateOrderInput!, $b: CreateOrderInput!) {
		a: createOrder(input: $a) { order { id } userErrors { code } }
		b: createOrder(input: $b) { order { id } userErrors { code } } }`
	variables := map[string]any{"a": input(product, 2)["input"], "b": input(product, 2)["input"]}
	first := s.write(t, "k", post{Query: two, Variables: variables})
	got := data(t, first)
	assert.NotNil(t, at(t, got, "a", "order"))
	assert.Equal(t, "SOLD_OUT", at(t, got, "b", "userErrors", 0, "code"))
	s.Exec(t, `UPDATE inventory SET initial = 100, available = 98 WHERE product_id = $1`, product)
	again := s.write(t, "k", post{Query: two, Variables: variables})
	assert.Equal(t, string(first.Body), string(again.Body))
	assert.Equal(t, 98, s.available(t, product))

	// Alone, the first field is still the same write: its key comes from the request's and its own name.
	one := data(t, s.write(t, "k", post{Query: `mutation($a: CreateOrderInput!) { a: createOrder(input: $a) { order { id } } }`, Variables: map[string]any{"a": variables["a"]}}))
	assert.Equal(t, at(t, got, "a", "order", "id"), at(t, one, "a", "order", "id"))
	other := data(t, s.write(t, "k", post{Query: `mutation($a: CreateOrderInput!) { c: createOrder(input: $a) { order { id } } }`, Variables: map[string]any{"a": variables["a"]}}))
	assert.NotEqual(t, at(t, got, "a", "order", "id"), at(t, other, "c", "order", "id"))
}

// IK-18: what comes after a field whose outcome is open, or whose failure hides the whole answer, is left to the repeat: it
// could not count on what was to happen before it.
func TestIK18NothingIsBegunAfterAFieldThatFailed(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 9)
	const two = `mutation($a: CreateOrderInput!, $b: CreateOrderInput!) {
		a: createOrder(input: $a) { order { id } userErrors { code } }
		b: createOrder(input: $b) { order { id } userErrors { code } } }`
	one := `mutation($a: CreateOrderInput!) { a: createOrder(input: $a) { order { id } } }`
	data(t, s.write(t, "k", post{Query: one, Variables: map[string]any{"a": input(product, 1)["input"]}}))
	r := s.write(t, "k", post{Query: two, Variables: map[string]any{"a": input(product, 2)["input"], "b": input(product, 3)["input"]}})
	_, code := failure(t, r)
	assert.Equal(t, "IDEMPOTENCY_KEY_REUSED", code)
	assert.Contains(t, string(r.Body), "NOT_EXECUTED")
	assert.Empty(t, r.Header.Get("Idempotent-Replayed"))
	assert.Equal(t, 8, s.available(t, product))
	got := data(t, s.write(t, "k", post{Query: two, Variables: map[string]any{"a": input(product, 1)["input"], "b": input(product, 3)["input"]}}))
	assert.NotNil(t, at(t, got, "b", "order"), "the repeat does what is missing")
	assert.Equal(t, 5, s.available(t, product))

	hidden := s.write(t, "h", post{
		Query: `mutation($b: CreateOrderInput!) { addToCart(input: {sessionId: "s", productId: "` + uuid.NewString() + `", quantity: 1}) { id }
			b: createOrder(input: $b) { order { id } } }`, Variables: map[string]any{"b": input(product, 1)["input"]},
	})
	assert.Contains(t, string(hidden.Body), `"data":null`)
	assert.Equal(t, 5, s.available(t, product))
}

func TestAMutationWithoutAKeyIsNotExecuted(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 3)
	r := s.ask(t, post{Query: createOrder, Variables: input(product, 1)})
	_, code := failure(t, r)
	assert.Equal(t, "IDEMPOTENCY_KEY_MISSING", code)
	assert.Equal(t, http.StatusBadRequest, r.Status)
	half := `mutation($input: CreateOrderInput!) { a: createOrder(input: $input) @idempotent(key: "a") { order { id } } b: createOrder(input: $input) { order { id } } }`
	_, code = failure(t, s.ask(t, post{Query: half, Variables: input(product, 1)}))
	assert.Equal(t, "IDEMPOTENCY_KEY_MISSING", code)
	_, code = failure(t, s.write(t, "other", post{Query: `mutation($input: CreateOrderInput!) @idempotent(key: "one") { createOrder(input: $input) { order { id } } }`, Variables: input(product, 1)}))
	assert.Equal(t, "IDEMPOTENCY_KEY_INVALID", code)
	_, code = failure(t, s.ask(t, post{Query: `mutation($input: CreateOrderInput!) @idempotent(key: "\u00e9") { createOrder(input: $input) { order { id } } }`, Variables: input(product, 1)}))
	assert.Equal(t, "IDEMPOTENCY_KEY_INVALID", code)
	assert.Equal(t, 3, s.available(t, product))
}

// A hundred at once with one key are one order, with GraphQL and REST side by side the stock holds.
func TestManyAtOnceAreOneOrder(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	token := s.Token(t, "customer-1", kit.Everything)
	raw, err := json.Marshal(post{Query: createOrder, Variables: input(product, 1)})
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			call := kit.Call{Method: http.MethodPost, Path: "/graphql", Token: token, Key: "one", Body: string(raw)}
			if i%3 == 0 {
				call.Path, call.Key, call.Body = "/api/v1/orders", uuid.NewString(), map[string]any{
					"customerId": "customer-1", "shippingAddress": ship, "lines": lines(map[uuid.UUID]int{product: 1}),
				}
			}
			s.Do(t, call)
		})
	}
	all.Wait()
	assert.Zero(t, s.available(t, product), "nine or ten over REST, one over GraphQL, and not one more")
	assert.Equal(t, 10, kit.One[int](t, s.Database, `SELECT count(*)::int FROM orders`))
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*)::int FROM stock_ledger WHERE initial <> available + sold`))
}

// The same order over REST and over GraphQL is the same order: row, event and answer.
func TestCreateOrderIsPlaceOrder(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	s.place(t, "customer-1", 1, product)
	data(t, s.write(t, "k", post{Query: createOrder, Variables: input(product, 1)}))
	for _, same := range []string{
		`SELECT count(DISTINCT (customer_key, customer_id, status, shipping_address, currency, total_minor, version))::int FROM orders`,
		`SELECT count(DISTINCT (type, (convert_from(payload, 'UTF8')::jsonb -> 'data') - 'id' - 'orderNumber' - 'createdAt'))::int FROM outbox WHERE type LIKE 'order%'`,
	} {
		assert.Equal(t, 1, kit.One[int](t, s.Database, same), same)
	}
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT count(*)::int FROM orders`))
}

func TestRefusalsAreUserErrors(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 5)
	refused := func(change func(in map[string]any)) map[string]any {
		in := input(product, 1)["input"].(map[string]any)
		change(in)
		got := data(t, s.write(t, uuid.NewString(), post{
			Query:     `mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { code message field products { productId requested available expectedUnitPrice { amount } currentUnitPrice { amount } } } } }`,
			Variables: map[string]any{"input": in},
		}))
		require.Nil(t, at(t, got, "createOrder", "order"))
		return at(t, got, "createOrder", "userErrors", 0).(map[string]any)
	}
	line := func(members map[string]any) func(map[string]any) {
		return func(in map[string]any) { in["lines"] = []any{members} }
	}
	e := refused(line(map[string]any{"productId": product, "quantity": 6}))
	assert.Equal(t, "SOLD_OUT", e["code"])
	assert.EqualValues(t, 5, at(t, e, "products", 0, "available"))
	assert.Equal(t, nodeID("Product", product.String()), at(t, e, "products", 0, "productId"))
	e = refused(line(map[string]any{"productId": nodeID("Product", product.String()), "quantity": 1, "expectedUnitPrice": map[string]any{"amount": "1.00", "currency": "USD"}}))
	assert.Equal(t, "PRICE_CHANGED", e["code"])
	assert.Equal(t, "19.99", at(t, e, "products", 0, "currentUnitPrice", "amount"))
	e = refused(line(map[string]any{"productId": product, "quantity": 1000}))
	assert.Equal(t, []any{"input", "lines", "0", "quantity"}, e["field"])
	e = refused(line(map[string]any{"productId": uuid.New(), "quantity": 1}))
	assert.Equal(t, []any{"input", "lines", "0", "productId"}, e["field"])
	e = refused(line(map[string]any{"productId": nodeID("Order", product.String()), "quantity": 1}))
	assert.Contains(t, e["message"], "not of a Product")
	e = refused(func(in map[string]any) { in["lines"] = []any{} })
	assert.Equal(t, "INVALID", e["code"])
	e = refused(func(in map[string]any) { in["customerId"] = "somebody else" })
	assert.Equal(t, "FORBIDDEN", e["code"])
	e = refused(func(in map[string]any) {
		in["shippingAddress"] = map[string]any{"name": "A", "line1": "1", "city": "C", "postalCode": "1", "country": "usa"}
	})
	assert.Equal(t, []any{"input", "shippingAddress", "country"}, e["field"])
	assert.Equal(t, 5, s.available(t, product))
}

func TestCancelOrder(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 5)
	order := s.place(t, "customer-1", 1, product)[0]
	const cancel = `mutation($id: ID!, $reason: String!) { cancelOrder(input: {orderId: $id, reason: $reason, clientMutationId: "m"}) { order { status cancelReason } userErrors { code field } clientMutationId } }`
	got := data(t, s.write(t, "1", post{Query: cancel, Variables: map[string]any{"id": nodeID("Order", order), "reason": "changed my mind"}}))
	assert.Equal(t, map[string]any{"status": "CANCELLED", "cancelReason": "changed my mind"}, at(t, got, "cancelOrder", "order"))
	assert.Equal(t, "m", at(t, got, "cancelOrder", "clientMutationId"))
	got = data(t, s.write(t, "2", post{Query: cancel, Variables: map[string]any{"id": order, "reason": "again"}}))
	assert.Equal(t, "TOO_LATE", at(t, got, "cancelOrder", "userErrors", 0, "code"))
	got = data(t, s.write(t, "3", post{Query: cancel, Variables: map[string]any{"id": order, "reason": ""}}))
	assert.Equal(t, []any{"input", "reason"}, at(t, got, "cancelOrder", "userErrors", 0, "field"))
	assert.Equal(t, 5, s.available(t, product))
}

func TestCarts(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := s.Product(t, 5), s.Product(t, 5)
	const shown = `{ id sessionId items { quantity product { id } unitPrice { amount } } totalAmount { amount } }`
	add := `mutation($input: AddToCartInput!) { addToCart(input: $input) ` + shown + ` }`
	cart := at(t, data(t, s.write(t, "1", post{Query: add, Variables: map[string]any{"input": map[string]any{"sessionId": "visit", "productId": a, "quantity": 2}}})), "addToCart")
	id := at(t, cart, "id")
	assert.Equal(t, "39.98", at(t, cart, "totalAmount", "amount"))
	for range 2 { // the second is a repeat
		cart = at(t, data(t, s.write(t, "2", post{Query: add, Variables: map[string]any{"input": map[string]any{"cartId": id, "productId": a, "quantity": 3}}})), "addToCart")
	}
	assert.EqualValues(t, 5, at(t, cart, "items", 0, "quantity"), "on top of what is there, once")
	cart = at(t, data(t, s.write(t, "3", post{
		Query:     `mutation($c: ID!, $p: ID!) { updateCartItem(input: {cartId: $c, productId: $p, quantity: 1}) { cart ` + shown + ` userErrors { code } } }`,
		Variables: map[string]any{"c": id, "p": b},
	})), "updateCartItem", "cart")
	assert.Len(t, at(t, cart, "items"), 2)
	cart = at(t, data(t, s.write(t, "4", post{
		Query:     `mutation($c: ID!, $p: ID!) { removeFromCart(input: {cartId: $c, productId: $p}) { cart ` + shown + ` userErrors { code } } }`,
		Variables: map[string]any{"c": id, "p": a},
	})), "removeFromCart", "cart")
	assert.Len(t, at(t, cart, "items"), 1)
	assert.Equal(t, cart, at(t, data(t, s.ask(t, post{Query: `query($c: ID!) { cart(id: $c) ` + shown + ` }`, Variables: map[string]any{"c": id}})), "cart"))

	for _, in := range []map[string]any{
		{"productId": a, "quantity": 1},
		{"sessionId": "v", "productId": a, "quantity": 0},
		{"sessionId": "v", "productId": uuid.New(), "quantity": 1},
		{"cartId": id, "productId": b, "quantity": 999},
		{"cartId": uuid.New(), "productId": b, "quantity": 1},
		{"cartId": "x", "productId": b, "quantity": 1},
	} {
		r := s.write(t, uuid.NewString(), post{Query: add, Variables: map[string]any{"input": in}})
		_, code := failure(t, r)
		assert.Contains(t, []string{"BAD_USER_INPUT", "NOT_FOUND"}, code, "%v: %s", in, r.Body)
	}
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT count(*)::int FROM carts`), "no refusal left a cart behind")
}
