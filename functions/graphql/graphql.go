// Package graphql answers GraphQL at /graphql, beside REST and by the same use cases: a product comes from the same
// cache, an order is placed by the same lane under the same idempotency, and who may do what says the same table.
//
// Package engine below answers documents; here is what it answers them from. schema.graphql is the schema and the only
// place where it stands: fields find their resolvers by name, and the service does not start when one is missing.
//
// Read schema.graphql, resolvers.go (what each field is), write.go (mutations), then http.go (a request's way),
// request.go (its forms), persisted.go (operations known by their digest) and ide.go (the page for people).
package graphql

import (
	_ "embed" // for schema.graphql
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/functions/graphql/engine"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/rest"
)

// SDL is the schema.
//
//go:embed schema.graphql
var SDL string

// Options say what the slice stands on.
type Options struct {
	API     *rest.API
	Catalog *catalog.Catalog
	Carts   *carts.Carts
	Orders  *orders.Orders
	Logger  *slog.Logger
	// Introspection lets everybody ask for the schema, and names what it has instead of what was asked for; else only
	// admins may.
	Introspection bool
	// Status says which text of GraphQL over HTTP the statuses follow; "" is StatusDraft.
	Status Status
	Trusted
	IDE
}

// GraphQL is the slice.
type GraphQL struct {
	Options
	schema    *engine.Schema
	persisted *persisted
	draft     func(raw []byte) (orders.Draft, []byte, error)
	page      idePage
	requests  metric.Int64Counter
}

// New makes the slice and registers /graphql.
func New(o Options) (*GraphQL, error) {
	g := &GraphQL{Options: o, draft: rest.NewReader[orders.Draft](o.API)}
	if g.Logger == nil {
		g.Logger = slog.Default()
	}
	switch g.Status {
	case "":
		g.Status = StatusDraft
	case StatusDraft, StatusLegacy:
	default:
		return nil, fmt.Errorf("%q is no status profile: want %s or %s", g.Status, StatusDraft, StatusLegacy)
	}
	limits := engine.DefaultLimits()
	limits.Suggestions = o.Introspection
	var err error
	if g.schema, err = engine.Build(engine.Options{SDL: SDL, Resolvers: g.resolvers(), TypeOf: typeOf, Limits: limits}); err != nil {
		return nil, err
	}
	for _, name := range g.schema.Policies() {
		if _, ok := auth.PolicyNamed(name); !ok {
			return nil, fmt.Errorf("the schema asks for the policy %q, which there is not", name)
		}
	}
	if g.persisted, err = newPersisted(g.schema, o.Trusted); err != nil {
		return nil, err
	}
	if g.requests, err = otel.Meter("graphql").Int64Counter("graphql_requests_total",
		metric.WithDescription("GraphQL requests by operation (query, mutation, none: refused before there was one) and result (ok, partial, refused).")); err != nil {
		return nil, fmt.Errorf("making graphql_requests_total: %w", err)
	}
	o.API.Handle("POST /graphql", http.HandlerFunc(g.serve))
	o.API.Handle("GET /graphql", http.HandlerFunc(g.serve))
	g.describe()
	return g, g.registerIDE()
}
