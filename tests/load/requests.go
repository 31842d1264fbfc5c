package main

import (
	"fmt"
	"strconv"
)

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
	if w.traced {
		w.request = fmt.Appendf(w.request, "Traceparent: 00-%016x%016x-%016x-00\r\n", w.rand.Uint64(), w.rand.Uint64()|1, w.rand.Uint64()|1) // none is all zeros
	}
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
	customer = `{"customerId":"`
	address  = `","shippingAddress":{"name":"A Customer","line1":"1 Main Street","city":"Springfield","postalCode":"12345","country":"US"},"lines":[`
	line     = `{"productId":"`
	lineEnd  = `","quantity":1}`
	orderEnd = `]}`
	idLength = len("018cc251-f400-7000-8000-000000000000")
)

// orderLength is the length of an order's body.
func orderLength(lines int) int {
	return len(customer) + customerLength + len(address) + lines*(len(line)+idLength+len(lineEnd)) + lines - 1 + len(orderEnd)
}

func (w *worker) writeOrder() {
	w.request = append(w.request[:0], "POST /api/v1/orders"...)
	w.continueWith(w.order.customer)
	w.keyed(w.order.key, orderLength(w.order.lines))
	b := append(w.request, customer...)
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

// listProducts asks for one of the first pages of a category, or of all products.
func (w *worker) listProducts() {
	w.kind = listProducts
	b := append(w.request[:0], "GET /api/v1/products?pageSize=20&page="...)
	b = strconv.AppendInt(b, int64(1+w.rand.IntN(3)), 10)
	if category := w.rand.IntN(categories + 1); category < categories {
		b = strconv.AppendInt(append(b, "&category=Category+"...), int64(category), 10)
	}
	w.request = b
	w.continueWith(w.rand.IntN(w.customers.count))
	w.request = append(w.request, "\r\n"...)
}

// searchProducts looks for a word that some products have in their name.
func (w *worker) searchProducts() {
	w.kind = searchProducts
	w.request = append(append(w.request[:0], "GET /api/v1/products?search="...), words[w.rand.IntN(len(words))]...)
	w.continueWith(w.rand.IntN(w.customers.count))
	w.request = append(w.request, "\r\n"...)
}

// createCart makes a cart.
func (w *worker) createCart() {
	w.kind = createCart
	w.cart = cart{customer: w.rand.IntN(w.customers.count)}
	w.request = append(w.request[:0], "POST /api/v1/carts"...)
	w.continueWith(w.cart.customer)
	w.keyed(w.books.keys.Add(1), len(session))
	w.request = append(w.request, session...)
}

const (
	session = `{"sessionId":"visit"}`
	item    = `{"productId":"`
	itemEnd = `","quantity":2}`
)

// anyCart picks one of the worker's carts; without one it makes one, and says false.
func (w *worker) anyCart() bool {
	if w.made == 0 {
		w.createCart()
		return false
	}
	w.cart = w.carts[w.rand.IntN(min(w.made, recentCarts))]
	return true
}

// setItem puts a product into a cart.
func (w *worker) setItem(product int) {
	if !w.anyCart() {
		return
	}
	w.kind = setItem
	w.request = append(append(append(w.request[:0], "PUT /api/v1/carts/"...), w.cart.id[:]...), "/items"...)
	w.continueWith(w.cart.customer)
	w.keyed(w.books.keys.Add(1), len(item)+idLength+len(itemEnd))
	w.request = append(appendProductID(append(w.request, item...), product), itemEnd...)
}

// readCart looks into a cart.
func (w *worker) readCart() {
	if !w.anyCart() {
		return
	}
	w.kind = readCart
	w.request = append(append(w.request[:0], "GET /api/v1/carts/"...), w.cart.id[:]...)
	w.continueWith(w.cart.customer)
	w.request = append(w.request, "\r\n"...)
}

// keyed ends the header of a write: its key and the length of its body.
func (w *worker) keyed(key uint64, length int) {
	b := append(w.request, "Content-Type: application/json\r\nIdempotency-Key: "...)
	b = append(append(b, w.run...), '-')
	b = strconv.AppendUint(b, key, 16)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	w.request = append(b, "\r\n\r\n"...)
}
