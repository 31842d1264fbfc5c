package servicebus

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// configured makes a broker with an entity of each kind over a journal.
func configured(t *testing.T, o Options) *Broker {
	t.Helper()
	b := newBroker(t, o)
	require.NoError(t, b.CreateQueue("q", Properties{MaxDeliveryCount: 5}))
	require.NoError(t, b.CreateQueue("sessions", Properties{RequiresSession: true}))
	require.NoError(t, b.CreateTopic("t", Properties{DuplicateWindow: 24 * time.Hour}))
	require.NoError(t, b.CreateSubscription("t", "s", Properties{}))
	return b
}

// TestEverythingOutlivesARestart puts a message into each state a message can be in. Restarts are by Close here; by
// kill -9 in tests/servicebus.
func TestEverythingOutlivesARestart(t *testing.T) {
	t.Parallel()
	for name, compact := range map[string]int64{"as it was written": 0, "compacted": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := &clock{}
			o := Options{Journal: journalIn(t), Now: clock.now, CompactAfter: compact, Fsync: true}
			b := configured(t, o)
			numbers := fill(t, b, clock)
			if compact > 0 {
				compacted(t, b)
			}
			require.NoError(t, b.Close())
			b = configured(t, o)
			if compact > 0 {
				compacted(t, b)
				require.NoError(t, b.Close())
				b = configured(t, o)
			}
			verify(t, b, clock, numbers)
		})
	}
}

func compacted(t *testing.T, b *Broker) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.compacted = 0
	b.compact()
	require.Positive(t, b.compacted)
}

func fill(t *testing.T, b *Broker, clock *clock) (deferred int64) {
	t.Helper()
	c := client(t, b)
	ctx := t.Context()
	r, err := c.NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	buried, gone, later, again := az("buried"), az("gone"), az("later"), az("again")
	later.ScheduledEnqueueTime = to(clock.now().Add(time.Hour))
	send(t, c, "q", buried, gone, az("deferred"), again, later)
	got := take(t, r, 4)
	require.NoError(t, r.DeadLetterMessage(ctx, got[0], &azservicebus.DeadLetterOptions{Reason: to("why")}))
	require.NoError(t, r.CompleteMessage(ctx, got[1], nil))
	require.NoError(t, r.DeferMessage(ctx, got[2], &azservicebus.DeferMessageOptions{PropertiesToModify: map[string]any{"note": "kept"}}))
	require.NoError(t, r.AbandonMessage(ctx, got[3], nil))
	number := *got[2].SequenceNumber
	send(t, c, "q", az("last of all"))
	got = take(t, r, 2)
	require.NoError(t, r.CompleteMessage(ctx, got[1], nil))
	require.Equal(t, uint32(2), got[0].DeliveryCount, "and it is locked when the broker ends")

	inSession := az("in session")
	inSession.SessionID = to("id")
	send(t, c, "sessions", inSession)
	s, err := c.AcceptSessionForQueue(ctx, "sessions", "id", nil)
	require.NoError(t, err)
	require.NoError(t, s.SetSessionState(ctx, []byte("state"), nil))

	event := az("event")
	event.ApplicationProperties = map[string]any{"type": "order.created.v1"}
	event.TimeToLive = to(2 * time.Hour)
	send(t, c, "t", event)
	return number
}

func verify(t *testing.T, b *Broker, clock *clock, deferred int64) {
	t.Helper()
	c := client(t, b)
	ctx := t.Context()
	r, err := c.NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	m := take(t, r, 1)[0]
	assert.Equal(t, "again", m.MessageID)
	assert.Equal(t, "again", string(m.Body))
	assert.Equal(t, uint32(2), m.DeliveryCount, "the failed delivery counts, the interrupted one doesn't")
	require.NoError(t, r.CompleteMessage(ctx, m, nil))
	late, err := r.ReceiveDeferredMessages(ctx, []int64{deferred}, nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"note": "kept"}, late[0].ApplicationProperties)
	require.NoError(t, r.CompleteMessage(ctx, late[0], nil))

	send(t, c, "q", az("new"))
	m = take(t, r, 1)[0]
	assert.Equal(t, "new", m.MessageID)
	assert.Equal(t, int64(7), *m.SequenceNumber, "no number is given twice")
	clock.pass(61 * time.Minute)
	assert.Equal(t, []string{"later", "new"}, ids(take(t, r, 2)), "and the other's lock ran out meanwhile")

	dead, err := c.NewReceiverForQueue("q", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	require.NoError(t, err)
	m = take(t, dead, 1)[0]
	assert.Equal(t, "buried", m.MessageID)
	assert.Equal(t, to("why"), m.DeadLetterReason)
	assert.Equal(t, to("q"), m.DeadLetterSource)

	s, err := c.AcceptSessionForQueue(ctx, "sessions", "id", nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"in session"}, ids(take(t, s, 1)))
	state, err := s.GetSessionState(ctx, nil)
	require.NoError(t, err)
	assert.Equal(t, "state", string(state))

	send(t, c, "t", az("event"), az("other"))
	sub, err := c.NewReceiverForSubscription("t", "s", nil)
	require.NoError(t, err)
	got := take(t, sub, 2)
	assert.Equal(t, []string{"event", "other"}, ids(got), "the duplicate was known")
	assert.Equal(t, map[string]any{"type": "order.created.v1"}, got[0].ApplicationProperties)
	assert.Equal(t, to(2*time.Hour), got[0].TimeToLive)
}

func TestAnEntityThatIsLeftOutKeepsItsMessages(t *testing.T) {
	t.Parallel()
	o := Options{Journal: journalIn(t), CompactAfter: 1}
	b := configured(t, o)
	send(t, client(t, b), "q", az("a"))
	require.NoError(t, b.Close())

	b = newBroker(t, o) // with a configuration that doesn't name it
	compacted(t, b)
	require.NoError(t, b.Close())

	b = configured(t, o)
	r, err := client(t, b).NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, ids(take(t, r, 1)))
}

// TestTheJournalDoesNotGrowForEver sends and completes far more than the journal may hold.
func TestTheJournalDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	const limit = 100 << 10
	o := Options{Journal: journalIn(t), CompactAfter: limit}
	b := configured(t, o)
	c := client(t, b)
	send(t, c, "q", az("stays"))
	sub, err := c.NewReceiverForSubscription("t", "s", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	require.NoError(t, err)
	written := 0
	for i := range 20 {
		m := az(fmt.Sprint(i))
		m.Body = make([]byte, limit/2)
		send(t, c, "t", m)
		take(t, sub, 1)
		written += limit / 2
	}
	// It is rewritten when it has doubled, and one message may have been there when it last was.
	require.Eventually(t, func() bool { return sizeOf(t, o.Journal) < 2*limit }, patience, 5*time.Millisecond, "%d bytes were written", written)
	require.NoError(t, b.Close())

	b = configured(t, o)
	counts, _ := b.Depth("q")
	assert.Equal(t, 1, counts.Active)
	counts, _ = b.Depth("t/Subscriptions/s")
	assert.Zero(t, counts)
}

// TestNothingIsAcknowledgedThatCannotBeKept: when the disk fails, clients hear nothing rather than a lie.
func TestNothingIsAcknowledgedThatCannotBeKept(t *testing.T) {
	t.Parallel()
	b := configured(t, Options{Journal: journalIn(t)})
	r := dial(t, b)
	r.open()
	r.claim(b, "q")
	r.attachSender("q")
	require.NoError(t, b.journal.Close()) // as good as a broken disk
	r.perform(performTransfer, uint32(0), uint32(0), []byte("tag"), uint32(0), false, false)
	for {
		_, _, body, err := r.c.readFrame(r.in)
		if err != nil {
			break
		}
		assert.Empty(t, body, "it was answered")
	}
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.failure != nil
	}, patience, time.Millisecond)
}

func TestAForeignFileIsNoJournal(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Journal: filepath.Join(".", "config.json")})
	require.ErrorContains(t, err, "no journal")
}

// TestKilledInTheMiddleOfAWriteNothingSentAgainIsDropped cuts the journal off after each of its bytes, as a kill in the
// middle of a write may. A sender without an answer sends again: the message must be there then, whether the id was
// remembered or not.
func TestKilledInTheMiddleOfAWriteNothingSentAgainIsDropped(t *testing.T) {
	t.Parallel()
	path := journalIn(t)
	b := configured(t, Options{Journal: path})
	before := sizeOf(t, path)
	send(t, client(t, b), "t", az("first"), az("second"))
	require.NoError(t, b.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	for end := int(before); end <= len(whole); end++ {
		cut := journalIn(t)
		require.NoError(t, os.WriteFile(cut, whole[:end], 0o600))
		b := configured(t, Options{Journal: cut})
		b.mu.Lock()
		for _, id := range []string{"first", "second"} {
			list := make([]any, propMessageID+1)
			list[propMessageID] = id
			b.entities["t"].accept(&message{properties: amqp.Performative(sectionProperties, list...)})
		}
		b.mu.Unlock()
		there := map[any]bool{}
		for _, m := range b.entities[key("t/Subscriptions/s")].messages {
			there[m.ensureID()] = true
		}
		require.Len(t, there, 2, "with the journal's first %d of %d bytes", end, len(whole))
		require.NoError(t, b.Close())
	}
}
