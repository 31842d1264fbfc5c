package graphql

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/auth"
)

// loader gathers the ids that a request's fields want, and asks for all of them when the first that isn't there is
// needed: with one statement for a depth, whichever fields and branches the ids come from.
type loader[V any] struct {
	fetch  func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*V, error)
	mu     sync.Mutex
	wanted []uuid.UUID
	known  map[uuid.UUID]loaded[V]
}

type loaded[V any] struct {
	value *V // nil: there is none
	err   error
	asked bool
}

// want notes ids.
func (l *loader[V]) want(ids ...uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[uuid.UUID]loaded[V], len(ids))
	}
	for _, id := range ids {
		if _, noted := l.known[id]; !noted {
			l.known[id] = loaded[V]{}
			l.wanted = append(l.wanted, id)
		}
	}
}

// get is the value of an id that was wanted, nil when there is none. Who comes while others ask waits for them.
func (l *loader[V]) get(ctx context.Context, id uuid.UUID) (*V, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.known[id]; v.asked {
		return v.value, v.err
	}
	ids := l.wanted
	l.wanted = nil
	found, err := l.fetch(ctx, ids)
	for _, id := range ids {
		l.known[id] = loaded[V]{value: found[id], err: err, asked: true}
	}
	return l.known[id].value, err
}

// forget makes the next get ask again: something was written.
func (l *loader[V]) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.wanted = nil, nil
}

// state is what one request's fields share.
type state struct {
	caller   auth.Identity
	key      string // the Idempotency-Key of the whole request, or its operation's
	products loader[catalog.Product]
	orders   loader[orders.Order]
	carts    loader[carts.Cart]

	mu       sync.Mutex
	broken   bool // it is open what became of a mutation's field: those after it are not begun
	writes   int
	replayed int // of the writes
}

func (g *GraphQL) newState(caller auth.Identity) *state {
	s := &state{caller: caller}
	s.products.fetch = g.Catalog.Many
	s.orders.fetch = func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*orders.Order, error) {
		return g.Orders.Many(ctx, caller, ids)
	}
	s.carts.fetch = func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*carts.Cart, error) {
		return g.Carts.Many(ctx, caller, ids)
	}
	return s
}

func stateOf(s any) *state { return s.(*state) }
