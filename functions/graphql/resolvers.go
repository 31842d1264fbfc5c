package graphql

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/functions/graphql/engine"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

// typeOf names the type of a node.
func typeOf(value any) string {
	switch value.(type) {
	case *catalog.Product:
		return productNode
	case *orders.Order:
		return orderNode
	case *carts.Cart:
		return cartNode
	}
	return ""
}

// text, optional, id, number, yes and object make fields of what an object of type T holds.

func text[T any](get func(*T) string) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte { return engine.AppendText(out, get(v.(*T))) }}
}

// optional is null for the empty text.
func optional[T any](get func(*T) string) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte {
		if s := get(v.(*T)); s != "" {
			return engine.AppendText(out, s)
		}
		return append(out, "null"...)
	}}
}

func id[T any](of string, get func(*T) uuid.UUID) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte {
		return append(appendNodeID(append(out, '"'), of, get(v.(*T))), '"')
	}}
}

func number[T any](get func(*T) int) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte { return strconv.AppendInt(out, int64(get(v.(*T))), 10) }}
}

func yes[T any](get func(*T) bool) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte { return strconv.AppendBool(out, get(v.(*T))) }}
}

func texts[T any](get func(*T) []string) engine.Field {
	return engine.Field{Leaf: func(out []byte, v any) []byte {
		out = append(out, '[')
		for i, s := range get(v.(*T)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = engine.AppendText(out, s)
		}
		return append(out, ']')
	}}
}

// object is a part of T, nil for null.
func object[T, P any](get func(*T) *P) engine.Field {
	return engine.Field{Get: func(v any) any {
		if p := get(v.(*T)); p != nil {
			return p
		}
		return nil
	}}
}

// list is a part of T that is a list.
func list[T, P any](get func(*T) []P) engine.Field {
	return engine.Field{Get: func(v any) any {
		all := get(v.(*T))
		out := make(engine.List, len(all))
		for i := range all {
			out[i] = &all[i]
		}
		return out
	}}
}

// resolvers are all fields.
func (g *GraphQL) resolvers() engine.Resolvers {
	r := engine.Resolvers{
		"Query.products": {Load: g.products},
		"Query.product":  {Load: one(productNode, products)},
		"Query.myOrders": {Load: g.myOrders},
		"Query.order":    {Load: one(orderNode, ordersOf)},
		"Query.cart":     {Load: one(cartNode, cartsOf)},
		"Query.node":     {Load: node},
		"Query.nodes":    {Load: nodes},

		"PageInfo.hasNextPage":     yes(func(p *pageInfo) bool { return p.next }),
		"PageInfo.hasPreviousPage": yes(func(p *pageInfo) bool { return p.previous }),
		"PageInfo.startCursor":     optional(func(p *pageInfo) string { return p.start }),
		"PageInfo.endCursor":       optional(func(p *pageInfo) string { return p.end }),

		"Money.amount":   text((*money.Money).Amount),
		"Money.currency": text((*money.Money).Currency),

		"Product.id":          id(productNode, func(p *catalog.Product) uuid.UUID { return p.ID }),
		"Product.sku":         text(func(p *catalog.Product) string { return p.SKU }),
		"Product.name":        text(func(p *catalog.Product) string { return p.Name }),
		"Product.description": optional(func(p *catalog.Product) string { return p.Description }),
		"Product.category":    text(func(p *catalog.Product) string { return p.Category }),
		"Product.price":       object(func(p *catalog.Product) *money.Money { return &p.Price }),
		"Product.isAvailable": yes(func(p *catalog.Product) bool { return p.IsAvailable }),
		"Product.stock": text(func(p *catalog.Product) string {
			if p.IsAvailable {
				return "IN_STOCK"
			}
			return "SOLD_OUT"
		}),
		"Product.images": texts(func(p *catalog.Product) []string { return p.Images }),

		"Order.id":              id(orderNode, func(o *orders.Order) uuid.UUID { return o.ID }),
		"Order.orderNumber":     text(func(o *orders.Order) string { return o.OrderNumber }),
		"Order.status":          text(func(o *orders.Order) string { return statuses[o.Status] }),
		"Order.totalAmount":     object(func(o *orders.Order) *money.Money { return &o.TotalAmount }),
		"Order.lines":           list(func(o *orders.Order) []orders.Line { return o.Lines }),
		"Order.createdAt":       text(func(o *orders.Order) string { return o.CreatedAt.UTC().Format(time.RFC3339Nano) }),
		"Order.customerId":      text(func(o *orders.Order) string { return o.CustomerID }),
		"Order.shippingAddress": object(func(o *orders.Order) *orders.Address { return &o.ShippingAddress }),
		"Order.cancelReason":    optional(func(o *orders.Order) string { return o.CancelReason }),

		"OrderLine.product":   {Load: productsOf(func(v any) uuid.UUID { return v.(*orders.Line).ProductID })},
		"OrderLine.sku":       text(func(l *orders.Line) string { return l.SKU }),
		"OrderLine.name":      text(func(l *orders.Line) string { return l.Name }),
		"OrderLine.quantity":  number(func(l *orders.Line) int { return l.Quantity }),
		"OrderLine.unitPrice": object(func(l *orders.Line) *money.Money { return &l.UnitPrice }),
		"OrderLine.lineTotal": object(func(l *orders.Line) *money.Money { return &l.LineTotal }),

		"Address.name":       text(func(a *orders.Address) string { return a.Name }),
		"Address.line1":      text(func(a *orders.Address) string { return a.Line1 }),
		"Address.line2":      optional(func(a *orders.Address) string { return a.Line2 }),
		"Address.city":       text(func(a *orders.Address) string { return a.City }),
		"Address.region":     optional(func(a *orders.Address) string { return a.Region }),
		"Address.postalCode": text(func(a *orders.Address) string { return a.PostalCode }),
		"Address.country":    text(func(a *orders.Address) string { return a.Country }),

		"Cart.id":            id(cartNode, func(c *carts.Cart) uuid.UUID { return c.ID }),
		"Cart.sessionId":     text(func(c *carts.Cart) string { return c.SessionID }),
		"Cart.items":         list(func(c *carts.Cart) []carts.Item { return c.Items }),
		"Cart.totalAmount":   object(func(c *carts.Cart) *money.Money { return c.TotalAmount }),
		"CartItem.product":   {Load: productsOf(func(v any) uuid.UUID { return v.(*carts.Item).ProductID })},
		"CartItem.quantity":  number(func(i *carts.Item) int { return i.Quantity }),
		"CartItem.unitPrice": object(func(i *carts.Item) *money.Money { return &i.UnitPrice }),
	}
	connection(r, "ProductConnection", "ProductEdge", func(e *catalog.Edge) (*catalog.Product, string) { return &e.Product, e.Cursor })
	connection(r, "OrderConnection", "OrderEdge", func(e *orders.Edge) (*orders.Order, string) { return &e.Order, e.Cursor })
	g.mutations(r)
	return r
}

var statuses = map[orders.Status]string{orders.Pending: "PENDING", orders.Confirmed: "CONFIRMED", orders.Cancelled: "CANCELLED"}

// page is a connection.
type page[E any] struct {
	edges []*E
	info  pageInfo
}

type pageInfo struct {
	next, previous bool
	start, end     string
}

// connection adds the fields of a connection and its edges.
func connection[E, N any](r engine.Resolvers, name, edge string, of func(*E) (*N, string)) {
	all := func(item func(*E) any) func(v any) any {
		return func(v any) any {
			p := v.(*page[E])
			out := make(engine.List, len(p.edges))
			for i, e := range p.edges {
				out[i] = item(e)
			}
			return out
		}
	}
	inside := func(e *E) any { n, _ := of(e); return n }
	r[name+".edges"] = engine.Field{Get: all(func(e *E) any { return e })}
	r[name+".nodes"] = engine.Field{Get: all(inside)}
	r[name+".pageInfo"] = engine.Field{Get: func(v any) any { return &v.(*page[E]).info }}
	r[edge+".node"] = engine.Field{Get: func(v any) any { return inside(v.(*E)) }}
	r[edge+".cursor"] = text(func(e *E) string { _, cursor := of(e); return cursor })
}

// connect makes a connection of edges.
func connect[E any](edges []*E, next, previous bool, cursor func(*E) string) *page[E] {
	p := &page[E]{edges: edges, info: pageInfo{next: next, previous: previous}}
	if n := len(edges); n > 0 {
		p.info.start, p.info.end = cursor(edges[0]), cursor(edges[n-1])
	}
	return p
}

// slice reads the arguments of a connection.
func slice(a engine.Args) (s paging.Slice, err error) {
	first, forward := a.Int("first")
	last, backward := a.Int("last")
	s = paging.Slice{Size: paging.DefaultSize, Backward: backward, After: a.Text("after"), Before: a.Text("before")}
	switch {
	case forward && backward:
		return s, badInput("Send either first or last, not both.")
	case forward:
		s.Size = first
	case backward:
		s.Size = last
	}
	if s.Size < 0 || s.Size > paging.MaxSize {
		return s, badInput("A page has 0 to %d items: %d are not possible.", paging.MaxSize, s.Size)
	}
	return s, nil
}

// alone is the value of a field that has one parent, as all of Query have.
func alone(value any, err error) []engine.Result { return []engine.Result{{Value: value, Err: err}} }

func (g *GraphQL) products(ctx context.Context, in engine.Input) engine.Pending {
	return func() []engine.Result {
		s, err := slice(in.Args)
		if err != nil {
			return alone(nil, err)
		}
		filter := in.Args.Object("filter")
		q := catalog.Query{
			Slice: s, Category: filter.Text("category"), Search: filter.Text("search"), Sort: catalog.Sort(in.Args.Text("sort")),
		}
		if len(q.Category) > 400 || len(q.Search) > 1000 { // as far as REST goes, in bytes
			return alone(nil, badInput("filter: category has up to 80 characters and search up to 200."))
		}
		if strings.TrimSpace(q.Search) != "" {
			if err := g.API.Off(rest.SearchOff); err != nil {
				return alone(nil, err)
			}
		}
		if available, ok := filter["isAvailable"].(bool); ok {
			q.Available = &available
		}
		part, err := g.Catalog.List(ctx, q)
		if err != nil {
			return alone(nil, err)
		}
		return alone(connect(part.Edges, part.HasNext, part.HasPrevious, func(e *catalog.Edge) string { return e.Cursor }), nil)
	}
}

func (g *GraphQL) myOrders(ctx context.Context, in engine.Input) engine.Pending {
	return func() []engine.Result {
		s, err := slice(in.Args)
		if err != nil {
			return alone(nil, err)
		}
		part, err := g.Orders.List(ctx, stateOf(in.State).caller, s)
		if err != nil {
			return alone(nil, err)
		}
		return alone(connect(part.Edges, part.HasNext, part.HasPrevious, func(e *orders.Edge) string { return e.Cursor }), nil)
	}
}

func products(s *state) *loader[catalog.Product] { return &s.products }
func ordersOf(s *state) *loader[orders.Order]    { return &s.orders }
func cartsOf(s *state) *loader[carts.Cart]       { return &s.carts }

// found is a loader's value for the engine, to which a nil pointer is not null.
func found[V any](ctx context.Context, from *loader[V], id uuid.UUID) engine.Result {
	v, err := from.get(ctx, id)
	if err != nil || v == nil {
		return engine.Result{Err: err}
	}
	return engine.Result{Value: v}
}

// one is a field that finds an object by the argument id.
func one[V any](of string, from func(*state) *loader[V]) func(context.Context, engine.Input) engine.Pending {
	return func(ctx context.Context, in engine.Input) engine.Pending {
		l := from(stateOf(in.State))
		id, err := parseID(of, in.Args.Text("id"))
		if err == nil {
			l.want(id)
		}
		return func() []engine.Result {
			if err != nil {
				return alone(nil, err)
			}
			return []engine.Result{found(ctx, l, id)}
		}
	}
}

// productsOf is the product of each of many parents.
func productsOf(of func(parent any) uuid.UUID) func(context.Context, engine.Input) engine.Pending {
	return func(ctx context.Context, in engine.Input) engine.Pending {
		l := &stateOf(in.State).products
		for _, parent := range in.Parents {
			l.want(of(parent))
		}
		return func() []engine.Result {
			out := make([]engine.Result, len(in.Parents))
			for i, parent := range in.Parents {
				out[i] = found(ctx, l, of(parent))
			}
			return out
		}
	}
}

// policies of the types that node finds: the fields that find them otherwise have the same.
var nodePolicies = map[string]auth.Policy{productNode: auth.CatalogRead, orderNode: auth.OrderRead, cartNode: auth.AnyToken}

// maxNodes is how many ids nodes takes.
const maxNodes = 100

func node(ctx context.Context, in engine.Input) engine.Pending {
	return find(ctx, stateOf(in.State), []string{in.Args.Text("id")})
}

func nodes(ctx context.Context, in engine.Input) engine.Pending {
	asked, _ := in.Args["ids"].([]any)
	if len(asked) > maxNodes {
		return func() []engine.Result {
			return alone(nil, badInput("nodes takes up to %d ids, not %d.", maxNodes, len(asked)))
		}
	}
	ids := make([]string, len(asked))
	for i, id := range asked {
		ids[i], _ = id.(string)
	}
	wait := find(ctx, stateOf(in.State), ids)
	return func() []engine.Result {
		out := make(engine.List, len(ids))
		for i, r := range wait() {
			if out[i] = r.Value; r.Err != nil {
				out[i] = r.Err
			}
		}
		return alone(out, nil)
	}
}

// find looks for nodes of any type. Whether the caller may see them does not depend on whether they are there.
func find(ctx context.Context, s *state, ids []string) engine.Pending {
	finds := make([]func() engine.Result, len(ids))
	for i, text := range ids {
		of, id, err := parseNodeID(text)
		if err == nil {
			err = nodePolicies[of].Check(s.caller)
		}
		switch {
		case err != nil:
			finds[i] = func() engine.Result { return engine.Result{Err: err} }
		case of == productNode:
			s.products.want(id)
			finds[i] = func() engine.Result { return found(ctx, &s.products, id) }
		case of == orderNode:
			s.orders.want(id)
			finds[i] = func() engine.Result { return found(ctx, &s.orders, id) }
		default:
			s.carts.want(id)
			finds[i] = func() engine.Result { return found(ctx, &s.carts, id) }
		}
	}
	return func() []engine.Result {
		out := make([]engine.Result, len(finds))
		for i, find := range finds {
			out[i] = find()
		}
		return out
	}
}
