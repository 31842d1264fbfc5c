package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	ordersReference = "pgbench"
	readsReference  = "bare net/http"
)

// phases are what a round measures, each next to its reference.
func (s *stack) phases() []phase {
	return []phase{
		{name: ordersReference, run: func(ctx context.Context) (result, error) {
			return s.counted(pgbench(ctx, s.options, s.pgbench, s.dir, s.app))
		}},
		{name: "orders, 200 products", reference: ordersReference, run: func(ctx context.Context) (result, error) {
			return s.counted(s.while(ctx, busy, func() (result, error) {
				return loop(ctx, s.options, http.StatusCreated, func(int) (*http.Request, error) {
					first := 1 + rand.IntN(products/2) //nolint:gosec // no secret
					return s.order(ctx, first, first+products/2)
				})
			}))
		}},
		{name: "orders, one hot product", reference: ordersReference, run: func(ctx context.Context) (result, error) {
			return s.counted(s.while(ctx, busy, func() (result, error) {
				return loop(ctx, s.options, http.StatusCreated, func(int) (*http.Request, error) {
					return s.order(ctx, products+1)
				})
			}))
		}},
		{name: "orders, 20 a second", run: func(ctx context.Context) (result, error) {
			return s.counted(s.while(ctx, idle, func() (result, error) { return s.trickle(ctx) }))
		}},
		{name: readsReference, run: func(ctx context.Context) (result, error) {
			return loop(ctx, s.options, http.StatusOK, func(int) (*http.Request, error) { return s.read(ctx, s.bareURL) })
		}},
		{name: "GET product, cached", reference: readsReference, run: func(ctx context.Context) (result, error) {
			return loop(ctx, s.options, http.StatusOK, func(int) (*http.Request, error) { return s.read(ctx, s.base) })
		}},
	}
}

// counted remembers how many orders a phase was told are placed.
func (s *stack) counted(r result, err error) (result, error) {
	s.accepted += r.accepted
	return r, err
}

// productID is the id of a product by its number.
func productID(number int) string { return fmt.Sprintf("018cc251-f400-7000-8000-%012x", number) }

// order asks for one unit of each product, under a key of its own.
func (s *stack) order(ctx context.Context, numbers ...int) (*http.Request, error) {
	lines := make([]string, len(numbers))
	for i, number := range numbers {
		lines[i] = `{"productId":"` + productID(number) + `","quantity":1}`
	}
	body := `{"customerId":"customer","shippingAddress":{"name":"A Customer","line1":"1 Main Street","city":"Springfield",` +
		`"postalCode":"12345","country":"US"},"lines":[` + strings.Join(lines, ",") + `]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/api/v1/orders", strings.NewReader(body)) //nolint:gosec // an address we started
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", uuid.NewString())
	return req, nil
}

// read asks for one and the same product.
func (s *stack) read(ctx context.Context, base string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/products/"+productID(1), nil) //nolint:gosec // an address we started
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	return req, nil
}

// firstOrder waits until the handler takes orders. Its rows are the reference's pattern.
func (s *stack) firstOrder(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		req, err := s.order(ctx, 1, 1+products/2)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("placing the first order: %w", err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read to its end, or failed
		switch {
		case err != nil:
			return fmt.Errorf("placing the first order: %w", err)
		case res.StatusCode == http.StatusCreated:
			s.accepted++
			return nil
		case res.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline):
			return fmt.Errorf("placing the first order: %s %s", res.Status, body)
		}
		time.Sleep(100 * time.Millisecond) // 503: it is still starting
	}
}

// audit compares the books with what was answered.
func (s *stack) audit(ctx context.Context, out io.Writer) error {
	var orders, keys, wrong int
	err := s.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM idempotency_keys WHERE status = 201),
		(SELECT count(*) FROM stock_ledger WHERE initial <> available + sold)`).Scan(&orders, &keys, &wrong)
	if err != nil {
		return fmt.Errorf("checking the books: %w", err)
	}
	if wrong > 0 || orders != keys || orders != s.accepted {
		return fmt.Errorf("the books are wrong: %d products with stock lost or invented; %d orders, %d keys, %d accepted",
			wrong, orders, keys, s.accepted)
	}
	fmt.Fprintf(out, "\nThe books hold: %d orders accepted, stored and keyed once each; stock_ledger is right for every product.\n", orders)
	return nil
}
