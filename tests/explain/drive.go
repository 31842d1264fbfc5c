package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// timers is how long a round lasts at least, so that each of the service's timers but housekeeping comes in it.
const timers = 12 * time.Second

// visits is a round: visits of n each, until the timers have come.
func (s *stack) visits(ctx context.Context, n int) error {
	for began := time.Now(); time.Since(began) < timers; {
		if err := s.visit(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// visit has all clients go through the shop n times, and waits until what they did is out: sent, numbered, delivered.
func (s *stack) visit(ctx context.Context, n int) error {
	group, within := errgroup.WithContext(ctx)
	for i := range s.clients {
		group.Go(func() error {
			b, err := s.buyer(i)
			for range n {
				if err == nil {
					err = b.visit(within)
				}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		var left int
		err := s.admin.QueryRow(ctx, `SELECT (SELECT count(*) FROM outbox WHERE processed_at IS NULL) + (SELECT count(*) FROM outbox_sent)
			+ (SELECT count(*) FROM webhook_deliveries WHERE status = 'pending')`).Scan(&left)
		if err != nil || left == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d events or deliveries are still not out after a minute", left)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// register has the service tell the receiver of every event.
func (s *stack) register(ctx context.Context) error {
	token, err := s.tokens.Token("shop", "webhook:manage", "admin")
	if err != nil {
		return err
	}
	b := &buyer{stack: s, token: token}
	_, err = b.ask(ctx, http.MethodPost, "/api/v1/webhooks/register", http.StatusCreated, map[string]any{"url": s.heard, "events": []string{"*"}})
	return err
}

// buyer is a customer with a token.
type buyer struct {
	*stack
	name, token string
	admin       *buyer // who confirms
}

func (s *stack) buyer(n int) (*buyer, error) {
	name := fmt.Sprintf("buyer-%d", n)
	token, err := s.tokens.Token(name, "catalog:read order:read order:write order:cancel")
	if err != nil {
		return nil, err
	}
	shop, err := s.tokens.Token("shop", "order:write webhook:manage", "admin")
	return &buyer{stack: s, name: name, token: token, admin: &buyer{stack: s, token: shop}}, err
}

func (b *buyer) product() string {
	return fmt.Sprintf("018cc251-f400-7000-8000-%012x", 1+rand.IntN(b.products)) //nolint:gosec // which product is nobody's secret
}

// visit looks around, fills a cart, orders, looks at orders, and now and then changes its mind.
func (b *buyer) visit(ctx context.Context) error {
	category := rand.IntN(40)     //nolint:gosec // as above
	word := rand.IntN(b.products) //nolint:gosec // as above
	wants := []map[string]any{{"productId": b.product(), "quantity": 1}, {"productId": b.product(), "quantity": 2}}
	var cart, order string
	for _, step := range []struct {
		method, path string
		want         int
		body         any
		to           *string // where Location goes
	}{
		{http.MethodGet, "/api/v1/products/" + b.product(), 200, nil, nil},
		{http.MethodGet, fmt.Sprintf("/api/v1/products?pageSize=%d", 20+rand.IntN(20)), 200, nil, nil},                             //nolint:gosec // as above
		{http.MethodGet, fmt.Sprintf("/api/v1/products?category=Category%%20%d&page=%d", category, 1+rand.IntN(5)), 200, nil, nil}, //nolint:gosec // as above
		{http.MethodGet, fmt.Sprintf("/api/v1/products?search=running+%d", word), 200, nil, nil},
		{http.MethodGet, fmt.Sprintf("/api/v1/products?search=hiking+jacket&page=%d", 1+rand.IntN(5)), 200, nil, nil}, //nolint:gosec // as above
		{http.MethodPost, "/api/v1/carts", 201, map[string]any{"sessionId": b.name}, &cart},
		{http.MethodPut, "%cart/items", 200, wants[0], nil},
		{http.MethodPut, "%cart/items", 200, wants[1], nil},
		{http.MethodGet, "%cart", 200, nil, nil},
		{http.MethodPost, "/api/v1/orders", 201, map[string]any{
			"customerId": b.name, "lines": wants,
			"shippingAddress": map[string]string{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
		}, &order},
		{http.MethodGet, "%order", 200, nil, nil},
		{http.MethodGet, "/api/v1/orders?pageSize=20", 200, nil, nil},
	} {
		path := step.path
		switch {
		case len(path) > 5 && path[:5] == "%cart", path == "%cart":
			path = cart + path[5:]
		case path == "%order":
			path = order
		}
		location, err := b.ask(ctx, step.method, path, step.want, step.body)
		if err != nil {
			return err
		}
		if step.to != nil {
			*step.to = location
		}
	}
	switch rand.IntN(3) { //nolint:gosec // as above
	case 0:
		_, err := b.ask(ctx, http.MethodPatch, order+"/cancel", 200, map[string]string{"reason": "changed my mind"})
		return err
	case 1:
		_, err := b.admin.ask(ctx, http.MethodPost, order+"/confirm", 200, map[string]string{})
		return err
	}
	_, err := b.admin.ask(ctx, http.MethodGet, "/api/v1/events", 200, nil)
	return err
}

// ask sends one request and wants one status.
func (b *buyer) ask(ctx context.Context, method, path string, want int, body any) (location string, err error) {
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return "", fmt.Errorf("encoding a request: %w", err)
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, in) //nolint:gosec // the stack that we started
	if err != nil {
		return "", fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", uuid.NewString())
	}
	res, err := http.DefaultClient.Do(req) //nolint:gosec // as above
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, path, err)
	}
	answer, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return "", fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode != want {
		return "", fmt.Errorf("%s %s: %s %s", method, path, res.Status, answer)
	}
	return res.Header.Get("Location"), nil
}

// execute runs statements one by one.
func execute(ctx context.Context, db *pgx.Conn, statements ...string) error {
	for _, sql := range statements {
		if _, err := db.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}
