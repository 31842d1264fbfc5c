package ops_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/ops"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

const topic = servicebus.TopicOrderEvents

type desk struct {
	*kit.API
	ops    *ops.Ops
	broker *kit.Broker
	drain  *outbox.Drain
	admin  string
}

func open(t *testing.T) *desk {
	t.Helper()
	d := &desk{API: kit.NewAPI(t), broker: kit.NewBroker(t)}
	client := d.broker.Client(t)
	var err error
	d.drain, err = outbox.NewDrain(d.Pools.Drain, client.Sender(topic), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	d.ops = ops.New(ops.Options{
		API: d.REST, Pools: d.Pools, Keys: d.Keys, Cursors: d.Cursors, Nudge: d.drain.Nudge,
		Senders: map[string]*servicebus.Sender{topic: client.Sender(topic)},
	})
	d.admin = d.Token(t, "operator", "", "admin")
	return d
}

func (d *desk) get(t *testing.T, path string) kit.Reply {
	t.Helper()
	r := d.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/ops" + path, Token: d.admin})
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	return r
}

func (d *desk) post(t *testing.T, path, key string) kit.Reply {
	t.Helper()
	return d.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/ops" + path, Token: d.admin, Key: key})
}

func letter(n int64, body string) servicebus.Received {
	return servicebus.Received{
		Body: []byte(body), MessageID: uuid.NewString(), Subject: events.OrderCreated, ContentType: "application/json",
		SequenceNumber: n, DeliveryCount: 10, EnqueuedTime: time.Now(),
		ApplicationProperties: map[string]any{"aggregate": "a", "DeadLetterReason": "MaxDeliveryCountExceeded", "DeadLetterErrorDescription": "ten times"},
	}
}

func TestADeadLetterIsKeptOnceAndShown(t *testing.T) {
	t.Parallel()
	d := open(t)
	list := []servicebus.Received{letter(1, `{"a":1}`), letter(2, "\xff\xfe")}
	list[1].ApplicationProperties["never"] = make(chan int) // no property that AMQP has, and no reason to lose the message
	for range 2 {
		require.NoError(t, d.ops.Record(t.Context(), topic, list), "the broker hands out at least once")
	}
	items := d.get(t, "/dead-letters").JSON(t)["items"].([]any)
	require.Len(t, items, 2)
	binary, text := items[0].(map[string]any), items[1].(map[string]any)
	if text["body"] == nil {
		binary, text = text, binary // recorded in the same millisecond
	}
	assert.Equal(t, `{"a":1}`, text["body"])
	assert.Equal(t, "MaxDeliveryCountExceeded", text["reason"])
	assert.Equal(t, "ten times", text["description"])
	assert.Equal(t, topic, text["entity"])
	assert.Equal(t, "//4=", binary["bodyBase64"])
	one := d.get(t, "/dead-letters/"+text["id"].(string)).JSON(t)
	assert.Equal(t, text["messageId"], one["messageId"])
	assert.Equal(t, http.StatusNotFound, d.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/ops/dead-letters/" + uuid.NewString(), Token: d.admin}).Status)
}

func TestListsGoOnFromTheirCursor(t *testing.T) {
	t.Parallel()
	d := open(t)
	for n := range int64(5) {
		require.NoError(t, d.ops.Record(t.Context(), topic, []servicebus.Received{letter(n, "x")}))
	}
	seen, path := map[string]bool{}, "/dead-letters?pageSize=2"
	for pages := 0; ; pages++ {
		require.Less(t, pages, 4)
		page := d.get(t, path).JSON(t)
		for _, item := range page["items"].([]any) {
			seen[item.(map[string]any)["id"].(string)] = true
		}
		next, more := page["nextCursor"].(string)
		if !more {
			break
		}
		path = "/dead-letters?pageSize=2&cursor=" + next
	}
	assert.Len(t, seen, 5)
}

func TestCX13ARedriveIsANewMessage(t *testing.T) {
	t.Parallel()
	d := open(t)
	m := letter(1, `{"a":1}`)
	require.NoError(t, d.ops.Record(t.Context(), topic, []servicebus.Received{m}))
	id := d.get(t, "/dead-letters").JSON(t)["items"].([]any)[0].(map[string]any)["id"].(string)

	require.NoError(t, d.broker.FailSends(topic, standin.Fault{Condition: "com.microsoft:server-busy", Times: 10}))
	away := d.post(t, "/dead-letters/"+id+"/redrive", "k0")
	assert.Equal(t, http.StatusServiceUnavailable, away.Status, "%s", away.Body)
	assert.Len(t, d.get(t, "/dead-letters").JSON(t)["items"], 1, "it still waits")
	require.Eventually(t, func() bool { return d.post(t, "/dead-letters/"+id+"/redrive", "k1").Status == http.StatusOK }, 20*time.Second, 50*time.Millisecond)

	sent := d.broker.Events(t, 1)[0]
	assert.Equal(t, `{"a":1}`, string(sent.Body))
	assert.Equal(t, events.OrderCreated, *sent.Subject)
	assert.Equal(t, map[string]any{"aggregate": "a"}, sent.ApplicationProperties, "without the broker's reasons")
	assert.NotEqual(t, m.MessageID, sent.MessageID, "under its old id it would count as a repeat")
	assert.Empty(t, d.get(t, "/dead-letters").JSON(t)["items"])
	replay := d.post(t, "/dead-letters/"+id+"/redrive", "k1")
	assert.Equal(t, "true", replay.Header.Get("Idempotent-Replayed"))
	depth, _ := d.broker.Depth(topic + "/Subscriptions/" + servicebus.SubscriptionWebhooks)
	assert.Zero(t, depth.Active, "the same key sends nothing more")
}

func TestParkedEventsAreShownAndReleasedInOrder(t *testing.T) {
	t.Parallel()
	d := open(t)
	aggregate := uuid.New()
	require.NoError(t, d.broker.FailSends(topic, standin.Fault{Condition: "com.microsoft:argument-error", Times: 4}))
	require.NoError(t, d.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		now := time.Now()
		var list []events.Event
		for n := range int64(3) {
			list = append(list, events.Event{ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: aggregate}, Sequence: n + 1, Time: now})
		}
		return outbox.Insert(t.Context(), tx, list...)
	}))
	require.NoError(t, d.drain.Sweep(t.Context()))
	first := d.get(t, "/parked-events?pageSize=2").JSON(t)
	require.Len(t, first["items"], 2)
	assert.Contains(t, first["items"].([]any)[0].(map[string]any)["reason"], "argument-error")
	rest := d.get(t, "/parked-events?pageSize=2&cursor="+first["nextCursor"].(string)).JSON(t)
	require.Len(t, rest["items"], 1)
	assert.InDelta(t, 3, rest["items"].([]any)[0].(map[string]any)["sequence"], 0)

	released := d.post(t, "/parked-events/"+aggregate.String()+"/release", "k")
	require.Equal(t, http.StatusAccepted, released.Status, "%s", released.Body)
	assert.InDelta(t, 3, released.JSON(t)["count"], 0)
	require.NoError(t, d.drain.Sweep(t.Context()))
	var order []int64
	for _, m := range d.broker.Events(t, 3) {
		order = append(order, m.ApplicationProperties["sequence"].(int64))
	}
	assert.Equal(t, []int64{1, 2, 3}, order)
	assert.Equal(t, http.StatusNotFound, d.post(t, "/parked-events/"+aggregate.String()+"/release", "k2").Status)
}

func TestOnlyAdminsOperate(t *testing.T) {
	t.Parallel()
	d := open(t)
	token := d.Token(t, "ada", kit.Everything)
	for _, path := range []string{"/dead-letters", "/parked-events", "/dead-letters/" + uuid.NewString()} {
		r := d.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/ops" + path, Token: token})
		assert.Equal(t, http.StatusForbidden, r.Status, path)
	}
	r := d.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/ops/parked-events/" + uuid.NewString() + "/release", Token: token, Key: "k"})
	assert.Equal(t, http.StatusForbidden, r.Status)
}

func TestSentLettersLeaveAfterNinetyDays(t *testing.T) {
	t.Parallel()
	d := open(t)
	require.NoError(t, d.ops.Record(t.Context(), topic, []servicebus.Received{letter(1, "x"), letter(2, "y"), letter(3, "z")}))
	d.Exec(t, `UPDATE dead_letters SET redriven_at = now() - CASE sequence_number WHEN 1 THEN interval '91 days' ELSE interval '1 day' END WHERE sequence_number < 3`)
	n, err := d.ops.Purge(t.Context(), 10)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Equal(t, 2, kit.One[int](t, d.Database, "SELECT count(*) FROM dead_letters"))
}

func TestPoisonIsKeptWithItsReason(t *testing.T) {
	t.Parallel()
	d := open(t)
	m := letter(1, strings.Repeat("x", 10))
	require.NoError(t, d.ops.RecordPoison(t.Context(), topic, m, assert.AnError))
	item := d.get(t, "/dead-letters").JSON(t)["items"].([]any)[0].(map[string]any)
	assert.Equal(t, "unreadable", item["reason"])
	assert.Equal(t, assert.AnError.Error(), item["description"])
}
