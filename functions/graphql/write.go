package graphql

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/graphql/engine"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/rest"
)

// payload is what a mutation answers. Which of it there is depends on the mutation.
type payload struct {
	order    *orders.Order
	request  *orders.OrderRequest
	cart     *carts.Cart
	errors   []userError
	mutation string // clientMutationId
}

type userError struct {
	code, message string
	field         []string
	products      []userErrorProduct
}

// userErrorProduct is an entry of products in a problem.
type userErrorProduct struct {
	ProductID         uuid.UUID    `json:"productId"`
	Requested         *int         `json:"requested"`
	Available         *int         `json:"available"`
	ExpectedUnitPrice *money.Money `json:"expectedUnitPrice"`
	CurrentUnitPrice  *money.Money `json:"currentUnitPrice"`
}

// userCodes are the problems that a payload tells, by slug. All others are errors of the answer: a caller can do nothing
// about them but try again, or be mended.
var userCodes = map[string]string{
	rest.Validation.Slug: "INVALID", rest.Malformed.Slug: "INVALID", rest.NotFound.Slug: "NOT_FOUND", rest.SoldOut.Slug: "SOLD_OUT",
	rest.PriceChanged.Slug: "PRICE_CHANGED", rest.TooLate.Slug: "TOO_LATE", rest.Expired.Slug: "EXPIRED", rest.Forbidden.Slug: "FORBIDDEN",
}

// mutations adds the mutations and what they answer.
func (g *GraphQL) mutations(r engine.Resolvers) {
	r["Mutation.addToCart"] = engine.Field{Load: g.write("add-to-cart", g.addToCart, func(p *payload) any { return p.cart })}
	whole := func(p *payload) any { return p }
	for name, m := range map[string]struct {
		operation string
		do        func(context.Context, engine.Args) (rest.Answer, error)
		shows     []string
	}{
		"updateCartItem": {"set-cart-item", g.updateCartItem, []string{"cart"}},
		"removeFromCart": {"remove-cart-item", g.removeFromCart, []string{"cart"}},
		"createOrder":    {"place-order", g.createOrder, []string{"order", "orderRequest"}},
		"cancelOrder":    {"cancel-order", g.cancelOrder, []string{"order"}},
	} {
		r["Mutation."+name] = engine.Field{Load: g.write(m.operation, m.do, whole)}
		of := strings.ToUpper(name[:1]) + name[1:] + "Payload."
		for _, member := range m.shows {
			r[of+member] = payloadFields[member]
		}
		r[of+"userErrors"] = list(func(p *payload) []userError { return p.errors })
		r[of+"clientMutationId"] = optional(func(p *payload) string { return p.mutation })
	}
	r["OrderRequest.id"] = text(func(o *orders.OrderRequest) string { return o.ID.String() })
	r["OrderRequest.status"] = text(func(o *orders.OrderRequest) string { return o.Status })
	r["UserError.code"] = text(func(e *userError) string { return e.code })
	r["UserError.message"] = text(func(e *userError) string { return e.message })
	field := texts(func(e *userError) []string { return e.field })
	r["UserError.field"] = engine.Field{Leaf: func(out []byte, v any) []byte {
		if v.(*userError).field == nil {
			return append(out, "null"...)
		}
		return field.Leaf(out, v)
	}}
	r["UserError.products"] = list(func(e *userError) []userErrorProduct { return e.products })
	r["UserErrorProduct.productId"] = id(productNode, func(p *userErrorProduct) uuid.UUID { return p.ProductID })
	r["UserErrorProduct.requested"] = maybe(func(p *userErrorProduct) *int { return p.Requested })
	r["UserErrorProduct.available"] = maybe(func(p *userErrorProduct) *int { return p.Available })
	r["UserErrorProduct.expectedUnitPrice"] = object(func(p *userErrorProduct) *money.Money { return p.ExpectedUnitPrice })
	r["UserErrorProduct.currentUnitPrice"] = object(func(p *userErrorProduct) *money.Money { return p.CurrentUnitPrice })
}

var payloadFields = map[string]engine.Field{
	"order":        object(func(p *payload) *orders.Order { return p.order }),
	"orderRequest": object(func(p *payload) *orders.OrderRequest { return p.request }),
	"cart":         object(func(p *payload) *carts.Cart { return p.cart }),
}

func maybe[T any](get func(*T) *int) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte {
		n := get(v.(*T))
		if n == nil {
			return append(out, "null"...)
		}
		return fmt.Append(out, *n)
	}}
}

// write is a mutation: one keyed write with the same operation, checks, answer and charge as its REST twin's, under a
// key of its own. show is what of the payload the field is.
func (g *GraphQL) write(operation string, do func(context.Context, engine.Args) (rest.Answer, error), show func(*payload) any) func(context.Context, engine.Input) engine.Pending {
	return func(ctx context.Context, in engine.Input) engine.Pending {
		return func() []engine.Result {
			s, input := stateOf(in.State), in.Args.Object("input")
			if s.broken {
				return alone(nil, &engine.Error{Code: "NOT_EXECUTED", Message: "It is open what became of a field before this one, so this one was not begun: send the request again."})
			}
			answer, err := g.once(ctx, s, operation, in, func(ctx context.Context) (rest.Answer, error) { return do(ctx, input) })
			for _, l := range []interface{ forget() }{&s.products, &s.orders, &s.carts} {
				l.forget() // the next field sees what this one did
			}
			var p *payload
			if err == nil {
				p, err = read(answer, operation)
			} else {
				p, err = g.refusal(ctx, err)
			}
			if err != nil {
				s.broken = true
				return alone(nil, err)
			}
			if p.mutation = input.Text("clientMutationId"); len(p.errors) > 0 && operation == "add-to-cart" {
				s.broken = true                          // all of data is null then: nothing is done that the answer can't show
				return alone(nil, p.errors[0].asError()) // the seed's addToCart answers a cart and nothing else
			}
			return alone(show(p), nil)
		}
	}
}

// once does a mutation under its own key: the request's, with the name that the field has in the answer. Two fields of a
// request never share one, and a repeat of the request gives each the same again.
func (g *GraphQL) once(ctx context.Context, s *state, operation string, in engine.Input, do func(context.Context) (rest.Answer, error)) (rest.Answer, error) {
	s.mu.Lock()
	s.writes++
	s.mu.Unlock()
	key := in.Key
	if key == "" {
		key = s.key
	}
	if _, err := idempotency.ParseKey([]string{key}); err != nil {
		return rest.Answer{}, err
	}
	asked := make(map[string]any, len(in.Args.Object("input")))
	for name, value := range in.Args.Object("input") {
		if name != "clientMutationId" { // it names the message, not the write
			asked[name] = value
		}
	}
	fingerprint, err := json.Marshal(asked) // members in order of their names
	if err != nil {
		return rest.Answer{}, fmt.Errorf("writing a mutation's arguments: %w", err)
	}
	part, err := g.API.Part(ctx, resilience.Checkout, rest.Keyed{
		Operation: operation, Path: "/graphql", Tag: tagOf(operation), Key: subKey(key, in.Field), Fingerprint: append([]byte(operation), fingerprint...),
		MayQueue: operation == "place-order",
	})
	if err != nil {
		return rest.Answer{}, err
	}
	defer rest.From(part).Settle()
	answer, err := do(part)
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer.Replayed {
		s.replayed++
	}
	return answer, err
}

// tagOf is the tag of an operation in the document.
func tagOf(operation string) string {
	if strings.HasSuffix(operation, "order") {
		return "Orders"
	}
	return "Carts"
}

// subKey digests a key and a field's name, each with its length.
func subKey(key, field string) string {
	h := sha256.New()
	for _, part := range []string{key, field} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return "graphql-" + hex.EncodeToString(h.Sum(nil))
}

// read makes a payload of an answer, whether it is made now or long ago.
func read(answer rest.Answer, operation string) (*payload, error) {
	p := &payload{}
	var into any
	switch {
	case answer.Refused():
		return told(answer)
	case answer.Status == http.StatusAccepted:
		p.request = new(orders.OrderRequest)
		into = p.request
	case tagOf(operation) == "Orders":
		p.order = new(orders.Order)
		into = p.order
	default:
		p.cart = new(carts.Cart)
		into = p.cart
	}
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", operation, err)
	}
	return p, nil
}

// problem is what a problem document says.
type problem struct {
	Type     string             `json:"type"`
	Detail   string             `json:"detail"`
	Errors   []rest.FieldError  `json:"errors"`
	Products []userErrorProduct `json:"products"`
}

// told makes a payload of a stored refusal, or an error where that is none of the caller's.
func told(answer rest.Answer) (*payload, error) {
	var doc problem
	if err := json.Unmarshal(answer.Body, &doc); err != nil {
		return nil, fmt.Errorf("reading a stored problem: %w", err)
	}
	slug := doc.Type[strings.LastIndexByte(doc.Type, '/')+1:]
	code, ok := userCodes[slug]
	if !ok {
		return nil, &engine.Error{Code: strings.ToUpper(strings.ReplaceAll(slug, "-", "_")), Message: doc.Detail}
	}
	return &payload{errors: userErrors(code, doc)}, nil
}

// refusal is the same for a problem that was not stored.
func (g *GraphQL) refusal(ctx context.Context, err error) (*payload, error) {
	var p *rest.Problem
	if !errors.As(err, &p) {
		return nil, err
	}
	return told(g.API.Refuse(ctx, p))
}

func userErrors(code string, doc problem) (list []userError) {
	for _, e := range doc.Errors {
		list = append(list, userError{code: code, message: sentence(e.Detail), field: inputPath(e.Pointer)})
	}
	if len(list) == 0 {
		list = []userError{{code: code, message: doc.Detail, products: doc.Products}}
	}
	return list
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func (e userError) asError() *engine.Error {
	code := e.code
	if code == "INVALID" {
		code = codeInput
	}
	out := &engine.Error{Code: code, Message: e.message}
	if e.field != nil {
		out.Extensions = map[string]any{"field": e.field}
	}
	return out
}

// argument reads an id in a mutation's input.
func argument(in engine.Args, name, of string) (uuid.UUID, error) {
	id, err := parseID(of, in.Text(name))
	if err != nil {
		return uuid.Nil, rest.Invalid("/"+name, "%s", strings.TrimSuffix(err.Error(), "."))
	}
	return id, nil
}

func (g *GraphQL) addToCart(ctx context.Context, in engine.Args) (rest.Answer, error) {
	product, err := argument(in, "productId", productNode)
	if err != nil {
		return rest.Answer{}, err
	}
	a := carts.Addition{Product: product, SessionID: in.Text("sessionId")}
	a.Quantity, _ = in.Int("quantity")
	if in.Text("cartId") != "" {
		cart, err := argument(in, "cartId", cartNode)
		if err != nil {
			return rest.Answer{}, err
		}
		a.Cart = &cart
	}
	return g.Carts.AddItem(ctx, a)
}

// cartAndProduct reads the two ids that a cart's changes have.
func cartAndProduct(in engine.Args) (cart, product uuid.UUID, err error) {
	if cart, err = argument(in, "cartId", cartNode); err == nil {
		product, err = argument(in, "productId", productNode)
	}
	return cart, product, err
}

func (g *GraphQL) updateCartItem(ctx context.Context, in engine.Args) (rest.Answer, error) {
	cart, product, err := cartAndProduct(in)
	if err != nil {
		return rest.Answer{}, err
	}
	quantity, _ := in.Int("quantity")
	return g.Carts.SetItem(ctx, cart, product, quantity)
}

func (g *GraphQL) removeFromCart(ctx context.Context, in engine.Args) (rest.Answer, error) {
	cart, product, err := cartAndProduct(in)
	if err != nil {
		return rest.Answer{}, err
	}
	return g.Carts.RemoveItem(ctx, cart, product)
}

// createOrder makes the body that POST /api/v1/orders would get, and reads it as that does.
func (g *GraphQL) createOrder(ctx context.Context, in engine.Args) (rest.Answer, error) {
	asked, _ := in["lines"].([]any)
	lines := make([]any, len(asked))
	for i := range asked {
		line := engine.Args(asked[i].(map[string]any))
		product, err := parseID(productNode, line.Text("productId"))
		if err != nil {
			return rest.Answer{}, rest.Invalid(fmt.Sprintf("/lines/%d/productId", i), "%s", strings.TrimSuffix(err.Error(), "."))
		}
		lines[i] = given(map[string]any{"productId": product, "quantity": line["quantity"], "expectedUnitPrice": line["expectedUnitPrice"]})
	}
	customer := in.Text("customerId")
	if customer == "" {
		customer = rest.From(ctx).Caller.CustomerID()
	}
	raw, err := json.Marshal(map[string]any{
		"customerId": customer, "shippingAddress": given(in.Object("shippingAddress")), "lines": lines,
	})
	if err != nil {
		return rest.Answer{}, fmt.Errorf("writing an order: %w", err)
	}
	draft, _, err := g.draft(raw)
	if err != nil {
		return rest.Answer{}, err
	}
	return g.Orders.Submit(ctx, draft)
}

// given leaves out what is null: REST has no null.
func given(members map[string]any) map[string]any {
	out := make(map[string]any, len(members))
	for name, value := range members {
		if value != nil {
			out[name] = value
		}
	}
	return out
}

// maxReason is as long as a reason may be.
const maxReason = 500

func (g *GraphQL) cancelOrder(ctx context.Context, in engine.Args) (rest.Answer, error) {
	order, err := argument(in, "orderId", orderNode)
	if err != nil {
		return rest.Answer{}, err
	}
	reason := in.Text("reason")
	if n := utf8.RuneCountInString(reason); n < 1 || n > maxReason {
		return rest.Answer{}, rest.Invalid("/reason", "want 1 to %d characters", maxReason)
	}
	call := rest.From(ctx)
	return g.Orders.Cancel(ctx, order, reason, call.Caller, call.Keyed())
}
