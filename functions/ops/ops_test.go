package ops_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
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

const (
	queue = servicebus.QueueWebhookDelivery
	base  = "/api/v1/ops"
)

// desk is what an operator sits at.
type desk struct {
	*kit.API
	ops    *ops.Ops
	broker *kit.Broker
	drain  *outbox.Drain
	admin  string
	kept   int64 // messages that record was given
	nudged []uuid.UUID
	brake  atomic.Bool // a switch
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{API: kit.NewAPI(t), broker: kit.NewBroker(t)}
	client := d.broker.Client(t)
	var err error
	d.ops, err = ops.New(ops.Options{
		Logger: slog.New(slog.DiscardHandler), Metrics: http.NotFoundHandler(),
		Switches: map[string]ops.Switch{"brake": {Title: "Stops it", Turn: func(on bool) { d.brake.Store(on) }}},
		API:      d.REST, Pools: d.Pools, Keys: d.Keys, Cursors: d.Cursors,
		Senders: map[string]*servicebus.Sender{queue: client.Sender(queue)},
		Nudge:   func(aggregates ...uuid.UUID) { d.nudged = append(d.nudged, aggregates...) },
	})
	require.NoError(t, err)
	d.drain, err = outbox.NewDrain(d.Pools.Drain, client.Sender(servicebus.TopicOrderEvents), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	d.admin = d.Token(t, "operator", "", "admin")
	return d
}

func (d *desk) get(t *testing.T, path string, into any) {
	t.Helper()
	got := d.Do(t, kit.Call{Method: http.MethodGet, Path: base + path, Token: d.admin})
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	require.NoError(t, json.Unmarshal(got.Body, into))
}

func (d *desk) post(t *testing.T, path, key string) kit.Reply {
	t.Helper()
	return d.Do(t, kit.Call{Method: http.MethodPost, Path: base + path, Token: d.admin, Key: key})
}

// record keeps one message, and returns how it is shown.
func (d *desk) record(t *testing.T, m servicebus.Received) (letter ops.DeadLetter) {
	t.Helper()
	d.kept++
	m.SequenceNumber = d.kept
	require.NoError(t, d.ops.Record(t.Context(), queue, []servicebus.Received{m}))
	id := kit.One[uuid.UUID](t, d.Database, `SELECT id FROM dead_letters WHERE sequence_number = `+strconv.FormatInt(d.kept, 10))
	d.get(t, "/dead-letters/"+id.String(), &letter)
	return letter
}

// sent completes and returns what is in the queue, of which there must be n messages.
func (d *desk) sent(t *testing.T, n int) []*azservicebus.ReceivedMessage {
	t.Helper()
	depth, _ := d.broker.Depth(queue)
	require.Equal(t, n, depth.Active)
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client, err := azservicebus.NewClientFromConnectionString(d.broker.Connection, nil)
	require.NoError(t, err)
	defer func() { _ = client.Close(context.Background()) }()
	receiver, err := client.NewReceiverForQueue(queue, nil)
	require.NoError(t, err)
	list, err := receiver.ReceiveMessages(ctx, n, nil)
	require.NoError(t, err)
	for _, m := range list {
		require.NoError(t, receiver.CompleteMessage(ctx, m, nil))
	}
	return list
}

func TestDeadLetterHandedOverTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	m := servicebus.Received{MessageID: "m", SequenceNumber: 1, Body: []byte("a")}
	other := servicebus.Received{MessageID: "m", SequenceNumber: 2, Body: []byte("b")} // an equal id, another message
	require.NoError(t, d.ops.Record(t.Context(), queue, []servicebus.Received{m, other}))
	require.NoError(t, d.ops.Record(t.Context(), queue, []servicebus.Received{m, other, m}))
	var page ops.DeadLetterPage
	d.get(t, "/dead-letters", &page)
	require.Len(t, page.Items, 2)
	assert.ElementsMatch(t, []string{"a", "b"}, []string{page.Items[0].Body, page.Items[1].Body})
}

func TestDeadLetterIsShownWhole(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	got := d.record(t, servicebus.Received{
		MessageID: "m-1", Subject: "s", ContentType: "application/json", DeliveryCount: 10, EnqueuedTime: at, Body: []byte(`{"ü": 1}`),
		ApplicationProperties: map[string]any{"DeadLetterReason": "MaxDeliveryCountExceeded", "DeadLetterErrorDescription": "too often", "id": json.Number("9007199254740993")},
	})
	assert.Equal(t, []any{queue, "m-1", "s", "application/json", int64(10), "MaxDeliveryCountExceeded", "too often", `{"ü": 1}`},
		[]any{got.Entity, got.MessageID, got.Subject, got.ContentType, got.DeliveryCount, got.Reason, got.Description, got.Body})
	assert.True(t, at.Equal(*got.EnqueuedAt))
	assert.Nil(t, got.RedrivenAt)
	assert.Nil(t, got.BodyBase64)
	binary := d.record(t, servicebus.Received{MessageID: "m-2", Body: []byte{0xff, 0}})
	assert.Equal(t, []byte{0xff, 0}, binary.BodyBase64)
	assert.Empty(t, binary.Body)
	assert.Nil(t, binary.EnqueuedAt)
	assert.NotNil(t, binary.Properties)
}

// A message that can't be kept would come back for ever, with its whole batch.
func TestWhatTheDatabaseCannotHoldIsKeptAsNearAsItCan(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, properties := range map[string]map[string]any{
		"channel": {"x": make(chan int), "good": "kept"},
		"zero":    {"x": "a\x00b", "y\x00": "z", "list": []any{"\x00"}, "good": "kept"},
		"number":  {"x": json.Number("1e200000"), "good": "kept"},
	} {
		got := d.record(t, servicebus.Received{MessageID: name, Body: []byte("a\x00b"), ApplicationProperties: properties})
		assert.Equal(t, "kept", got.Properties["good"], name)
		assert.Equal(t, "a\x00b", got.Body, name)
	}
	got := d.record(t, servicebus.Received{
		MessageID: "m\x00", Subject: "s\xff", ContentType: "c\x00",
		ApplicationProperties: map[string]any{"DeadLetterReason": "r\x00", "DeadLetterErrorDescription": "d\xff"},
	})
	assert.Equal(t, []string{"m\uFFFD", "s\uFFFD", "c\uFFFD", "r\uFFFD", "d\uFFFD"}, []string{got.MessageID, got.Subject, got.ContentType, got.Reason, got.Description})
}

func TestPoisonIsRecordedWithItsCause(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.NoError(t, d.ops.RecordPoison(t.Context(), queue, servicebus.Received{
		MessageID: "p", Body: []byte("?"), ApplicationProperties: map[string]any{"k": "v", "DeadLetterReason": "theirs"},
	}, assert.AnError))
	var page ops.DeadLetterPage
	d.get(t, "/dead-letters", &page)
	require.Len(t, page.Items, 1)
	assert.Equal(t, "unreadable", page.Items[0].Reason)
	assert.Equal(t, assert.AnError.Error(), page.Items[0].Description)
	assert.Equal(t, "v", page.Items[0].Properties["k"])
}

func TestDeadLettersAreListedInPages(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for n := range int64(5) {
		require.NoError(t, d.ops.Record(t.Context(), queue, []servicebus.Received{{MessageID: string(rune('a' + n)), SequenceNumber: n}}))
		// Ids of one millisecond have no order, so each gets a time of its own.
		d.Exec(t, `UPDATE dead_letters SET id = $1 WHERE sequence_number = $2`, postgres.NewID(time.UnixMilli(n+1)), n)
	}
	var seen, cursor string
	for range 3 {
		var page ops.DeadLetterPage
		d.get(t, "/dead-letters?pageSize=2&cursor="+cursor, &page)
		for _, item := range page.Items {
			seen += item.MessageID
		}
		cursor = page.NextCursor
	}
	assert.Equal(t, "edcba", seen)
	assert.Empty(t, cursor)
	got := d.Do(t, kit.Call{Method: http.MethodGet, Path: base + "/dead-letters?cursor=x", Token: d.admin})
	assert.Equal(t, http.StatusBadRequest, got.Status)
}

func TestCX13RedriveIsANewMessageAndMarked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, body := range [][]byte{[]byte(`{"a": "ü"}`), {0xff, 0xfe, 0}} {
		letter := d.record(t, servicebus.Received{
			MessageID: "old", Subject: "s", ContentType: "application/json", Body: body,
			ApplicationProperties: map[string]any{
				"text": "t", "id": json.Number("9007199254740993"), "half": json.Number("0.5"), "yes": true, "none": nil,
				"DeadLetterReason": "r", "DeadLetterErrorDescription": "d",
			},
		})
		first := d.post(t, "/dead-letters/"+letter.ID.String()+"/redrive", letter.ID.String())
		require.Equal(t, http.StatusOK, first.Status, "%s", first.Body)
		again := d.post(t, "/dead-letters/"+letter.ID.String()+"/redrive", letter.ID.String())
		assert.Equal(t, first.Body, again.Body)
		m := d.sent(t, 1)[0] // the replay sent nothing
		assert.NotEqual(t, "old", m.MessageID)
		assert.NotEmpty(t, m.MessageID)
		assert.Equal(t, body, m.Body)
		assert.Equal(t, []string{"s", "application/json"}, []string{*m.Subject, *m.ContentType})
		assert.Equal(t, map[string]any{"text": "t", "id": int64(9007199254740993), "half": 0.5, "yes": true}, m.ApplicationProperties)
		d.get(t, "/dead-letters/"+letter.ID.String(), &letter)
		assert.NotNil(t, letter.RedrivenAt)
	}
	var page ops.DeadLetterPage
	d.get(t, "/dead-letters", &page)
	assert.Empty(t, page.Items, "what was sent again waits for nobody")
}

func TestRedriveWithoutABrokerMarksNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	letter := d.record(t, servicebus.Received{MessageID: "m", Body: []byte("x")})
	require.NoError(t, d.broker.FailSends(queue, standin.Fault{Condition: "com.microsoft:server-busy", Times: 2})) // the client tries twice
	path := "/dead-letters/" + letter.ID.String() + "/redrive"
	got := d.post(t, path, "k")
	assert.Equal(t, http.StatusServiceUnavailable, got.Status, "%s", got.Body)
	assert.Contains(t, got.Header.Get("Content-Type"), "application/problem+json")
	assert.Contains(t, got.JSON(t)["type"], "dependency-unavailable")
	assert.Zero(t, kit.One[int](t, d.Database, `SELECT count(*) FROM dead_letters WHERE redriven_at IS NOT NULL`))
	assert.Equal(t, http.StatusOK, d.post(t, path, "k").Status, "the key is free for another try")
	d.sent(t, 1)
}

func TestRedriveOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	assert.Equal(t, http.StatusNotFound, d.post(t, "/dead-letters/"+uuid.NewString()+"/redrive", "a").Status)
	got := d.Do(t, kit.Call{Method: http.MethodGet, Path: base + "/dead-letters/" + uuid.NewString(), Token: d.admin})
	assert.Equal(t, http.StatusNotFound, got.Status)
	require.NoError(t, d.ops.Record(t.Context(), "gone", []servicebus.Received{{MessageID: "m"}}))
	id := kit.One[uuid.UUID](t, d.Database, `SELECT id FROM dead_letters`)
	assert.Equal(t, http.StatusNotFound, d.post(t, "/dead-letters/"+id.String()+"/redrive", "b").Status, "nothing sends to it")
}

func TestADiscardedLetterWaitsForNobodyAndIsKept(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	letter := d.record(t, servicebus.Received{MessageID: "m", Body: []byte("x")})
	path := base + "/dead-letters/" + letter.ID.String()
	discard := func(key, reason string) kit.Reply {
		t.Helper()
		return d.Do(t, kit.Call{Method: http.MethodPost, Path: path + "/discard", Token: d.admin, Key: key, Body: map[string]any{"reason": reason}})
	}
	assert.Equal(t, http.StatusUnprocessableEntity, discard("empty", "").Status, "why must be said")
	first := discard("k", "nobody can read it")
	require.Equal(t, http.StatusOK, first.Status, "%s", first.Body)
	assert.NotEmpty(t, first.JSON(t)["discardedAt"])
	assert.Equal(t, first.Body, discard("k", "nobody can read it").Body)
	assert.Equal(t, http.StatusConflict, discard("another", "again").Status)
	var page ops.DeadLetterPage
	d.get(t, "/dead-letters", &page)
	assert.Empty(t, page.Items)
	require.Equal(t, http.StatusOK, d.post(t, "/dead-letters/"+letter.ID.String()+"/redrive", "r").Status, "who changes their mind may")
	d.sent(t, 1)
}

func TestOperationsAreForAdmins(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	letter := d.record(t, servicebus.Received{MessageID: "m"})
	token := d.Token(t, "customer", kit.Everything+" webhook:manage")
	for _, c := range []kit.Call{
		{Method: http.MethodGet, Path: "/dead-letters"},
		{Method: http.MethodGet, Path: "/dead-letters/" + letter.ID.String()},
		{Method: http.MethodPost, Path: "/dead-letters/" + letter.ID.String() + "/redrive"},
		{Method: http.MethodPost, Path: "/dead-letters/" + letter.ID.String() + "/discard", Body: map[string]any{"reason": "no use"}},
		{Method: http.MethodGet, Path: "/parked-events"},
		{Method: http.MethodPost, Path: "/parked-events/" + letter.ID.String() + "/release"},
	} {
		c.Path, c.Token, c.Key = base+c.Path, token, "k"
		assert.Equal(t, http.StatusForbidden, d.Do(t, c).Status, c.Path)
	}
	d.sent(t, 0)
}

func TestCX03ReleaseSendsParkedEventsInOrder(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := uuid.New()
	happen := func(sequences ...int64) {
		for _, n := range sequences {
			now := time.Now()
			require.NoError(t, d.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
				return outbox.Insert(t.Context(), tx, events.Event{
					ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: a}, Sequence: n, Time: now,
				})
			}))
		}
	}
	happen(1, 2, 3)
	// The batch, and then its first message alone; the client tries each of them twice.
	require.NoError(t, d.broker.FailSends(servicebus.TopicOrderEvents, standin.Fault{Condition: "com.microsoft:argument-error", Times: 4}))
	require.NoError(t, d.drain.Sweep(t.Context()))
	var seen []int64
	for cursor, more := "", true; more; more = cursor != "" {
		var page ops.ParkedPage
		d.get(t, "/parked-events?pageSize=2&cursor="+cursor, &page)
		for _, e := range page.Items {
			seen = append(seen, e.Sequence)
			assert.Equal(t, a, e.AggregateID)
			assert.False(t, e.Released)
			assert.NotEmpty(t, e.Reason)
			assert.Positive(t, e.Bytes)
		}
		cursor = page.NextCursor
	}
	require.Equal(t, []int64{1, 2, 3}, seen)

	happen(4)
	got := d.post(t, "/parked-events/"+a.String()+"/release", "k")
	require.Equal(t, http.StatusAccepted, got.Status, "%s", got.Body)
	assert.InEpsilon(t, 3, got.JSON(t)["count"], 0)
	assert.Equal(t, []uuid.UUID{a}, d.nudged)
	require.NoError(t, d.drain.Sweep(t.Context()))
	var order []string
	for _, m := range d.broker.Events(t, 4) {
		var e struct{ Sequence string }
		require.NoError(t, json.Unmarshal(m.Body, &e))
		order = append(order, e.Sequence)
	}
	assert.Equal(t, "1 2 3 4", strings.Join(order, " "))
	assert.Equal(t, http.StatusNotFound, d.post(t, "/parked-events/"+a.String()+"/release", "k2").Status, "nothing is parked any more")
}

func TestPurgeLeavesWhatIsYoungOrWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for n, age := range []string{"NULL", "now() - interval '89 days'", "now() - interval '91 days'", "now() - interval '92 days'"} {
		require.NoError(t, d.ops.Record(t.Context(), queue, []servicebus.Received{{SequenceNumber: int64(n)}}))
		d.Exec(t, `UPDATE dead_letters SET received_at = now() - interval '1 year', redriven_at = `+age+` WHERE sequence_number = $1`, n)
		require.NoError(t, d.ops.Record(t.Context(), queue, []servicebus.Received{{SequenceNumber: int64(10 + n)}}))
		d.Exec(t, `UPDATE dead_letters SET received_at = now() - interval '1 year', discarded_at = `+age+` WHERE sequence_number = $1`, 10+n)
	}
	for _, want := range []int{1, 1, 1, 1, 0} {
		n, err := d.ops.Purge(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
	assert.Equal(t, "0 1 10 11", kit.One[string](t, d.Database, `SELECT string_agg(sequence_number::text, ' ' ORDER BY sequence_number) FROM dead_letters`))
}
