package outbox_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

const topic = servicebus.TopicOrderEvents

// shop is a database, a broker and a drain between them.
type shop struct {
	*kit.Database
	broker *kit.Broker
	drain  *outbox.Drain
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{Database: kit.NewDatabase(t), broker: kit.NewBroker(t)}
	s.drain = s.newDrain(t, s.Pools)
	return s
}

func (s *shop) newDrain(t *testing.T, pools *postgres.Pools) *outbox.Drain {
	t.Helper()
	d, err := outbox.NewDrain(pools.Drain, s.broker.Client(t).Sender(topic), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return d
}

// happen stores events of an aggregate with the given sequences, one transaction each.
func (s *shop) happen(t *testing.T, aggregate uuid.UUID, data any, sequences ...int64) {
	t.Helper()
	for _, n := range sequences {
		require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
			return outbox.Insert(t.Context(), tx, event(aggregate, n, data))
		}))
	}
}

func event(aggregate uuid.UUID, sequence int64, data any) events.Event {
	now := time.Now()
	return events.Event{
		ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: aggregate},
		Sequence: sequence, Time: now, Data: data,
	}
}

// sweep drains what is there; a broker that cuts connections may need more than one try.
func (s *shop) sweep(t *testing.T) {
	t.Helper()
	require.NoError(t, s.drain.Sweep(t.Context()))
}

func sequences(messages []*azservicebus.ReceivedMessage, aggregate uuid.UUID) (list []int64) {
	for _, m := range messages {
		if m.ApplicationProperties["aggregate"] == aggregate.String() {
			list = append(list, m.ApplicationProperties["sequence"].(int64))
		}
	}
	return list
}

func TestEventsGoOutWithTheirBytesAndIDs(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": trace})
	e := event(uuid.New(), 7, map[string]any{"z": 1, "a": "ü"})
	require.NoError(t, s.Pools.Orders.Tx(ctx, func(tx pgx.Tx) error { return outbox.Insert(ctx, tx, e) }))
	s.sweep(t)

	m := s.broker.Events(t, 1)[0]
	assert.Equal(t, e.ID.String(), m.MessageID)
	assert.Equal(t, events.OrderCreated, *m.Subject)
	assert.Equal(t, "application/cloudevents+json; charset=utf-8", *m.ContentType)
	assert.Equal(t, e.Aggregate.ID.String(), *m.PartitionKey)
	assert.Equal(t, map[string]any{"aggregate": e.Aggregate.ID.String(), "sequence": int64(7), "traceparent": trace, "Diagnostic-Id": trace}, m.ApplicationProperties)
	assert.Equal(t, kit.One[[]byte](t, s.Database, "SELECT payload FROM outbox"), m.Body)
	assert.Contains(t, string(m.Body), `"traceparent":"`+trace+`"`)
	assert.Equal(t, m.Body, kit.One[[]byte](t, s.Database, "SELECT payload FROM feed WHERE number = 1"))
	assert.True(t, kit.One[bool](t, s.Database, "SELECT processed_at IS NOT NULL FROM outbox"))
}

func TestNudgeSendsAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.drain.Run(ctx); close(ended) }()
	aggregate := uuid.New()
	s.happen(t, aggregate, nil, 1)
	s.drain.Nudge(aggregate)
	assert.Equal(t, []int64{1}, sequences(s.broker.Events(t, 1), aggregate))
	assert.Eventually(t, func() bool { return kit.One[int](t, s.Database, "SELECT count(*) FROM feed") == 1 }, 5*time.Second, 10*time.Millisecond)
	stop()
	<-ended
}

func TestBatchLargerThanAMessageIsSplitInOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	aggregate := uuid.New()
	var all []int64
	for n := int64(1); n <= 12; n++ { // 12 times 40 KB: at least two batches
		all = append(all, n)
	}
	s.happen(t, aggregate, strings.Repeat("x", 40<<10), all...)
	s.sweep(t)
	assert.Equal(t, all, sequences(s.broker.Events(t, 12), aggregate))
}

func TestPoisonParksItsAggregateOnly(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	good, bad := uuid.New(), uuid.New()
	s.happen(t, bad, nil, 1)
	s.happen(t, bad, strings.Repeat("x", standin.MaxMessageSize), 2)
	s.happen(t, bad, nil, 3)
	s.happen(t, good, nil, 1, 2, 3)
	s.sweep(t)
	came := s.broker.Events(t, 4)
	assert.Equal(t, []int64{1, 2, 3}, sequences(came, good))
	assert.Equal(t, []int64{1}, sequences(came, bad))

	s.happen(t, bad, nil, 4)
	s.happen(t, good, nil, 4)
	s.sweep(t)
	assert.Equal(t, []int64{4}, sequences(s.broker.Events(t, 1), good), "a later event must wait behind its parked one")
	list, err := outbox.ListParked(t.Context(), s.Pools.Reads, uuid.Nil, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 3)
	for i, p := range list {
		assert.Equal(t, bad, p.Aggregate)
		assert.Equal(t, int64(i+2), p.Sequence)
		assert.False(t, p.Released)
	}
	assert.Contains(t, list[0].Reason, "too large")
	assert.Zero(t, kit.One[int](t, s.Database, "SELECT count(*) FROM outbox WHERE processed_at IS NULL"))
	assert.Equal(t, 5, kit.One[int](t, s.Database, "SELECT count(*) FROM feed"), "what is parked is not published")
}

// refuse has the broker refuse the next n sends for what they hold. The client tries each of them twice.
func (s *shop) refuse(t *testing.T, n int) {
	t.Helper()
	require.NoError(t, s.broker.FailSends(topic, standin.Fault{Condition: "com.microsoft:argument-error", Times: 2 * n}))
}

// release is what an operator does.
func (s *shop) release(t *testing.T, aggregate uuid.UUID) {
	t.Helper()
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		n, err := outbox.Release(t.Context(), tx, aggregate)
		assert.Positive(t, n)
		return err
	}))
}

func TestCX03ReleasedEventsGoBeforeNewerOnes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a, other := uuid.New(), uuid.New()
	s.happen(t, other, strings.Repeat("x", standin.MaxMessageSize), 1)
	s.sweep(t)
	s.refuse(t, 2) // the batch, and then its first message alone
	s.happen(t, a, nil, 5, 6)
	s.sweep(t)
	require.Equal(t, 3, kit.One[int](t, s.Database, "SELECT count(*) FROM outbox_parked"))

	s.happen(t, a, nil, 7)
	s.release(t, a)
	s.happen(t, a, nil, 8)
	s.sweep(t)
	assert.Equal(t, []int64{5, 6, 7, 8}, sequences(s.broker.Events(t, 4), a))
	assert.Equal(t, []uuid.UUID{other}, kit.One[[]uuid.UUID](t, s.Database, "SELECT array_agg(aggregate_id) FROM outbox_parked WHERE sent_at IS NULL"),
		"numbered events leave, and nobody else's")
	assert.Equal(t, "5 6 7 8", kit.One[string](t, s.Database,
		`SELECT string_agg(convert_from(payload, 'UTF8')::jsonb->>'sequence', ' ' ORDER BY number) FROM feed`))
}

func TestCX03ReleaseWaitsForTheDrainAtItsShard(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a := uuid.New()
	s.refuse(t, 1)
	s.happen(t, a, nil, 1)
	s.sweep(t)

	// A drain is in the middle of a send of the same shard: it has read that the aggregate is parked.
	require.NoError(t, s.broker.FailSends(topic, standin.Fault{Delay: 700 * time.Millisecond}))
	other := sameShard(a)
	s.happen(t, other, nil, 1)
	swept := make(chan error, 1)
	go func() { swept <- s.drain.Sweep(t.Context()) }()
	require.Eventually(t, func() bool {
		return kit.One[bool](t, s.Database, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
			WHERE datname = current_database() AND locktype = 'advisory' AND classid = 7072 AND objid = $1 AND granted)`, outbox.ShardOf(a))
	}, 5*time.Second, time.Millisecond)
	began := time.Now()
	s.release(t, a)
	assert.Greater(t, time.Since(began), 200*time.Millisecond, "the release did not wait for the shard's lock")
	require.NoError(t, <-swept)
	s.sweep(t)
	assert.Len(t, s.broker.Events(t, 2), 2)
}

// sameShard finds another aggregate of the same shard. The shard is a function of the id alone.
func sameShard(a uuid.UUID) uuid.UUID {
	for {
		if b := uuid.New(); outbox.ShardOf(b) == outbox.ShardOf(a) {
			return b
		}
	}
}

func TestReleasedEventRefusedAgainIsParkedAgain(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a, other := uuid.New(), uuid.New()
	for outbox.ShardOf(other) == outbox.ShardOf(a) {
		other = uuid.New()
	}
	huge := strings.Repeat("x", standin.MaxMessageSize)
	s.happen(t, a, huge, 1)
	s.happen(t, a, nil, 2)
	s.happen(t, other, huge, 1)
	s.sweep(t)
	s.release(t, a)
	s.release(t, other)
	s.happen(t, a, nil, 3)
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error { // another drain is at the other one's shard
		if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(7072, $1)`, outbox.ShardOf(other)); err != nil {
			return err
		}
		s.sweep(t)
		return nil
	}))
	const parked = "SELECT count(*) FROM outbox_parked WHERE released_at IS NULL AND sent_at IS NULL AND aggregate_id = $1"
	assert.Equal(t, 3, kit.One[int](t, s.Database, parked, a))
	assert.Zero(t, kit.One[int](t, s.Database, parked, other), "what became of the one is nothing to the other")
	assert.Zero(t, kit.One[int](t, s.Database, "SELECT count(*) FROM feed"))
}

func TestEventsWaitForABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a := uuid.New()
	s.happen(t, a, nil, 1, 2)
	for _, condition := range []string{"com.microsoft:server-busy", "amqp:unauthorized-access", "amqp:not-found", "amqp:internal-error"} {
		require.NoError(t, s.broker.FailSends(topic, standin.Fault{Condition: condition, Times: 3}))
		for range 3 {
			if s.drain.Sweep(t.Context()) == nil {
				break
			}
		}
	}
	require.Eventually(t, func() bool { return s.drain.Sweep(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
	assert.Equal(t, []int64{1, 2}, sequences(s.broker.Events(t, 2), a))
	assert.Zero(t, kit.One[int](t, s.Database, "SELECT count(*) FROM outbox_parked"), "a broker's bad hour is nobody's fault")
}

func TestLostAnswerRepeatsWithTheSameID(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a := uuid.New()
	s.happen(t, a, nil, 1, 2)
	// The broker has them and the sender can't know: the client asks again by itself, then the drain does.
	require.NoError(t, s.broker.FailSends(topic, standin.Fault{Drop: true, Times: 2}))
	require.Eventually(t, func() bool { return s.drain.Sweep(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
	came := s.broker.Events(t, 2)
	assert.Equal(t, []int64{1, 2}, sequences(came, a), "the topic drops a repeat by its id")
	depth, _ := s.broker.Depth(topic + "/Subscriptions/" + servicebus.SubscriptionWebhooks)
	assert.Zero(t, depth.Active)
}

func TestRunFindsWhatItWasNotToldOf(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var want []int64
	aggregate := uuid.New()
	for n := range int64(250) { // more than a pass reads
		want = append(want, n+1)
	}
	s.happen(t, aggregate, nil, want...)
	s.sweep(t)
	assert.Equal(t, want, sequences(s.broker.Events(t, len(want)), aggregate))
	assert.Equal(t, strconv.Itoa(len(want)), kit.One[string](t, s.Database, "SELECT max(number)::text FROM feed"))
}

// A queue without duplicate detection shows every send.
func TestDrainsDoNotRepeatEachOther(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx, stop := context.WithCancel(t.Context())
	var working, draining sync.WaitGroup
	for range 4 {
		d, err := outbox.NewDrain(s.Open(t).Drain, s.broker.Client(t).Sender(servicebus.QueueOrderRequests), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		draining.Go(func() {
			for ctx.Err() == nil {
				if err := d.Sweep(ctx); ctx.Err() == nil {
					assert.NoError(t, err)
				}
			}
		})
	}
	const aggregates, each = 8, 60
	for range aggregates {
		working.Go(func() {
			for id, n := uuid.New(), int64(1); n <= each; n++ {
				s.happen(t, id, nil, n)
			}
		})
	}
	working.Wait()
	assert.Eventually(t, func() bool {
		return kit.One[int](t, s.Database, "SELECT count(*) FROM outbox WHERE processed_at IS NULL") == 0
	}, 20*time.Second, 10*time.Millisecond)
	stop()
	draining.Wait()
	depth, _ := s.broker.Depth(servicebus.QueueOrderRequests)
	assert.Equal(t, aggregates*each, depth.Active)
}

// A sweep works on goroutines of its own: a panic there would end the process, and three of them the host.
func TestAPanicInAPassIsAnError(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	broken, err := outbox.NewDrain(s.Pools.Drain, nil, slog.New(slog.DiscardHandler)) // no sender: sending panics
	require.NoError(t, err)
	a := uuid.New()
	s.happen(t, a, nil, 1)
	require.ErrorContains(t, broken.Sweep(t.Context()), "panic")
	// The pool closes the connection that the panic left in a transaction, on a goroutine of its own.
	require.Eventually(t, func() bool {
		return kit.One[int](t, s.Database, `SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
			WHERE datname = current_database() AND locktype = 'advisory' AND classid = 7072`) == 0
	}, 10*time.Second, 5*time.Millisecond)
	s.sweep(t)
	assert.Equal(t, []int64{1}, sequences(s.broker.Events(t, 1), a), "nothing was lost, and nothing is still locked")
}

// A sweep over a connection that the database has cut says so, or has done its work on another one: that nothing could be
// locked is not that somebody else is at it.
func TestACutConnectionIsNoOtherDrain(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.sweep(t) // opens the connection
	a := uuid.New()
	s.happen(t, a, nil, 1)
	admin, err := pgx.Connect(t.Context(), os.Getenv("TEST_DATABASE_URL"))
	require.NoError(t, err)
	_, err = admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, kit.One[string](t, s.Database, `SELECT current_database()`))
	require.NoError(t, errors.Join(err, admin.Close(t.Context())))
	if err := s.drain.Sweep(t.Context()); err != nil {
		require.ErrorIs(t, err, postgres.ErrUnavailable)
		s.sweep(t)
	}
	assert.Equal(t, []int64{1}, sequences(s.broker.Events(t, 1), a))
}

// What fails is tried again, later each time: the database and the broker need time more than questions. Here each pass
// panics, which costs its connection, so that the database knows how many there were.
func TestADrainThatFailsTakesItsTime(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	broken, err := outbox.NewDrain(s.Pools.Drain, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	a := uuid.New()
	s.happen(t, a, nil, 1)
	sessions := func() int {
		return kit.One[int](t, s.Database, `SELECT sessions FROM pg_stat_database WHERE datname = current_database()`)
	}
	before := sessions()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	broken.Nudge(a)
	go func() {
		defer close(done)
		broken.Run(ctx)
	}()
	time.Sleep(2 * time.Second) // time enough for a hundred passes that would not wait
	require.Eventually(t, func() bool { return sessions() > before+1 }, 20*time.Second, 50*time.Millisecond)
	cancel()
	<-done
	assert.Less(t, sessions()-before, 15, "50 ms, 100, 200, and so on")
}
