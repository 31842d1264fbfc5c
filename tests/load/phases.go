package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// phase is one thing that is measured; reference names the phase that it is compared with.
type phase struct {
	name, title string
	references  []string
	stack       *stack // nil: none of ours
	parts       []part
	run         func(context.Context) (result, error)
}

// idlePace is the time between two orders of the phase in which the machine has nothing else to do.
const idlePace = 50 * time.Millisecond

// crowd is how many clients make batches as large as they get.
const crowd = 384

// phaseNames are what --only takes: the phases that rounds repeat, then those that happen once.
func phaseNames() []string {
	return []string{"pgbench", "pgbench-one", "orders", "pgbench-hot", "pgbench-one-hot", "hot", "hot-crowd", "trickle", "bare", "reads", "lists", "graphql-list", "order", "graphql-order", "redis", "curve", "mixed", "overload", "tracing", "large"}
}

// phases are what a round measures, each next to its reference.
func (b *bench) phases() []phase {
	s := b.direct
	from := func(clients int, next func(*worker)) func(context.Context) (result, error) {
		return func(ctx context.Context) (result, error) {
			if err := s.during(ctx, busy); err != nil {
				return result{}, err
			}
			return closed(ctx, s.target(), clients, b.duration, next)
		}
	}
	ours := func(next func(*worker)) func(context.Context) (result, error) { return from(b.connections, next) }
	database := s.parts[:0:0]
	for _, p := range s.parts {
		if p.name == "PostgreSQL" {
			database = append(database, p)
		}
	}
	reference := func(name, title, script string) phase {
		return phase{name: name, title: title, parts: database, run: func(ctx context.Context) (result, error) {
			return s.pgbenchRun(ctx, script, b.connections, b.duration)
		}}
	}
	return []phase{
		reference("pgbench", "pgbench, 200 products", separate+spread),
		reference("pgbench-one", "pgbench, 200 products, one statement", single+spread),
		{name: "orders", title: "orders, 200 products", references: []string{"pgbench", "pgbench-one"}, stack: s, parts: s.parts, run: ours(spreadOrder)},
		reference("pgbench-hot", "pgbench, one hot product", separate+hot),
		reference("pgbench-one-hot", "pgbench, one hot product, one statement", single+hot),
		{name: "hot", title: "orders, one hot product", references: []string{"pgbench-hot", "pgbench-one-hot"}, stack: s, parts: s.parts, run: ours(hotOrder)},
		{name: "hot-crowd", title: fmt.Sprintf("orders, one hot product, %d clients", crowd), stack: s, parts: s.parts, run: from(crowd, hotOrder)},
		{name: "trickle", title: "orders, 20 a second", stack: s, parts: s.parts, run: s.trickle},
		{name: "bare", title: "bare net/http", parts: b.bareParts, run: func(ctx context.Context) (result, error) {
			return closed(ctx, b.bare, b.connections, b.duration, oneProduct)
		}},
		{name: "reads", title: "GET product, cached", references: []string{"bare"}, stack: s, parts: s.parts, run: ours(oneProduct)},
		{name: "lists", title: "GET products, a page of 20", stack: s, parts: s.parts, run: ours(firstPage)},
		{name: "graphql-list", title: "the same page over GraphQL, by hash", references: []string{"lists"}, stack: s, parts: s.parts, run: b.asked(&pageQuery, func([]placedOrder) func(*worker) { return pageByHash })},
		{name: "order", title: "GET order", stack: s, parts: s.parts, run: b.asked(nil, orderByID)},
		{name: "graphql-order", title: "the same order over GraphQL, by hash", references: []string{"order"}, stack: s, parts: s.parts, run: b.asked(&orderQuery, orderByHash)},
	}
}

// spreadOrder asks for two of the 200 products.
func spreadOrder(w *worker) {
	first := 1 + w.rand.IntN(products/2)
	w.placeOrder(first, first+products/2)
}

// hotOrder asks for the one product that everybody wants.
func hotOrder(w *worker) { w.placeOrder(products + 1) }

// oneProduct reads one and the same product.
func oneProduct(w *worker) { w.readProduct(1) }

// trickle places an order now and then, for the latency of an event that has nobody to share a batch with.
func (s *stack) trickle(ctx context.Context) (result, error) {
	if err := s.during(ctx, idle); err != nil {
		return result{}, err
	}
	w, err := s.target().worker(ctx, 0)
	if err != nil {
		return result{}, err
	}
	defer w.close()
	rec := newRecorder()
	began := time.Now()
	for time.Since(began) < s.duration && ctx.Err() == nil {
		w.placeOrder(1 + rand.IntN(products)) //nolint:gosec // no secret
		sent := time.Now()
		if _, err := w.send(ctx, rec, sent, sent); err != nil {
			return result{}, err
		}
		time.Sleep(idlePace)
	}
	rec.took = time.Since(began)
	return rec.result, nil
}

// rest waits until a stack has done what it was asked: every open order has its answer, every event was heard.
func (s *stack) rest(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	return s.allHeard(ctx)
}

// settle asks again, one by one, for every order of which it is open what became of it, as a client would, until
// each has its answer.
func (s *stack) settle(ctx context.Context) error {
	s.books.mu.Lock()
	open := s.books.unsure
	s.books.unsure = nil
	s.books.mu.Unlock()
	if len(open) == 0 {
		return nil
	}
	w, err := s.target().worker(ctx, 0)
	if err != nil {
		return err
	}
	defer w.close()
	for _, o := range open {
		rec := newRecorder()
		for deadline := time.Now().Add(time.Minute); rec.all(good) == 0; {
			w.order, w.kind = o, placeOrder
			w.writeOrder()
			now := time.Now()
			if now.After(deadline) {
				return fmt.Errorf("order %s never got its answer: %s", s.target().key(o.key), rec.firstFail)
			}
			if _, err := w.send(ctx, rec, now, now); err != nil {
				return err
			}
			if rec.all(good) == 0 {
				time.Sleep(50 * time.Millisecond) // between two tries
			}
		}
	}
	s.books.mu.Lock()
	s.books.unsure = nil // asked and answered above
	s.books.mu.Unlock()
	return nil
}
