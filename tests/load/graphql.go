package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// persisted is a document that GraphQL is asked for by its hash.
type persisted struct {
	text   string
	before string // of the variables' only value
	value  string // one that it can have
	after  string
}

// What GraphQL is asked for is what its twin in REST answers.
var (
	pageQuery = persist("first", "Int", "20",
		`products(first: $first) { edges { node { id sku name description category price { amount currency } isAvailable images } } pageInfo { hasNextPage endCursor } }`)
	orderQuery = persist("id", "ID!", `"00000000-0000-7000-8000-000000000000"`,
		`order(id: $id) { id orderNumber status totalAmount { amount currency } lines { product { id } sku name quantity unitPrice { amount currency } lineTotal { amount currency } } createdAt customerId shippingAddress { name line1 line2 city region postalCode country } cancelReason }`)
)

// persist makes the request of a document with one variable.
func persist(variable, kind, value, field string) persisted {
	text := fmt.Sprintf("query Measured($%s: %s) { %s }", variable, kind, field)
	sum := sha256.Sum256([]byte(text))
	return persisted{text, `"variables":{"` + variable + `":`, value, `},"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hex.EncodeToString(sum[:]) + `"}}}`}
}

// ask writes the request for a document by its hash; value is appended to it, length bytes long.
func (w *worker) ask(p *persisted, customer, length int, value func([]byte) []byte) {
	w.request = append(w.request[:0], "POST /graphql"...)
	w.continueWith(customer)
	w.request = append(w.request, "Content-Type: application/json\r\nContent-Length: "...)
	w.request = strconv.AppendInt(w.request, int64(len("{")+len(p.before)+length+len(p.after)), 10)
	w.request = append(append(w.request, "\r\n\r\n{"...), p.before...)
	w.request = append(value(w.request), p.after...)
}

// register has the handler know a document's hash.
func (s *stack) register(ctx context.Context, p *persisted) error {
	body := `{"query":` + strconv.Quote(p.text) + `,` + p.before + p.value + p.after
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.address+"/graphql", bytes.NewReader([]byte(body))) //nolint:gosec // an address we started
	if err != nil {
		return fmt.Errorf("registering a document: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+string(s.customers.token(0)))
	res, err := http.DefaultClient.Do(r) //nolint:gosec // an address we started
	if err != nil {
		return fmt.Errorf("registering a document: %w", err)
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // read to its end
	if err != nil || res.StatusCode != http.StatusOK || bytes.Contains(answer, graphErrors) {
		return fmt.Errorf("registering a document: %d %.200s %w", res.StatusCode, answer, err)
	}
	return nil
}

// graphErrors is in an answer that says 200 and is a failure nevertheless.
var graphErrors = []byte(`"errors":[`)

// firstPage reads the first page of all products over REST.
func firstPage(w *worker) {
	w.kind = listProducts
	w.request = append(w.request[:0], "GET /api/v1/products?pageSize=20"...)
	w.continueWith(w.rand.IntN(w.customers.count))
	w.request = append(w.request, "\r\n"...)
}

// pageByHash asks for the same over GraphQL.
func pageByHash(w *worker) {
	w.kind = listProducts
	w.ask(&pageQuery, w.rand.IntN(w.customers.count), len(pageQuery.value), func(b []byte) []byte { return append(b, pageQuery.value...) })
}

// orderByID reads one of the orders over REST.
func orderByID(orders []placedOrder) func(*worker) {
	return func(w *worker) {
		o := &orders[w.rand.IntN(len(orders))]
		w.kind = readOrder
		w.request = append(append(w.request[:0], "GET /api/v1/orders/"...), o.id...)
		w.continueWith(o.customer)
		w.request = append(w.request, "\r\n"...)
	}
}

// orderByHash reads one of the orders over GraphQL.
func orderByHash(orders []placedOrder) func(*worker) {
	return func(w *worker) {
		o := &orders[w.rand.IntN(len(orders))]
		w.kind = readOrder
		w.ask(&orderQuery, o.customer, len(o.id)+2, func(b []byte) []byte { return append(append(append(b, '"'), o.id...), '"') })
	}
}

// placedOrder is an order that can be read, and by whom.
type placedOrder struct {
	id       string
	customer int
}

// readable are some of the newest orders of the service's customers.
func (s *stack) readable(ctx context.Context) ([]placedOrder, error) {
	rows, err := s.db.Query(ctx, `SELECT id::text, right(customer_id, 8)::int FROM orders
		WHERE customer_id ~ '^customer-[0-9]{8}$' AND right(customer_id, 8)::int < $1 ORDER BY id DESC LIMIT 500`, s.customers.count)
	if err != nil {
		return nil, fmt.Errorf("looking for orders to read: %w", err)
	}
	orders, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o placedOrder, err error) {
		err = row.Scan(&o.id, &o.customer)
		return o, err
	})
	if err == nil && len(orders) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return nil, fmt.Errorf("looking for orders to read: %w", err)
	}
	return orders, nil
}

// asked measures requests of one kind that change nothing, once the handler knows the document that they name, if any.
func (b *bench) asked(document *persisted, next func([]placedOrder) func(*worker)) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		s := b.direct
		orders, err := s.readable(ctx)
		if err != nil {
			return result{}, err
		}
		if document != nil {
			if err := s.register(ctx, document); err != nil {
				return result{}, err
			}
		}
		if err := s.during(ctx, busy); err != nil {
			return result{}, err
		}
		return closed(ctx, s.target(), b.connections, b.duration, next(orders))
	}
}
