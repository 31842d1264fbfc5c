package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/history"
	"github.com/company/order-catalog-service/tests/kit"
)

const (
	shelf      = 4               // products that are for sale at a time to the usual number of clients
	units      = 60              // of each, in the beginning
	turnover   = 4 * time.Second // until other products are for sale: a product's history stays short enough to be proved
	impatience = 4 * time.Second // of a client, with one attempt
)

// shop is what the clients share: what is for sale.
type shop struct {
	s     *stack
	shelf int // products for sale at a time
	log   *history.Log
	mu    sync.Mutex
	sale  []string
	since time.Time
}

// products are those for sale now. Whoever finds them too old puts new ones on the shelf.
func (p *shop) products(ctx context.Context) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sale) > 0 && time.Since(p.since) < turnover {
		return p.sale
	}
	stock := map[string]int{}
	var fresh []string
	for range p.shelf {
		id := uuid.Must(uuid.NewV7()).String()
		fresh, stock[id] = append(fresh, id), units
	}
	if err := p.stock(ctx, fresh); err != nil {
		return p.sale // the database is away just now
	}
	p.log.Products(stock)
	p.sale, p.since = fresh, time.Now()
	return p.sale
}

// stock puts products into the database, behind the service's back. They are there whole or not at all: an error after
// the commit leaves products that nobody buys.
func (p *shop) stock(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	db, err := p.s.database(ctx)
	if err != nil {
		return err
	}
	defer db.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the statement below says whether it worked
	_, err = db.Exec(ctx, `WITH made AS (
	INSERT INTO products (id, sku, name, category, price_minor, currency) SELECT id, id::text, 'Thing', 'Things', 1999, 'USD' FROM unnest($1::uuid[]) id RETURNING id)
INSERT INTO inventory (product_id, initial, available) SELECT id, $2, $2 FROM made`, ids, units)
	return err
}

// client is one customer, who is an admin too.
type client struct {
	shop   *shop
	number int
	name   string
	random *rand.Rand
	http   *http.Client
	cart   string
	orders []string          // to be cancelled
	known  []history.Attempt // that were answered, to be asked for again
	asked  []request         // and how

	mu      sync.Mutex
	token   string
	renewed time.Time // when the token was issued
}

// bearer is the client's token, renewed long before its quarter of an hour is over.
func (c *client) bearer() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.renewed) < 5*time.Minute {
		return c.token, nil
	}
	token, err := c.shop.s.issuer.Token(c.name, kit.Everything+" catalog:write webhook:manage", "admin")
	if err == nil {
		c.token, c.renewed = token, time.Now()
	}
	return token, err
}

// authorize puts the client's token into a request.
func (c *client) authorize(r *http.Request) error {
	token, err := c.bearer()
	r.Header.Set("Authorization", "Bearer "+token)
	return err
}

// request is what a key stands for.
type request struct {
	method, path string
	body         any
	header       http.Header
}

func newClient(t *testing.T, p *shop, number int, seed uint64) *client {
	t.Helper()
	c := &client{
		shop: p, number: number, name: fmt.Sprintf("customer-%d", number),
		random: rand.New(rand.NewPCG(seed, uint64(number)+100)),
		http:   &http.Client{Timeout: impatience, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}, // of its own
	}
	_, err := c.bearer()
	require.NoError(t, err)
	return c
}

// use is what a client does until ctx ends. Then it has settled what it asked for, or has tried for long.
func (c *client) use(ctx context.Context, t *testing.T) {
	t.Helper()
	for ctx.Err() == nil {
		sale := c.shop.products(ctx)
		if len(sale) == 0 {
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		switch n := c.random.IntN(100); {
		case n < 55:
			c.place(ctx, sale)
		case n < 70 && len(c.orders) > 0:
			i := c.random.IntN(len(c.orders))
			order := c.orders[i]
			c.orders = append(c.orders[:i], c.orders[i+1:]...)
			c.change(ctx, history.Attempt{Op: history.Cancel, Of: order},
				request{method: http.MethodPatch, path: "/api/v1/orders/" + order + "/cancel", body: map[string]string{"reason": "chaos"}})
		case n < 76:
			product := sale[c.random.IntN(len(sale))]
			more := 1 + c.random.IntN(8)
			c.change(ctx, history.Attempt{Op: history.Stock, Of: product, Lines: []history.Line{{Product: product, Quantity: more}}},
				request{method: http.MethodPost, path: "/api/v1/products/" + product + "/stock-adjustments", body: map[string]any{"delta": more, "reason": "chaos"}})
		case n < 80:
			product := sale[c.random.IntN(len(sale))]
			c.change(ctx, history.Attempt{Op: history.Price, Of: product}, request{
				method: http.MethodPatch, path: "/api/v1/products/" + product, header: http.Header{"If-Match": {"*"}},
				body: map[string]any{"price": map[string]string{"amount": fmt.Sprintf("%d.99", 10+c.random.IntN(20)), "currency": "USD"}},
			})
		case n < 90:
			c.setCart(ctx, sale)
		case len(c.known) > 0:
			i := c.random.IntN(len(c.known))
			again := c.known[i]
			again.Probe = true
			c.attempt(ctx, again, c.asked[i])
		}
	}
	assert.NotEmpty(t, c.known, "client %d was never answered", c.number)
}

func (c *client) place(ctx context.Context, sale []string) {
	key := c.key()
	var lines []history.Line
	var body []map[string]any
	for _, i := range c.random.Perm(len(sale))[:1+c.random.IntN(2)] {
		l := history.Line{Product: sale[i], Quantity: 1 + c.random.IntN(5)}
		lines = append(lines, l)
		body = append(body, map[string]any{"productId": l.Product, "quantity": l.Quantity})
	}
	got := c.insist(ctx, history.Attempt{Op: history.Place, Key: key, Lines: lines}, request{
		method: http.MethodPost, path: "/api/v1/orders",
		body: map[string]any{
			"customerId": c.name, "lines": body,
			"shippingAddress": map[string]any{"name": "Ada Lovelace", "line1": "1 Main Street", "line2": key, "city": "Austin", "postalCode": "73301", "country": "US"},
		},
	})
	if got.Made != "" {
		c.orders = append(c.orders, got.Made)
		c.orders = c.orders[max(0, len(c.orders)-20):]
	}
}

// setCart sets how many of a product are in the client's cart, which it makes first.
func (c *client) setCart(ctx context.Context, sale []string) {
	if c.cart == "" {
		got := c.insist(ctx, history.Attempt{Op: "new cart", Key: c.key()}, request{method: http.MethodPost, path: "/api/v1/carts", body: map[string]string{"sessionId": c.name}})
		if c.cart = got.Made; c.cart == "" {
			return
		}
	}
	l := history.Line{Product: sale[c.random.IntN(len(sale))], Quantity: 1 + c.random.IntN(9)}
	c.change(ctx, history.Attempt{Op: history.SetCart, Of: c.cart, Lines: []history.Line{l}}, request{
		method: http.MethodPut, path: "/api/v1/carts/" + c.cart + "/items", body: map[string]any{"productId": l.Product, "quantity": l.Quantity},
	})
}

func (c *client) change(ctx context.Context, a history.Attempt, r request) {
	a.Key = c.key()
	c.insist(ctx, a, r)
}

func (c *client) key() string { return fmt.Sprintf("c%d-%s", c.number, uuid.NewString()) }

// insist asks until it is settled what became of a key, as clients are told to. When the run is over it goes on for a while:
// what is open at the end proves less.
func (c *client) insist(ctx context.Context, a history.Attempt, r request) history.Attempt {
	for give := time.Now().Add(2 * time.Minute); ; {
		got := c.attempt(context.WithoutCancel(ctx), a, r)
		if got.Final() {
			if len(c.known) < 200 {
				c.known, c.asked = append(c.known, got), append(c.asked, r)
			} else {
				i := c.random.IntN(len(c.known))
				c.known[i], c.asked[i] = got, r
			}
			return got
		}
		if time.Now().After(give) {
			return got
		}
		time.Sleep(20*time.Millisecond + time.Duration(rand.Int64N(int64(200*time.Millisecond)))) // full jitter
	}
}

// attempt asks one of the hosts once, and writes down what came.
func (c *client) attempt(ctx context.Context, a history.Attempt, r request) history.Attempt {
	a.Client, a.Begin = c.number, c.shop.log.Now()
	a.Status, a.Error, a.Digest, a.Problem, a.Made, a.Short, a.Replayed = 0, "", "", "", "", nil, false
	res, body, err := c.send(ctx, a.Key, r)
	a.End = c.shop.log.Now()
	if err != nil {
		a.Error = err.Error()
		c.shop.log.Add(a)
		return a
	}
	sum := sha256.Sum256(body)
	a.Status, a.Digest, a.Replayed = res.StatusCode, hex.EncodeToString(sum[:6]), res.Header.Get("Idempotent-Replayed") == "true"
	var doc struct {
		ID, Type string
		Products []struct {
			ProductID string
			Available int
		}
	}
	if json.Unmarshal(body, &doc) == nil {
		if a.Status == http.StatusCreated {
			a.Made = doc.ID
		}
		a.Problem = doc.Type[strings.LastIndexAny(doc.Type, "/#")+1:]
		for _, p := range doc.Products {
			a.Short = append(a.Short, history.Short{Product: p.ProductID, Available: p.Available})
		}
	}
	c.shop.log.Add(a)
	return a
}

func (c *client) send(ctx context.Context, key string, r request) (*http.Response, []byte, error) {
	raw, err := json.Marshal(r.body)
	if err != nil {
		return nil, nil, err
	}
	n := c.shop.s.hosts[c.random.IntN(hosts)]
	req, err := http.NewRequestWithContext(ctx, r.method, fmt.Sprintf("http://127.0.0.1:%d%s", n.port, r.path), bytes.NewReader(raw))
	if err != nil {
		return nil, nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	if err := c.authorize(req); err != nil {
		return nil, nil, err
	}
	req.Header.Set("Idempotency-Key", key)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, body, err
}
