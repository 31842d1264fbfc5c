package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/functions/docs"
	"github.com/company/order-catalog-service/functions/ops"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// office is every slice on one API, with who may do everything.
type office struct {
	*kit.API
	boss   string
	orders *orders.Orders
	ops    *ops.Ops
}

func open(t *testing.T) *office {
	t.Helper()
	o := &office{API: kit.NewAPI(t)}
	nudge := func(...uuid.UUID) {}
	logger := slog.New(slog.DiscardHandler)
	shop, err := catalog.New(catalog.Options{API: o.REST, Pools: o.Pools, Keys: o.Keys, Cursors: o.Cursors})
	require.NoError(t, err)
	carts.New(carts.Options{API: o.REST, Pools: o.Pools, Keys: o.Keys})
	o.orders, err = orders.New(orders.Options{
		API: o.REST, Pools: o.Pools, Keys: o.Keys, Cursors: o.Cursors, AvailabilityChanged: shop.Invalidate, Nudge: nudge, Logger: logger,
		Send: func(context.Context, []servicebus.Message) (int, error) { return 0, nil },
	})
	require.NoError(t, err)
	o.ops, err = ops.New(ops.Options{
		API: o.REST, Pools: o.Pools, Keys: o.Keys, Cursors: o.Cursors, Nudge: nudge,
		Senders:  map[string]*servicebus.Sender{servicebus.QueueWebhookDelivery: kit.NewBroker(t).Client(t).Sender(servicebus.QueueWebhookDelivery)},
		Switches: map[string]ops.Switch{"test": {Title: "Nothing", Turn: func(bool) {}}}, Logger: logger, Metrics: http.NotFoundHandler(),
	})
	require.NoError(t, err)
	client := egress.New(egress.Options{AllowLoopback: true})
	t.Cleanup(client.Close)
	_, err = webhooks.New(webhooks.Options{
		API: o.REST, Pools: o.Pools, Keys: o.Keys, Cursors: o.Cursors, Box: o.Box, Egress: client, Logger: logger,
		Send: func(_ context.Context, list []servicebus.Message) (int, error) { return len(list), nil },
	})
	require.NoError(t, err)
	require.NoError(t, docs.Register(o.REST))
	o.boss = o.Token(t, "boss", kit.Everything+" catalog:write webhook:manage", "admin")
	return o
}

// as does a call with the boss's token and a key of its own.
func (o *office) as(t *testing.T, c kit.Call) kit.Reply {
	t.Helper()
	c.Token = o.boss
	if c.Method != http.MethodGet {
		c.Key = uuid.NewString()
	}
	return o.Do(t, c)
}

// must is as, for what a test only prepares with.
func (o *office) must(t *testing.T, c kit.Call) kit.Reply {
	t.Helper()
	got := o.as(t, c)
	require.Less(t, got.Status, 300, "%s", got.Body)
	return got
}

func (o *office) order(t *testing.T) string {
	t.Helper()
	return o.must(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Body: map[string]any{
		"customerId": "boss", "lines": []map[string]any{{"productId": o.Product(t, 5), "quantity": 2}}, "shippingAddress": map[string]string{
			"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US",
		},
	}}).JSON(t)["id"].(string)
}

// secretPath stands in a webhook's URL where people put tokens.
const secretPath = "hush-hush-token"

func (o *office) endpoint(t *testing.T) string {
	t.Helper()
	return o.must(t, register()).JSON(t)["id"].(string)
}

func register() kit.Call {
	return kit.Call{Method: http.MethodPost, Path: "/api/v1/webhooks/register", Body: map[string]any{
		"url": "https://hooks.example.com/" + secretPath, "events": []string{"*"}, "description": secretPath,
	}}
}

// act is an operation that leaves a row: prepare brings the world to where it can be called, and says with what and
// on which target.
type act struct {
	action  audit.Action
	prepare func(*testing.T, *office) (call kit.Call, target string)
	details string // members that the row must show, as JSON
}

func onEndpoint(method, path string, body any) func(*testing.T, *office) (kit.Call, string) {
	return func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		id := o.endpoint(t)
		return kit.Call{Method: method, Path: "/api/v1/webhooks/" + id + path, Body: body}, id
	}
}

func onOrder(method, path string, body any) func(*testing.T, *office) (kit.Call, string) {
	return func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		id := o.order(t)
		return kit.Call{Method: method, Path: "/api/v1/orders/" + id + path, Body: body}, id
	}
}

// acts are the operations that somebody has to answer for, by their ids in the API's document.
var acts = map[string]act{
	"register-webhook": {audit.EndpointRegistered, func(*testing.T, *office) (kit.Call, string) { return register(), "" }, `{"host": "hooks.example.com"}`},
	"change-webhook":   {audit.EndpointChanged, onEndpoint(http.MethodPatch, "", map[string]any{"status": "disabled"}), `{"changed": ["status"], "status": "disabled"}`},
	"delete-webhook":   {audit.EndpointDeleted, onEndpoint(http.MethodDelete, "", nil), `{"host": "hooks.example.com"}`},
	"rotate-webhook-secret": {
		audit.EndpointSecretRotated, onEndpoint(http.MethodPost, "/rotate-secret", map[string]any{}), `{}`,
	},
	"test-webhook":   {audit.EndpointTested, onEndpoint(http.MethodPost, "/test", map[string]any{}), `{"eventType": "webhook.test.v1"}`},
	"replay-webhook": {audit.EndpointReplayed, onEndpoint(http.MethodPost, "/replay", map[string]any{"status": "dead"}), `{"status": "dead", "count": 0}`},
	"cancel-order":   {audit.OrderCancelled, onOrder(http.MethodPatch, "/cancel", map[string]any{"reason": "no"}), `{"was": "Pending", "customerId": "boss", "asAdmin": false}`},
	"confirm-order":  {audit.OrderConfirmed, onOrder(http.MethodPost, "/confirm", nil), `{}`},
	"change-product": {audit.ProductChanged, func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		path := "/api/v1/products/" + o.Product(t, 1).String()
		etag := o.must(t, kit.Call{Method: http.MethodGet, Path: path}).Header.Get("ETag")
		return kit.Call{
			Method: http.MethodPatch, Path: path, Header: http.Header{"If-Match": {etag}},
			Body: map[string]any{"price": map[string]string{"amount": "5.00", "currency": "USD"}},
		}, path[len("/api/v1/products/"):]
	}, `{"changed": ["price"], "priceBefore": {"amount": "19.99", "currency": "USD"}, "priceAfter": {"amount": "5.00", "currency": "USD"}}`},
	"adjust-stock": {audit.StockAdjusted, func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		id := o.Product(t, 1).String()
		return kit.Call{Method: http.MethodPost, Path: "/api/v1/products/" + id + "/stock-adjustments", Body: map[string]any{"delta": 4, "reason": "counted"}}, id
	}, `{"delta": 4, "reason": "counted", "available": 5}`},
	"redrive-dead-letter": {audit.DeadLetterRedriven, func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		m := servicebus.Received{MessageID: "m", SequenceNumber: 1, Body: []byte("x")}
		require.NoError(t, o.ops.Record(t.Context(), servicebus.QueueWebhookDelivery, []servicebus.Received{m}))
		id := kit.One[string](t, o.Database, `SELECT id::text FROM dead_letters WHERE sequence_number = 1`)
		return kit.Call{Method: http.MethodPost, Path: "/api/v1/ops/dead-letters/" + id + "/redrive"}, id
	}, `{"entity": "webhook-deliveries", "messageId": "m"}`},
	"discard-dead-letter": {audit.DeadLetterDiscarded, func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		m := servicebus.Received{MessageID: "n", SequenceNumber: 2, Body: []byte("x")}
		require.NoError(t, o.ops.Record(t.Context(), servicebus.QueueWebhookDelivery, []servicebus.Received{m}))
		id := kit.One[string](t, o.Database, `SELECT id::text FROM dead_letters WHERE sequence_number = 2`)
		return kit.Call{Method: http.MethodPost, Path: "/api/v1/ops/dead-letters/" + id + "/discard", Body: map[string]any{"reason": "nobody can read it"}}, id
	}, `{"entity": "webhook-deliveries", "messageId": "n", "reason": "nobody can read it"}`},
	"release-parked-events": {audit.ParkedReleased, func(t *testing.T, o *office) (kit.Call, string) {
		t.Helper()
		id := uuid.NewString()
		o.Exec(t, `INSERT INTO outbox_parked (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, reason)
			VALUES (gen_random_uuid(), 1, 'order', $1, 1, 'order.created.v1', 'x', now(), 'no')`, id)
		return kit.Call{Method: http.MethodPost, Path: "/api/v1/ops/parked-events/" + id + "/release"}, id
	}, `{"count": 1}`},
	"set-switch": {audit.SwitchTurned, func(*testing.T, *office) (kit.Call, string) {
		return kit.Call{Method: http.MethodPut, Path: "/api/v1/ops/switches/test", Body: map[string]any{"on": true}}, "test"
	}, `{"on": true}`},
}

// everydayBusiness are the writes of customers to what is theirs: the order and the cart say themselves who made them.
var everydayBusiness = []string{"place-order", "create-cart", "set-cart-item", "remove-cart-item"}

// An operation that is new must be put on one of the two lists, or this fails.
func TestEveryWriteIsAnActOrEverydayBusiness(t *testing.T) {
	t.Parallel()
	o := open(t)
	doc, err := openapi3.NewLoader().LoadFromData(o.must(t, kit.Call{Method: http.MethodGet, Path: "/openapi.json"}).Body)
	require.NoError(t, err)
	var writes []string
	for _, path := range doc.Paths.Map() {
		for method, op := range path.Operations() {
			if method != http.MethodGet {
				writes = append(writes, op.OperationID)
			}
		}
	}
	assert.ElementsMatch(t, slices.Concat(slices.Collect(maps.Keys(acts)), everydayBusiness), writes)
}

// entry is a row of the log.
type entry struct {
	Issuer, Subject, Action, Target, Request, Details string
	At                                                time.Time
}

func (o *office) log(t *testing.T) []entry {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	rows, err := conn.Query(t.Context(), `SELECT issuer, subject, action, target, request, details::text, at FROM audit_log ORDER BY at`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	require.NoError(t, err)
	return list
}

// Each act leaves one row that says who, what, on what and in which request; a repeat of its key leaves none, and
// nothing that looks like a secret is in it.
func TestEachActLeavesOneRow(t *testing.T) {
	t.Parallel()
	o := open(t)
	for id, a := range acts {
		call, target := a.prepare(t, o)
		before := len(o.log(t))
		call.Token, call.Key = o.boss, "once-"+id
		call.Header = with(call.Header, "X-Correlation-ID", "the-request")
		began := time.Now()
		first := o.Do(t, call)
		require.Less(t, first.Status, 300, "%s: %s", id, first.Body)
		again := o.Do(t, call)
		require.Equal(t, first.Status, again.Status, "%s: %s", id, again.Body)

		rows := o.log(t)
		require.Len(t, rows, before+1, id)
		row := rows[before]
		if target == "" {
			target = first.JSON(t)["id"].(string)
		}
		var want, got map[string]any
		require.NoError(t, json.Unmarshal([]byte(a.details), &want))
		require.NoError(t, json.Unmarshal([]byte(row.Details), &got))
		for member, value := range want {
			assert.Equal(t, value, got[member], "%s: %s", id, member)
		}
		assert.WithinDuration(t, began, row.At, time.Minute, id)
		row.Details, row.At = "", time.Time{}
		assert.Equal(t, entry{Subject: "boss", Action: string(a.action), Target: target, Request: "the-request"}, row, id)
	}
	for _, row := range o.log(t) {
		assert.NotContains(t, row.Details, secretPath)
		assert.NotContains(t, row.Details, "whsec_")
	}
}

// What is refused is no act: another's endpoint, an order too far gone, stock that isn't there.
func TestARefusalLeavesNoRow(t *testing.T) {
	t.Parallel()
	o := open(t)
	order := "/api/v1/orders/" + o.order(t)
	o.must(t, kit.Call{Method: http.MethodPatch, Path: order + "/cancel", Body: map[string]any{"reason": "no"}})
	before := len(o.log(t))
	for _, c := range []kit.Call{
		{Method: http.MethodPatch, Path: order + "/cancel", Body: map[string]any{"reason": "again"}},
		{Method: http.MethodPost, Path: order + "/confirm"},
		{Method: http.MethodDelete, Path: "/api/v1/webhooks/" + uuid.NewString()},
		{Method: http.MethodPost, Path: "/api/v1/products/" + o.Product(t, 1).String() + "/stock-adjustments", Body: map[string]any{"delta": -9, "reason": "none"}},
		{Method: http.MethodPost, Path: "/api/v1/ops/dead-letters/" + uuid.NewString() + "/redrive"},
		{Method: http.MethodPost, Path: "/api/v1/ops/dead-letters/" + uuid.NewString() + "/discard", Body: map[string]any{"reason": "no"}},
	} {
		got := o.as(t, c)
		assert.GreaterOrEqual(t, got.Status, 400, "%s %s: %s", c.Method, c.Path, got.Body)
	}
	assert.Len(t, o.log(t), before)
}

// The row belongs to the act's transaction: when that fails at the very last, at its COMMIT, there is neither.
func TestAnActThatIsRolledBackLeavesNoRow(t *testing.T) {
	t.Parallel()
	o := open(t)
	calls := make(map[string]kit.Call)
	for id, a := range acts {
		calls[id], _ = a.prepare(t, o)
	}
	before := len(o.log(t))
	o.Exec(t, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
		CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`)
	for id, call := range calls {
		got := o.as(t, call)
		require.Equal(t, http.StatusInternalServerError, got.Status, "%s: %s", id, got.Body)
	}
	assert.Len(t, o.log(t), before)
	o.Exec(t, `DROP TRIGGER fail ON idempotency_keys`)
	for id, call := range calls {
		got := o.as(t, call)
		require.Less(t, got.Status, 300, "%s: %s", id, got.Body)
	}
	assert.Len(t, o.log(t), before+len(calls), "and with the fault mended there is one of each")
}

// And the other way round: an act whose row can't be written does not happen.
func TestAnActWithoutItsRowDoesNotHappen(t *testing.T) {
	t.Parallel()
	o := open(t)
	id := o.order(t)
	o.Exec(t, `ALTER TABLE audit_log ADD CONSTRAINT full_up CHECK (action <> 'order.cancelled')`)
	got := o.as(t, kit.Call{Method: http.MethodPatch, Path: "/api/v1/orders/" + id + "/cancel", Body: map[string]any{"reason": "no"}})
	require.Equal(t, http.StatusInternalServerError, got.Status, "%s", got.Body)
	assert.Equal(t, "Pending", kit.One[string](t, o.Database, `SELECT status FROM orders`))
	assert.Equal(t, int64(3), kit.One[int64](t, o.Database, `SELECT available FROM inventory`))
	assert.Equal(t, 0, kit.One[int](t, o.Database, `SELECT count(*) FROM outbox WHERE type = 'order.cancelled.v1'`))
}

// Cancellations of several people in one batch of the commit lane leave a row each, in their own names.
func TestABatchOfCancellationsLeavesARowForEach(t *testing.T) {
	t.Parallel()
	o := open(t)
	const n = 20
	var paths []string
	for range n {
		paths = append(paths, "/api/v1/orders/"+o.order(t)+"/cancel")
	}
	tokens := []string{o.boss, o.Token(t, "clerk", kit.Everything, "admin")}
	replies := make(chan kit.Reply, n)
	for i, path := range paths {
		go func() {
			replies <- o.Do(t, kit.Call{Method: http.MethodPatch, Path: path, Token: tokens[i%2], Key: fmt.Sprint("c", i), Body: map[string]any{"reason": "no"}})
		}()
	}
	for range n {
		got := <-replies
		assert.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	}
	bySubject, targets := map[string]int{}, map[string]bool{}
	for _, row := range o.log(t) {
		bySubject[row.Subject+fmt.Sprint(strings.Contains(row.Details, `"asAdmin": true`))]++
		targets[row.Target] = true
	}
	assert.Equal(t, map[string]int{"bossfalse": n / 2, "clerktrue": n / 2}, bySubject)
	assert.Len(t, targets, n)
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set(name, value)
	return h
}
