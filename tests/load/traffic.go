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
	placeOrder
	repeatOrder
	kinds = 3
)

var kindNames = [kinds]string{"GET product", "POST order", "POST order again"}

// String implements fmt.Stringer.
func (k kind) String() string { return kindNames[k] }

// wanted are the answers that kinds should get.
var wanted = [kinds]int{readProduct: http.StatusOK, placeOrder: http.StatusCreated, repeatOrder: http.StatusCreated}

// target is whom requests go to and who sends them.
type target struct {
	address   string
	run       string // begins every key, so that no two runs share one
	customers *customers
	books     *books
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
}

// recentOrders is how many orders a worker remembers.
const recentOrders = 64

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
	case r.Status == wanted[w.kind]:
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
	case readProduct:
	}
}

// key is an Idempotency-Key of this run, for people.
func (t target) key(n uint64) string { return t.run + "-" + strconv.FormatUint(n, 16) }

// productID is the id of a product by its number.
func productID(number int) string { return fmt.Sprintf("018cc251-f400-7000-8000-%012x", number) }

// appendProductID appends it without allocating.
func appendProductID(b []byte, number int) []byte {
	b = append(b, "018cc251-f400-7000-8000-"...)
	const digits = "0123456789abcdef"
	for shift := 44; shift >= 0; shift -= 4 {
		b = append(b, digits[number>>shift&15])
	}
	return b
}

// continueWith ends a request's first line and says whose it is.
func (w *worker) continueWith(customer int) {
	w.request = append(w.request, " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "...)
	w.request = append(w.request, w.customers.token(customer)...)
	w.request = append(w.request, "\r\n"...)
}

// readProduct asks for a product.
func (w *worker) readProduct(number int) {
	w.kind = readProduct
	w.request = append(w.request[:0], "GET /api/v1/products/"...)
	w.request = appendProductID(w.request, number)
	w.continueWith(w.rand.IntN(w.customers.count))
	w.request = append(w.request, "\r\n"...)
}

// placeOrder asks for one unit of each product, for a customer drawn by lot, under a key of its own.
func (w *worker) placeOrder(products ...int) {
	w.order = order{key: w.books.keys.Add(1), customer: w.rand.IntN(w.customers.count), lines: len(products)}
	copy(w.order.products[:], products)
	w.kind = placeOrder
	w.writeOrder()
}

// repeatOrder asks once more for one of the orders that this worker has placed.
func (w *worker) repeatOrder() {
	w.order = w.recent[w.rand.IntN(min(w.placed, recentOrders))]
	w.kind = repeatOrder
	w.writeOrder()
}

const (
	orderHead = "Content-Type: application/json\r\nIdempotency-Key: "
	customer  = `{"customerId":"`
	address   = `","shippingAddress":{"name":"A Customer","line1":"1 Main Street","city":"Springfield","postalCode":"12345","country":"US"},"lines":[`
	line      = `{"productId":"`
	lineEnd   = `","quantity":1}`
	orderEnd  = `]}`
	idLength  = len("018cc251-f400-7000-8000-000000000000")
)

// orderLength is the length of an order's body.
func orderLength(lines int) int {
	return len(customer) + customerLength + len(address) + lines*(len(line)+idLength+len(lineEnd)) + lines - 1 + len(orderEnd)
}

func (w *worker) writeOrder() {
	w.request = append(w.request[:0], "POST /api/v1/orders"...)
	w.continueWith(w.order.customer)
	b := append(w.request, orderHead...)
	b = append(append(b, w.run...), '-')
	b = strconv.AppendUint(b, w.order.key, 16)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(orderLength(w.order.lines)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, customer...)
	b = appendCustomer(b, w.order.customer)
	b = append(b, address...)
	for i, product := range w.order.products[:w.order.lines] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, line...)
		b = appendProductID(b, product)
		b = append(b, lineEnd...)
	}
	w.request = append(b, orderEnd...)
}
