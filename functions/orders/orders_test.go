package orders_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// shop is the orders slice as one process runs it.
type shop struct {
	*kit.API
	orders  *orders.Orders
	changes chan map[uuid.UUID]int64
	sent    chan servicebus.Message // to the queue of order requests
	poison  chan servicebus.Received
	sending func() error // what the broker does
}

func open(t testing.TB) *shop {
	t.Helper()
	return on(t, kit.NewAPI(t))
}

func on(t testing.TB, api *kit.API, change ...func(*orders.Options)) *shop {
	t.Helper()
	s := &shop{
		API: api, changes: make(chan map[uuid.UUID]int64, 1000),
		sent: make(chan servicebus.Message, 1000), poison: make(chan servicebus.Received, 10), sending: func() error { return nil },
	}
	options := orders.Options{
		API: api.REST, Pools: api.Pools, Keys: api.Keys, Cursors: api.Cursors,
		AvailabilityChanged: func(_ context.Context, m map[uuid.UUID]int64) { s.changes <- m },
		Send: func(_ context.Context, list []servicebus.Message) (int, error) {
			if err := s.sending(); err != nil {
				return 0, err
			}
			s.sent <- list[0]
			return 1, nil
		},
		Poison:   func(_ context.Context, m servicebus.Received, _ error) error { s.poison <- m; return nil },
		Patience: 5 * time.Second, Redis: api.Redis,
	}
	for _, f := range change {
		f(&options)
	}
	var err error
	s.orders, err = orders.New(options)
	require.NoError(t, err)
	return s
}

// sibling is a second process on the same stores.
func (s *shop) sibling(t testing.TB) *shop {
	t.Helper()
	return on(t, kit.NewAPIOn(t, s.Database, s.API))
}

type line struct {
	ProductID         uuid.UUID `json:"productId"`
	Quantity          int       `json:"quantity"`
	ExpectedUnitPrice any       `json:"expectedUnitPrice,omitempty"`
}

func draft(customer string, lines ...line) map[string]any {
	return map[string]any{
		"customerId": customer, "lines": lines,
		"shippingAddress": map[string]string{"name": "Ada", "line1": "1 Main St", "city": "Austin", "postalCode": "73301", "country": "US"},
	}
}

func (s *shop) place(t testing.TB, token, key string, body any) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: key, Body: body})
}

// balanced asserts the promise P2 over the whole database.
func balanced(t testing.TB, d *kit.Database) {
	t.Helper()
	assert.Zero(t, kit.One[int](t, d, `SELECT count(*) FROM stock_ledger WHERE initial <> available + sold`), "initial = available + sold")
}

func TestPlaceReadListCancel(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 3)
	token := s.Token(t, "ada", kit.Everything)

	placed := s.place(t, token, "k1", draft("ada", line{product, 1, nil}, line{product, 2, nil}))
	require.Equal(t, http.StatusCreated, placed.Status, "%s", placed.Body)
	order := placed.JSON(t)
	assert.Equal(t, "Pending", order["status"])
	assert.Equal(t, map[string]any{"amount": "59.97", "currency": "USD"}, order["totalAmount"])
	assert.Len(t, order["lines"], 1, "lines of one product are merged")
	assert.Regexp(t, `^[0-9A-Z]{4}-[0-9A-Z]{4}-.$`, order["orderNumber"])
	assert.Equal(t, map[uuid.UUID]int64{product: 2}, <-s.changes, "the last unit went")
	balanced(t, s.Database)

	read := s.Do(t, kit.Call{Method: http.MethodGet, Path: placed.Header.Get("Location"), Token: token})
	require.Equal(t, http.StatusOK, read.Status)
	assert.JSONEq(t, string(placed.Body), string(read.Body))
	again := s.Do(t, kit.Call{
		Method: http.MethodGet, Path: placed.Header.Get("Location"), Token: token,
		Header: http.Header{"If-None-Match": {read.Header.Get("ETag")}},
	})
	assert.Equal(t, http.StatusNotModified, again.Status)
	other := s.Do(t, kit.Call{Method: http.MethodGet, Path: placed.Header.Get("Location"), Token: s.Token(t, "eve", kit.Everything)})
	assert.Equal(t, http.StatusNotFound, other.Status, "somebody else's order does not exist")

	sold := s.place(t, token, "k2", draft("ada", line{product, 1, nil}))
	require.Equal(t, http.StatusConflict, sold.Status)
	assert.Equal(t, []any{map[string]any{"productId": product.String(), "requested": 1.0, "available": 0.0}}, sold.JSON(t)["products"])

	cancel := kit.Call{Method: http.MethodPatch, Path: placed.Header.Get("Location") + "/cancel", Token: token, Key: "k3", Body: map[string]string{"reason": "too many"}}
	cancelled := s.Do(t, cancel)
	require.Equal(t, http.StatusOK, cancelled.Status, "%s", cancelled.Body)
	assert.Equal(t, "Cancelled", cancelled.JSON(t)["status"])
	assert.Equal(t, map[uuid.UUID]int64{product: 3}, <-s.changes, "it is back")
	replay := s.Do(t, cancel)
	assert.Equal(t, string(cancelled.Body), string(replay.Body))
	assert.Equal(t, "true", replay.Header.Get("Idempotent-Replayed"))
	cancel.Key = "k4"
	late := s.Do(t, cancel)
	assert.Equal(t, http.StatusConflict, late.Status)
	assert.Equal(t, "/docs/problems/too-late", late.JSON(t)["type"])
	assert.Equal(t, 3, kit.One[int](t, s.Database, `SELECT available FROM inventory WHERE product_id = $1`, product), "stock came back once")
	balanced(t, s.Database)

	types := kit.One[[]string](t, s.Database, `SELECT array_agg(type || '#' || sequence ORDER BY type, sequence) FROM outbox`)
	assert.Equal(t, []string{"order.cancelled.v1#2", "order.created.v1#1", "product.stock_depleted.v1#2"}, types)
}

func TestListPagesNewestFirst(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 100)
	token := s.Token(t, "ada", kit.Everything)
	var want []string
	for i := range 5 {
		placed := s.place(t, token, fmt.Sprint("k", i), draft("ada", line{product, 1, nil}))
		want = append([]string{placed.JSON(t)["id"].(string)}, want...)
		s.place(t, s.Token(t, "eve", kit.Everything), fmt.Sprint("k", i), draft("eve", line{product, 1, nil}))
	}
	var got []string
	for path := "/api/v1/orders?pageSize=2"; ; {
		page := s.Do(t, kit.Call{Method: http.MethodGet, Path: path, Token: token})
		require.Equal(t, http.StatusOK, page.Status, "%s", page.Body)
		for _, item := range page.JSON(t)["items"].([]any) {
			got = append(got, item.(map[string]any)["id"].(string))
		}
		next, more := page.JSON(t)["nextCursor"].(string)
		if !more {
			break
		}
		path = "/api/v1/orders?pageSize=2&cursor=" + next
		stolen := s.Do(t, kit.Call{Method: http.MethodGet, Path: path, Token: s.Token(t, "eve", kit.Everything)})
		assert.Equal(t, http.StatusBadRequest, stolen.Status, "a cursor is its caller's")
	}
	assert.Equal(t, want, got)
}

// IK-04: a hundred equal requests at once have one effect, and every answer is the original, its replay or 409.
func TestIK04HundredParallelRequestsWithOneKey(t *testing.T) {
	t.Parallel()
	for _, redisUp := range []bool{true, false} {
		t.Run(fmt.Sprintf("redis=%v", redisUp), func(t *testing.T) {
			t.Parallel()
			first := open(t)
			second := first.sibling(t)
			if !redisUp {
				first.Mini.Close()
			}
			product := first.Product(t, 1000)
			token := first.Token(t, "ada", kit.Everything)
			body := draft("ada", line{product, 2, nil})
			replies := parallel(100, func(i int) kit.Reply {
				return []*shop{first, second}[i%2].place(t, token, "same", body)
			})
			var original []byte
			fresh := 0
			for _, r := range replies {
				if r.Status == http.StatusCreated {
					if original == nil {
						original = r.Body
					}
					assert.Equal(t, string(original), string(r.Body))
					if r.Header.Get("Idempotent-Replayed") == "" {
						fresh++
					}
					continue
				}
				require.Equal(t, http.StatusConflict, r.Status, "%s", r.Body)
				assert.Equal(t, "/docs/problems/request-in-flight", r.JSON(t)["type"])
				assert.Equal(t, "1", r.Header.Get("Retry-After"))
			}
			assert.Equal(t, 1, fresh, "one answer is the original")
			assert.Equal(t, 1, kit.One[int](t, first.Database, `SELECT count(*) FROM orders`))
			assert.Equal(t, 1, kit.One[int](t, first.Database, `SELECT count(*) FROM outbox`))
			assert.Equal(t, 998, kit.One[int](t, first.Database, `SELECT available FROM inventory`))
			balanced(t, first.Database)
		})
	}
}

// P2: demand above supply, through two processes: never oversold, and nothing left while somebody was refused
// who could have had it.
func TestHotProductIsNeitherOversoldNorFalselySoldOut(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := first.sibling(t)
	product := first.Product(t, 100)
	token := first.Token(t, "ada", kit.Everything)
	sold := make([]int, 500)
	parallel(500, func(i int) struct{} {
		quantity := 1 + i%3
		r := []*shop{first, second}[i%2].place(t, token, fmt.Sprint("key-", i), draft("ada", line{product, quantity, nil}))
		switch r.Status {
		case http.StatusCreated:
			sold[i] = quantity
		case http.StatusConflict:
			assert.Equal(t, "/docs/problems/sold-out", r.JSON(t)["type"])
		default:
			assert.Fail(t, "unexpected answer", "%d %s", r.Status, r.Body)
		}
		return struct{}{}
	})
	total := 0
	for _, q := range sold {
		total += q
	}
	available := kit.One[int](t, first.Database, `SELECT available FROM inventory`)
	assert.Equal(t, 100, total+available)
	assert.Zero(t, available, "demand was above supply and single units were asked for")
	balanced(t, first.Database)
}

// Orders with the same products in opposite order lock in one order and never deadlock.
func TestOppositeOrdersDoNotDeadlock(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := first.sibling(t)
	a, b := first.Product(t, 10_000), first.Product(t, 10_000)
	token := first.Token(t, "ada", kit.Everything)
	before := kit.One[int](t, first.Database, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
	parallel(200, func(i int) struct{} {
		lines := []line{{a, 1, nil}, {b, 1, nil}}
		if i%2 == 0 {
			lines[0], lines[1] = lines[1], lines[0]
		}
		r := []*shop{first, second}[i/2%2].place(t, token, fmt.Sprint("key-", i), draft("ada", lines...))
		assert.Equal(t, http.StatusCreated, r.Status, "%s", r.Body)
		return struct{}{}
	})
	assert.Equal(t, before, kit.One[int](t, first.Database, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`))
	balanced(t, first.Database)
}

// CX-01: a request waits for a product's lock while the same key is committed elsewhere. It must see that key
// when it gets the lock, not decide again.
func TestCX01KeyCommittedWhileWaitingForTheLock(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := first.sibling(t)
	product := first.Product(t, 1)
	token := first.Token(t, "ada", kit.Everything)
	body := draft("ada", line{product, 1, nil})
	ctx := context.Background()

	// Somebody holds the product; both processes queue behind it with the same key. Redis is gone, so that only
	// the database stands between them.
	first.Mini.Close()
	blocker, err := pgx.Connect(ctx, first.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, blocker.Close(ctx)) }()
	tx, err := blocker.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `SELECT 1 FROM inventory WHERE product_id = $1 FOR UPDATE`, product)
	require.NoError(t, err)
	done := make(chan []kit.Reply)
	go func() {
		done <- parallel(2, func(i int) kit.Reply { return []*shop{first, second}[i].place(t, token, "same", body) })
	}()
	require.Eventually(t, func() bool {
		return kit.One[int](t, first.Database, `SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`) == 2
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, tx.Rollback(ctx))
	replies := <-done
	for _, r := range replies {
		assert.Equal(t, http.StatusCreated, r.Status, "the second is a replay, not sold out: %s", r.Body)
	}
	assert.Equal(t, string(replies[0].Body), string(replies[1].Body))
	assert.Equal(t, 1, kit.One[int](t, first.Database, `SELECT count(*) FROM orders`))
}

// CX-14: cancel meets confirm. Whoever comes second finds the state moved; stock comes back only with the state.
func TestCX14CancelMeetsConfirm(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 1000)
	customer := s.Token(t, "ada", kit.Everything)
	admin := s.Token(t, "boss", kit.Everything, "admin")
	for i := range 20 {
		location := s.place(t, customer, fmt.Sprint("place-", i), draft("ada", line{product, 1, nil})).Header.Get("Location")
		replies := parallel(3, func(n int) kit.Reply {
			if n == 0 {
				return s.Do(t, kit.Call{Method: http.MethodPost, Path: location + "/confirm", Token: admin, Key: fmt.Sprint("confirm-", i)})
			}
			return s.Do(t, kit.Call{Method: http.MethodPatch, Path: location + "/cancel", Token: customer, Key: fmt.Sprint("cancel-", i, "-", n), Body: map[string]string{"reason": "no"}})
		})
		won := 0
		for _, r := range replies {
			if r.Status == http.StatusOK {
				won++
			} else {
				assert.Equal(t, http.StatusConflict, r.Status, "%s", r.Body)
			}
		}
		assert.Equal(t, 1, won)
	}
	balanced(t, s.Database)
}

func TestConfirmDueUsesTheDatabasesClock(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	token := s.Token(t, "ada", kit.Everything)
	s.place(t, token, "k", draft("ada", line{product, 1, nil}))
	ctx := context.Background()
	n, err := s.orders.ConfirmDue(ctx, s.Pools.Background, time.Hour, 100)
	require.NoError(t, err)
	assert.Zero(t, n, "too young")
	require.Eventually(t, func() bool {
		n, err = s.orders.ConfirmDue(ctx, s.Pools.Background, time.Millisecond, 100)
		require.NoError(t, err)
		return n == 1
	}, 10*time.Second, 5*time.Millisecond)
	assert.Equal(t, "Confirmed", kit.One[string](t, s.Database, `SELECT status FROM orders`))
	assert.Equal(t, "order.created.v1 1, order.confirmed.v1 2", kit.One[string](t, s.Database, `SELECT string_agg(type || ' ' || sequence, ', ' ORDER BY sequence) FROM outbox`))

	// Neither what is confirmed nor what was cancelled is due, whatever its age.
	s.place(t, token, "cancelled", draft("ada", line{product, 1, nil}))
	id := kit.One[string](t, s.Database, `SELECT id::text FROM orders WHERE status = 'Pending'`)
	r := s.cancel(t, token, "c", "/api/v1/orders/"+id)
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	time.Sleep(5 * time.Millisecond) // so that it is older than a millisecond
	n, err = s.orders.ConfirmDue(ctx, s.Pools.Background, time.Millisecond, 100)
	require.NoError(t, err)
	assert.Zero(t, n)
	assert.Equal(t, "Cancelled", kit.One[string](t, s.Database, `SELECT status FROM orders WHERE id = $1`, id))
	balanced(t, s.Database)
}

// IK-16 and P1: a client that leaves does not stop a started write, and its retry finds the answer.
func TestIK16ClientThatLeavesFindsItsOrder(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 1000)
	token := s.Token(t, "ada", kit.Everything)
	for i := range 30 {
		key := fmt.Sprint("key-", i)
		body := draft("ada", line{product, 1, nil})
		ctx, leave := context.WithCancel(context.Background())
		go func() {
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			leave()
		}()
		s.DoContext(ctx, t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: key, Body: body})
		leave()
		require.Eventually(t, func() bool { return s.place(t, token, key, body).Status == http.StatusCreated }, 10*time.Second, 5*time.Millisecond)
	}
	assert.Equal(t, 30, kit.One[int](t, s.Database, `SELECT count(*) FROM orders`))
	balanced(t, s.Database)
}

// P1 and P6: Redis is stopped, started empty and flushed while orders are placed and repeated.
func TestIK15RedisStoppedAndFlushedMidRun(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10_000)
	token := s.Token(t, "ada", kit.Everything)
	for i := range 60 {
		switch i {
		case 15, 45:
			s.Mini.FlushAll()
		case 25:
			s.Mini.Close()
		case 35:
			require.NoError(t, s.Mini.Restart())
		}
		body := draft("ada", line{product, 1, nil})
		first := s.place(t, token, fmt.Sprint("key-", i), body)
		require.Equal(t, http.StatusCreated, first.Status, "%s", first.Body)
		second := s.place(t, token, fmt.Sprint("key-", i), body)
		require.Equal(t, string(first.Body), string(second.Body))
	}
	assert.Equal(t, 60, kit.One[int](t, s.Database, `SELECT count(*) FROM orders`))
	balanced(t, s.Database)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 10)
	token := s.Token(t, "ada", kit.Everything)
	good := draft("ada", line{product, 1, nil})
	cheap := draft("ada", line{product, 1, map[string]string{"amount": "1.00", "currency": "USD"}})
	unknown := good
	for name, c := range map[string]struct {
		call   kit.Call
		status int
		slug   string
	}{
		"no token":             {kit.Call{Key: "a", Body: good}, 401, "unauthorized"},
		"wrong scope":          {kit.Call{Token: s.Token(t, "ada", "order:read"), Key: "a", Body: good}, 403, "forbidden"},
		"no key":               {kit.Call{Token: token, Body: good}, 400, "idempotency-key-missing"},
		"key too long":         {kit.Call{Token: token, Key: string(make([]byte, 300)), Body: good}, 400, "idempotency-key-invalid"},
		"not JSON":             {kit.Call{Token: token, Key: "a", Body: `{"customerId":`}, 400, "malformed-request"},
		"unknown member":       {kit.Call{Token: token, Key: "a", Body: `{"customerId":"ada","price":1}`}, 422, "validation"},
		"two same members":     {kit.Call{Token: token, Key: "a", Body: `{"customerId":"ada","customerId":"eve"}`}, 400, "malformed-request"},
		"somebody else":        {kit.Call{Token: token, Key: "a", Body: draft("eve", line{product, 1, nil})}, 403, "forbidden"},
		"no lines":             {kit.Call{Token: token, Key: "a", Body: draft("ada")}, 422, "validation"},
		"quantity 0":           {kit.Call{Token: token, Key: "a", Body: draft("ada", line{product, 0, nil})}, 422, "validation"},
		"too many merged":      {kit.Call{Token: token, Key: "a", Body: draft("ada", line{product, 999, nil}, line{product, 1, nil})}, 422, "validation"},
		"other price":          {kit.Call{Token: token, Key: "price", Body: cheap}, 409, "price-changed"},
		"no such product":      {kit.Call{Token: token, Key: "unknown", Body: draft("ada", line{uuid.New(), 1, nil})}, 422, "validation"},
		"text/plain":           {kit.Call{Token: token, Key: "a", Body: good, Header: http.Header{"Content-Type": {"text/plain"}}}, 415, "unsupported-media-type"},
		"two Idempotency-Keys": {kit.Call{Token: token, Body: unknown, Header: http.Header{"Idempotency-Key": {"a", "b"}}}, 400, "idempotency-key-invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			c.call.Method, c.call.Path = http.MethodPost, "/api/v1/orders"
			r := s.Do(t, c.call)
			assert.Equal(t, c.status, r.Status, "%s", r.Body)
			assert.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
			assert.Equal(t, "/docs/problems/"+c.slug, r.JSON(t)["type"])
			assert.EqualValues(t, c.status, r.JSON(t)["status"])
		})
	}
	// None of the refusals before execution used up the key.
	assert.Equal(t, http.StatusCreated, s.place(t, token, "a", good).Status)
	// IK-03: the same key for something else.
	reused := s.place(t, token, "a", draft("ada", line{product, 2, nil}))
	assert.Equal(t, http.StatusUnprocessableEntity, reused.Status)
	assert.Equal(t, "/docs/problems/idempotency-key-reused", reused.JSON(t)["type"])
	// IK-09: another caller's equal key is another key.
	theirs := s.place(t, s.Token(t, "eve", kit.Everything), "a", draft("eve", line{product, 1, nil}))
	assert.Equal(t, http.StatusCreated, theirs.Status)
	assert.Empty(t, theirs.Header.Get("Idempotent-Replayed"))
	balanced(t, s.Database)
}

// parallel runs f n times at once and collects what it returns.
func parallel[T any](n int, f func(i int) T) []T {
	out := make([]T, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i] = f(i) })
	}
	wg.Wait()
	return out
}

// The client's trace goes on through the lane: each event carries that of its own request, whoever shared its batch.
func TestEventsCarryTheTraceOfTheirRequest(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 100), s.Token(t, "ada", kit.Everything)
	trace := func(n int) string { return fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e47%02d-00f067aa0ba902b7-01", n) }
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			header := http.Header{"Traceparent": {trace(n)}}
			placed := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Token: token, Key: fmt.Sprint("place", n), Header: header, Body: draft("ada", line{product, 1, nil})})
			assert.Equal(t, http.StatusCreated, placed.Status, "%s", placed.Body)
			cancelled := s.Do(t, kit.Call{Method: http.MethodPatch, Path: placed.Header.Get("Location") + "/cancel", Token: token, Key: fmt.Sprint("cancel", n), Header: header, Body: map[string]string{"reason": "x"}})
			assert.Equal(t, http.StatusOK, cancelled.Status, "%s", cancelled.Body)
			for _, answer := range []kit.Reply{placed, cancelled} {
				id, status := answer.JSON(t)["id"], answer.JSON(t)["status"]
				assert.Equal(t, trace(n), kit.One[string](t, s.Database, `SELECT traceparent FROM outbox WHERE aggregate_id = $1::text::uuid
					AND convert_from(payload, 'UTF8')::jsonb @> jsonb_build_object('traceparent', traceparent, 'data', jsonb_build_object('status', $2::text))`, id, status))
			}
		})
	}
	all.Wait()
}
