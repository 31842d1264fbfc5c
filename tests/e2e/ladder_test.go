package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/tests/kit"
)

// ladder is a service of two processes with an operator.
type ladder struct {
	matrix
	hosts []contract // the first one is told of switches, the second one follows
}

func newLadder(t *testing.T) *ladder {
	t.Helper()
	w := newWorld(t)
	l := &ladder{hosts: []contract{readContract(t, w.start(t, w.AppURL, host.Limits{})), readContract(t, w.start(t, w.AppURL, host.Limits{}))}}
	l.matrix = matrix{contract: l.hosts[0], customer: "ada-" + kit.Unique(t), product: w.Product(t, 10_000).String()}
	var err error
	l.ada, err = w.issuer.Token(l.customer, strings.Join(scopes, " "), "admin")
	require.NoError(t, err)
	return l
}

// turn turns a switch as an operator does, and waits until the second process has heard of it, as its metrics show.
func (l *ladder) turn(t *testing.T, name string, on bool) {
	t.Helper()
	got := l.hosts[0].do(t, http.StatusOK, call{
		method: http.MethodPut, path: "/api/v1/ops/switches/" + name, token: l.ada, key: uuid.NewString(), body: map[string]any{"on": on},
	})
	assert.Equal(t, l.customer, member(t, got, "changedBy"))
	value := map[bool]string{true: "1", false: "0"}[on]
	for _, h := range l.hosts {
		require.Eventually(t, func() bool {
			page, err := h.send(t.Context(), call{method: http.MethodGet, path: "/metrics"})
			return err == nil && strings.Contains(string(page.body), fmt.Sprintf("switch_on{switch=%q} %s\n", name, value))
		}, 20*time.Second, 50*time.Millisecond, "the gauge of %s does not become %s", name, value)
	}
}

// refuses wants both processes to refuse a call in the words of a switch, before they look at it.
func (l *ladder) refuses(t *testing.T, c call, kind string) {
	t.Helper()
	if c.token == "" {
		c.token = l.ada
	}
	for _, h := range l.hosts {
		got := h.do(t, http.StatusServiceUnavailable, c)
		assert.True(t, strings.HasSuffix(member(t, got, "type"), kind), "%s %s: %s", c.method, c.path, got.body)
		assert.Regexp(t, `^([1-9]|1[0-5])$`, got.header.Get("Retry-After"))
	}
}

// serves wants both processes to answer a read.
func (l *ladder) serves(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		for _, h := range l.hosts {
			h.do(t, http.StatusOK, call{method: http.MethodGet, path: path, token: l.ada})
		}
	}
}

// graphql asks the second process, and returns the answer with the codes of its errors.
func (l *ladder) graphql(t *testing.T, key, text string, variables map[string]any) (reply, []string) {
	t.Helper()
	got, err := l.hosts[1].send(t.Context(), call{
		method: http.MethodPost, path: "/graphql", token: l.ada, key: key, body: map[string]any{"query": text, "variables": variables},
	})
	require.NoError(t, err)
	var answer struct {
		Errors []struct{ Extensions map[string]any }
	}
	require.NoError(t, json.Unmarshal(got.body, &answer), "%s", got.body)
	var codes []string
	for _, e := range answer.Errors {
		codes = append(codes, e.Extensions["code"].(string))
		assert.NotEmpty(t, e.Extensions["retryAfter"], "%s", got.body)
	}
	return got, codes
}

func (l *ladder) place(key string) call {
	return call{method: http.MethodPost, path: "/api/v1/orders", token: l.ada, key: key, body: draft(l.customer, map[string]int{l.product: 1})}
}

const (
	addToCart = `mutation($product: ID!) { addToCart(input: {productId: $product, quantity: 1, sessionId: "visit"}) { id } }`
	listAll   = `{ products(first: 5) { nodes { id } } myOrders(first: 5) { nodes { id } } }`
	search    = `{ products(first: 5, filter: {search: "thing"}) { nodes { id } } }`
)

const placeByGraphQL = `mutation($product: ID!) { createOrder(input: {lines: [{productId: $product, quantity: 1}],
	shippingAddress: {name: "Ada", line1: "1 Main St", city: "Austin", postalCode: "73301", country: "US"}}) { order { id } orderRequest { status } userErrors { code } } }`

// Each rung of the ladder that is turned by hand: what it refuses, over REST and GraphQL and in every process, what goes on,
// and that it is as before when it is turned back.
func TestLadderSearchOff(t *testing.T) {
	t.Parallel()
	l := newLadder(t)
	searches := []string{"/api/v1/products?search=thing", "/api/v1/products?category=Things&search=thing&pageSize=5"}
	l.serves(t, searches...)
	_, codes := l.graphql(t, "", search, nil)
	require.Empty(t, codes)

	l.turn(t, "search-off", true)
	for _, path := range searches {
		l.refuses(t, call{method: http.MethodGet, path: path}, "#temporary-reduced-capacity")
	}
	_, codes = l.graphql(t, "", search, nil)
	assert.Equal(t, []string{"TEMPORARY_REDUCED_CAPACITY"}, codes)
	l.serves(t, "/api/v1/products", "/api/v1/products?category=Things", "/api/v1/products?search=%20", "/api/v1/products/"+l.product, "/api/v1/orders")
	_, codes = l.graphql(t, "", listAll, nil)
	assert.Empty(t, codes)
	for _, h := range l.hosts {
		h.do(t, http.StatusCreated, l.place(uuid.NewString()))
	}

	l.turn(t, "search-off", false)
	l.serves(t, searches...)
	_, codes = l.graphql(t, "", search, nil)
	assert.Empty(t, codes)
}

func TestLadderNoBrowsing(t *testing.T) {
	t.Parallel()
	l := newLadder(t)
	cart := l.as(t, l.ada, rights["create-cart"].ask(t, &l.matrix, l.customer).call, http.StatusCreated).header.Get("Location")
	reads := []string{"/api/v1/products", "/api/v1/products/" + l.product, "/api/v1/orders", cart}
	l.serves(t, reads...)
	variables := map[string]any{"product": l.product}

	l.turn(t, "shed-browse", true)
	for _, path := range reads {
		l.refuses(t, call{method: http.MethodGet, path: path}, "#temporary-reduced-capacity")
	}
	got, err := l.hosts[1].send(t.Context(), call{method: http.MethodPost, path: "/graphql", token: l.ada, body: map[string]any{"query": listAll}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, got.status, "%s", got.body)
	for _, h := range l.hosts {
		h.do(t, http.StatusCreated, l.place(uuid.NewString()))
	}
	_, codes := l.graphql(t, uuid.NewString(), addToCart, variables)
	assert.Empty(t, codes)

	l.turn(t, "shed-browse", false)
	l.serves(t, reads...)
	_, codes = l.graphql(t, "", listAll, nil)
	assert.Empty(t, codes)
}

func TestLadderOrdersQueued(t *testing.T) {
	t.Parallel()
	l := newLadder(t)
	l.turn(t, "async-orders", true)
	var asked []call
	for _, h := range l.hosts {
		asked = append(asked, l.place(uuid.NewString()))
		accepted := h.do(t, http.StatusAccepted, asked[len(asked)-1])
		require.Eventually(t, func() bool {
			return member(t, h.do(t, http.StatusOK, call{method: http.MethodGet, path: accepted.header.Get("Location"), token: l.ada}), "status") == "placed"
		}, 20*time.Second, 50*time.Millisecond)
	}
	got, codes := l.graphql(t, uuid.NewString(), placeByGraphQL, map[string]any{"product": l.product})
	assert.Empty(t, codes)
	assert.Contains(t, string(got.body), `"orderRequest":{"status":"queued"}`)
	l.serves(t, "/api/v1/orders", "/api/v1/products")

	l.turn(t, "async-orders", false)
	for i, h := range l.hosts {
		h.do(t, http.StatusCreated, l.place(uuid.NewString()))
		again := h.do(t, http.StatusCreated, asked[i])
		assert.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	}
}

func TestLadderCartsReadOnly(t *testing.T) {
	t.Parallel()
	l := newLadder(t)
	var writes []call
	for _, id := range []string{"create-cart", "set-cart-item", "remove-cart-item"} {
		c := rights[id].ask(t, &l.matrix, l.customer).call
		c.key = uuid.NewString()
		writes = append(writes, c)
	}
	cart := strings.TrimSuffix(writes[1].path, "/items")
	before := l.look(t, request{shown: cart})
	variables := map[string]any{"product": l.product}

	l.turn(t, "carts-read-only", true)
	for _, c := range writes {
		l.refuses(t, c, "/dependency-unavailable")
	}
	_, codes := l.graphql(t, uuid.NewString(), addToCart, variables)
	assert.Equal(t, []string{"DEPENDENCY_UNAVAILABLE"}, codes)
	l.serves(t, cart, "/api/v1/products?search=thing")
	assert.Equal(t, before, l.look(t, request{shown: cart}), "nothing was done")
	for _, h := range l.hosts {
		h.do(t, http.StatusCreated, l.place(uuid.NewString()))
	}
	got, codes := l.graphql(t, uuid.NewString(), placeByGraphQL, variables)
	assert.Empty(t, codes, "orders go on: %s", got.body)

	l.turn(t, "carts-read-only", false)
	for i, status := range []int{http.StatusCreated, http.StatusOK, http.StatusOK} {
		writes[i].token = l.ada
		got := l.hosts[1].do(t, status, writes[i])
		assert.Empty(t, got.header.Get("Idempotent-Replayed"), "a refused request has not used its key")
	}
	_, codes = l.graphql(t, uuid.NewString(), addToCart, variables)
	assert.Empty(t, codes)
}

func TestLadderReadOnly(t *testing.T) {
	t.Parallel()
	l := newLadder(t)
	var reads, writes []request
	for id, line := range rights {
		r := line.ask(t, &l.matrix, l.customer)
		l.is(t, id, r)
		if strings.HasPrefix(r.path, "/api/v1/ops/") {
			continue
		}
		if r.token = l.ada; r.method == http.MethodGet {
			reads = append(reads, r)
			continue
		}
		r.key = uuid.NewString()
		writes = append(writes, r)
	}
	require.Greater(t, len(writes), 12, "every write that there is")
	done := l.place(uuid.NewString()) // before it is turned
	first := l.hosts[0].do(t, http.StatusCreated, done)
	queued := l.place(uuid.NewString())
	queued.prefer = "respond-async"
	accepted := l.hosts[0].do(t, http.StatusAccepted, queued)
	variables := map[string]any{"product": l.product}

	l.turn(t, "read-only", true)
	require.Eventually(t, func() bool { // what was promised is kept, whatever is turned
		return member(t, l.hosts[1].do(t, http.StatusOK, call{method: http.MethodGet, path: accepted.header.Get("Location"), token: l.ada}), "status") == "placed"
	}, 20*time.Second, 50*time.Millisecond)
	count := func() (n []int) {
		for _, table := range []string{"orders", "carts", "cart_items", "webhook_endpoints", "audit_log", "outbox", "order_requests"} {
			n = append(n, kit.One[int](t, l.world.Database, `SELECT count(*)::int FROM `+table))
		}
		return append(n, kit.One[int](t, l.world.Database, `SELECT sum(available)::int FROM inventory`))
	}
	before := count()
	for _, r := range writes {
		l.refuses(t, r.call, "/dependency-unavailable")
	}
	l.refuses(t, done, "/dependency-unavailable")
	for _, text := range []string{addToCart, placeByGraphQL} {
		got, err := l.hosts[1].send(t.Context(), call{
			method: http.MethodPost, path: "/graphql", token: l.ada, key: uuid.NewString(), body: map[string]any{"query": text, "variables": variables},
		})
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, got.status, "%s", got.body)
		assert.NotEmpty(t, got.header.Get("Retry-After"))
	}
	assert.Equal(t, before, count(), "nothing was done")
	for _, r := range reads {
		for _, h := range l.hosts {
			h.do(t, http.StatusOK, r.call)
		}
	}
	_, codes := l.graphql(t, "", listAll, nil)
	assert.Empty(t, codes)
	// A process that starts now is read-only from its first request on.
	late := readContract(t, l.world.start(t, l.world.AppURL, host.Limits{}))
	late.do(t, http.StatusServiceUnavailable, l.place(uuid.NewString()))
	// Operators go on: with other switches, with dead letters, with what is parked.
	l.turn(t, "search-off", true)
	l.turn(t, "search-off", false)
	l.as(t, l.ada, rights["redrive-dead-letter"].ask(t, &l.matrix, l.customer).call, http.StatusNotFound)

	l.turn(t, "read-only", false)
	again := l.hosts[1].do(t, http.StatusCreated, done)
	assert.Equal(t, string(first.body), string(again.body), "its answer was kept")
	assert.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	for _, r := range writes {
		got, err := l.hosts[1].send(t.Context(), r.call)
		require.NoError(t, err)
		assert.Less(t, got.status, 300, "%s %s: %s", r.method, r.path, got.body)
		assert.Empty(t, got.header.Get("Idempotent-Replayed"), "a refused request has not used its key")
	}
	_, codes = l.graphql(t, uuid.NewString(), addToCart, variables)
	assert.Empty(t, codes)
}

// The first rung comes by itself: while PostgreSQL is away what was read before is shown as it was, also when it is too old to
// be believed otherwise.
func TestLadderTheCatalogIsShownFromTheCache(t *testing.T) {
	t.Parallel()
	redisURL := kit.NewRedis(t)
	w := newWorld(t)
	wire := kit.NewWire(t, w.AppURL)
	c := readContract(t, w.start(t, wire.URL, host.Limits{}, "REDIS_URL="+redisURL))
	product, token := w.Product(t, 10).String(), w.token(t, "customer-"+kit.Unique(t))
	unread := w.Product(t, 10).String()
	read := func(want int, path string) reply {
		return c.do(t, want, call{method: http.MethodGet, path: path, token: token})
	}
	stale := func(name string) bool {
		page, err := c.send(t.Context(), call{method: http.MethodGet, path: "/metrics"})
		require.NoError(t, err)
		return regexp.MustCompile(`cache_stale_answers_total\{cache="` + name + `"\} [1-9]`).Match(page.body)
	}
	list, one := read(http.StatusOK, "/api/v1/products"), read(http.StatusOK, "/api/v1/products/"+product)
	wire.Cut()
	for end := time.Now().Add(time.Minute); !stale("products"); time.Sleep(200 * time.Millisecond) { // a list is believed for ten seconds
		require.True(t, time.Now().Before(end), "nothing is shown in place of what can't be read")
		require.Equal(t, string(list.body), string(read(http.StatusOK, "/api/v1/products").body))
	}
	// A product would be believed for a minute, but not once its process may have missed that it was changed, nor when Redis
	// has lost it.
	client, err := sharedredis.Open(redisURL)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	require.NoError(t, client.FlushDB(t.Context()).Err())
	require.NoError(t, client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
	for end := time.Now().Add(time.Minute); !stale("product"); time.Sleep(200 * time.Millisecond) { // until the process has noticed
		require.True(t, time.Now().Before(end), "nothing is shown in place of what can't be read")
		require.Equal(t, string(one.body), string(read(http.StatusOK, "/api/v1/products/"+product).body))
	}
	got := read(http.StatusServiceUnavailable, "/api/v1/products/"+unread)
	assert.NotEmpty(t, got.header.Get("Retry-After"))
	wire.Mend()
	require.Eventually(t, func() bool {
		got, err := c.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/products/" + unread, token: token})
		return err == nil && got.status == http.StatusOK
	}, 20*time.Second, 100*time.Millisecond)
}
