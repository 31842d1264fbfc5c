package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/load/wire"
)

// idleWorker is a worker without a connection, and one customer whose number has digits of all kinds.
func idleWorker(t *testing.T) *worker {
	t.Helper()
	c := &customers{count: 43, tokens: make([][]byte, 43)}
	for i := range c.tokens {
		c.tokens[i] = []byte("token-of-" + string(appendCustomer(nil, i)))
	}
	return &worker{target: target{run: "run", customers: c, books: &books{}}, rand: rand.New(rand.NewPCG(1, 2)), popular: rand.NewZipf(rand.New(rand.NewPCG(1, 2)), skew, 10, mixedProducts-1)}
}

// sent reads the worker's request as a server does.
func sent(t *testing.T, w *worker) (*http.Request, map[string]any) {
	t.Helper()
	lines := bufio.NewReader(bytes.NewReader(w.request))
	r, err := http.ReadRequest(lines)
	require.NoError(t, err, "%s", w.request)
	raw, err := io.ReadAll(r.Body)
	require.NoError(t, err, "%s", w.request)
	_, err = lines.ReadByte()
	require.ErrorIs(t, err, io.EOF, "more was sent than its Content-Length says: %s", w.request)
	var body map[string]any
	if len(raw) > 0 {
		require.NoError(t, json.Unmarshal(raw, &body), "%s", raw)
	}
	return r, body
}

func TestOrdersAreWholeRequestsOfTheirCustomer(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	keys := map[string]bool{}
	for _, products := range [][]int{{1}, {7, 107}, {201}} {
		w.placeOrder(products...)
		r, body := sent(t, w)
		assert.Equal(t, "POST /api/v1/orders", r.Method+" "+r.URL.Path)
		assert.Equal(t, "Bearer token-of-"+body["customerId"].(string), r.Header.Get("Authorization"))
		keys[r.Header.Get("Idempotency-Key")] = true
		require.Len(t, body["lines"], len(products))
		for i, product := range products {
			assert.Equal(t, map[string]any{"productId": productID(product), "quantity": 1.0}, body["lines"].([]any)[i])
		}
	}
	assert.Len(t, keys, 3)
	assert.Equal(t, "customer-00000042", string(appendCustomer(nil, 42)))
	assert.Len(t, appendCustomer(nil, 42), customerLength)
}

func TestARequestIsInATraceOfItsOwnWhereTheGatewaysWouldBe(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	w.placeOrder(1)
	r, _ := sent(t, w)
	assert.Empty(t, r.Header.Values("Traceparent"))
	w.traced = true
	traces := map[string]bool{}
	for range 10 {
		w.placeOrder(1)
		r, _ := sent(t, w)
		require.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-00$", r.Header.Get("Traceparent"))
		traces[r.Header.Get("Traceparent")[3:35]] = true
	}
	assert.Len(t, traces, 10)
}

func TestTheMixedRunHasTheFleetsProfile(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	made := uuid.NewString()
	const requests = 20_000
	var counts [kinds]int
	popular := 0
	for range requests {
		mixed(w)
		counts[w.kind]++
		if w.kind == readProduct && bytes.Contains(w.request, []byte(productID(1))) {
			popular++
		}
		r, _ := sent(t, w)
		assert.Equal(t, w.kind == placeOrder || w.kind == repeatOrder || w.kind == createCart || w.kind == setItem, r.Header.Get("Idempotency-Key") != "", w.kind)
		require.Equal(t, good, w.judge(wire.Response{Status: wanted[w.kind], Body: []byte(`{"id":"` + made + `"}`)}))
	}
	share := func(of ...kind) (percent float64) {
		for _, k := range of {
			percent += 100 * float64(counts[k]) / requests
		}
		return percent
	}
	assert.InDelta(t, 80, share(readProduct, listProducts, searchProducts), 1.5)
	assert.InDelta(t, 10, share(createCart, setItem, readCart), 1)
	assert.InDelta(t, 10, share(placeOrder, repeatOrder), 1)
	assert.InDelta(t, 0.5, 100*share(repeatOrder)/share(placeOrder, repeatOrder), 0.35)
	assert.Greater(t, popular, 3*counts[readProduct]/mixedProducts, "some products are read far more often than others")
	w.readCart()
	assert.Contains(t, string(w.request), "/api/v1/carts/"+made+" ")
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	answer := func(status int, body string) verdict {
		w.placeOrder(1)
		return w.judge(wire.Response{Status: status, Body: []byte(body)})
	}
	assert.Equal(t, good, answer(201, `{"id":"1"}`))
	assert.Equal(t, shed, answer(503, `{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"}`))
	assert.Equal(t, limited, answer(429, ``))
	assert.Equal(t, failed, answer(409, ``))
	assert.Empty(t, w.books.unsure, "what was refused has had no effect")
	assert.Equal(t, failed, answer(503, `{"type":"dependency-unavailable"}`))
	assert.Equal(t, failed, answer(500, ``))
	assert.Len(t, w.books.unsure, 2, "what these did is open")
	assert.EqualValues(t, 1, w.books.accepted.Load())
	assert.EqualValues(t, 1, w.books.lines.Load())
}

func TestASecondAnswerThatDiffersIsASecondEffect(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	w.placeOrder(1, 101)
	first := string(w.request)
	require.Equal(t, good, w.judge(wire.Response{Status: 201, Body: []byte(`{"id":"a"}`)}))
	w.repeatOrder()
	assert.Equal(t, first, string(w.request))
	w.judge(wire.Response{Status: 201, Body: []byte(`{"id":"a"}`)})
	assert.Empty(t, w.books.wrong)
	assert.EqualValues(t, 1, w.books.accepted.Load(), "a repeat is no second order")
	w.judge(wire.Response{Status: 201, Body: []byte(`{"id":"b"}`)})
	require.Len(t, w.books.wrong, 1)
	assert.Contains(t, w.books.wrong[0], "run-1 was answered differently")
}

func TestCacheCountersAreSummed(t *testing.T) {
	t.Parallel()
	hits, misses, err := sumCounters(strings.NewReader("# HELP redis_cache_hits_total x\nredis_cache_hits_total{cache=\"product\",level=\"memory\"} 90\n" +
		"redis_cache_hits_total{cache=\"list\",level=\"redis\"} 5 1700000000\nredis_cache_misses_total{cache=\"product\"} 4\nredis_cache_hit_rate{cache=\"product\"} 0.9\n"))
	require.NoError(t, err)
	assert.InDelta(t, 95, hits, 0)
	assert.InDelta(t, 4, misses, 0)
	_, _, err = sumCounters(strings.NewReader("redis_cache_hits_total{cache=\"product\"} many\n"))
	assert.Error(t, err)
}

func TestRedisBenchmarkIsRead(t *testing.T) {
	t.Parallel()
	rows, err := readRedis("\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n" +
		"\"SET\",\"53405.00\",\"0.9\",\"0.1\",\"0.815\",\"1.5\",\"2.239\",\"9\"\n")
	require.NoError(t, err)
	assert.Equal(t, []redisRow{{"SET", 53405, 0.815, 1.5, 2.239}}, rows)
	for _, bad := range []string{"", "\"test\",\"rps\"\n\"SET\",\"1\"\n", "no table"} {
		_, err := readRedis(bad)
		assert.Error(t, err, bad)
	}
}
