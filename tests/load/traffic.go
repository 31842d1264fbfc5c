package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/company/order-catalog-service/tests/load/wire"
)

// kind is a kind of request.
type kind uint8

// The kinds.
const (
	readProduct kind = iota
	listProducts
	searchProducts
	createCart
	setItem
	readCart
	placeOrder
	repeatOrder
	readOrder
	kinds = 9
)

var kindNames = [kinds]string{
	"GET product", "GET products, a page", "GET products, a search", "POST cart", "PUT cart item", "GET cart", "POST order", "POST order, repeated", "GET order",
}

// String implements fmt.Stringer.
func (k kind) String() string { return kindNames[k] }

// wanted are the answers that kinds should get.
var wanted = [kinds]int{
	readProduct: http.StatusOK, listProducts: http.StatusOK, searchProducts: http.StatusOK, createCart: http.StatusCreated,
	setItem: http.StatusOK, readCart: http.StatusOK, placeOrder: http.StatusCreated, repeatOrder: http.StatusCreated, readOrder: http.StatusOK,
}

// target is whom requests go to and who sends them.
type target struct {
	address   string
	run       string // begins every key, so that no two runs share one
	customers *customers
	books     *books
	traced    bool // requests have the trace context that a gateway gives them
}

// worker is one connection and the request that it sends.
type worker struct {
	target
	conn     *wire.Conn
	failures int // in a row, on the wire
	rand     *rand.Rand
	request  []byte // rewritten for each request, never allocated again
	kind     kind
	order    order               // what placeOrder and repeatOrder ask for
	recent   [recentOrders]order // placed by this worker, to be repeated
	placed   int
	popular  *rand.Zipf // numbers of products, less one: some are wanted far more often than others
	carts    [recentCarts]cart
	made     int // carts
	cart     cart
}

// recentOrders and recentCarts are how many orders and carts a worker remembers.
const (
	recentOrders = 64
	recentCarts  = 16
)

// cart is a customer's cart.
type cart struct {
	id       [idLength]byte
	customer int
}

// worker makes one that is connected.
func (t target) worker(ctx context.Context, number int) (*worker, error) {
	conn, err := wire.Dial(ctx, t.address)
	if err != nil {
		return nil, err
	}
	return &worker{
		target: t, conn: conn, rand: rand.New(rand.NewPCG(rand.Uint64(), uint64(number))), //nolint:gosec // no secret
		request: make([]byte, 0, 4<<10),
	}, nil
}

// seed is of the digests of answers.
var seed = maphash.MakeSeed()

// order is what is needed to send an order again.
type order struct {
	key      uint64 // its number among the run's keys
	customer int
	products [2]int
	lines    int
	digest   uint64 // of its answer
}

// books are what was asked and answered: what the database is compared with afterwards.
type books struct {
	keys     atomic.Uint64 // how many were used
	accepted atomic.Int64  // orders that were answered 201, and pgbench's transactions
	lines    atomic.Int64  // of those
	mu       sync.Mutex
	unsure   []order // no answer came, or one that leaves open what happened
	wrong    []string
	heard    int // events, once the books are checked
}

// accept notes that a key's order was placed.
func (b *books) accept(orders, lines int) {
	b.accepted.Add(int64(orders))
	b.lines.Add(int64(lines))
}

// unsure notes that it is open what became of the worker's request. Its key is asked again later.
func (w *worker) unsure() {
	if w.kind != placeOrder || w.books == nil {
		return
	}
	w.books.mu.Lock()
	defer w.books.mu.Unlock()
	w.books.unsure = append(w.books.unsure, w.order)
}

// overload is in a refusal that promises that nothing was done.
var overload = []byte("temporary-reduced-capacity")

// judge says what an answer means, and keeps the books.
func (w *worker) judge(r wire.Response) verdict {
	switch {
	case r.Status == wanted[w.kind] && !bytes.Contains(r.Body, graphErrors):
		w.answered(r.Body)
		return good
	case r.Status == http.StatusServiceUnavailable && bytes.Contains(r.Body, overload):
		return shed
	case r.Status == http.StatusTooManyRequests:
		return limited
	case r.Status >= http.StatusInternalServerError:
		w.unsure()
	}
	return failed
}

func (w *worker) answered(body []byte) {
	switch w.kind {
	case placeOrder:
		w.books.accept(1, w.order.lines)
		w.order.digest = maphash.Bytes(seed, body)
		w.recent[w.placed%recentOrders] = w.order
		w.placed++
	case repeatOrder:
		if maphash.Bytes(seed, body) != w.order.digest {
			w.books.mu.Lock()
			w.books.wrong = append(w.books.wrong, fmt.Sprintf("key %s was answered differently the second time: %.300s", w.key(w.order.key), body))
			w.books.mu.Unlock()
		}
	case createCart:
		if at := bytes.Index(body, idMember); at >= 0 && copy(w.cart.id[:], body[at+len(idMember):]) == idLength {
			w.carts[w.made%recentCarts] = w.cart
			w.made++
		}
	case readProduct, listProducts, searchProducts, setItem, readCart, readOrder:
	}
}

// idMember begins the id in the answer that has made something.
var idMember = []byte(`"id":"`)

// key is an Idempotency-Key of this run, for people.
func (t target) key(n uint64) string { return t.run + "-" + strconv.FormatUint(n, 16) }
