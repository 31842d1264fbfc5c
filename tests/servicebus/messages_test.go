package servicebus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestABatchOfAHundredArrivesWholeAndInOrder(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s := b.sender(t, topic)
	batch, err := s.NewMessageBatch(t.Context(), nil)
	require.NoError(t, err)
	body := make([]byte, 1500)
	for i := range body {
		body[i] = byte(rand.IntN(256))
	}
	for i := range 100 {
		m := message(t, fmt.Sprintf("%03d", i))
		m.Body = append(body[:len(body):len(body)], byte(i))
		m.PartitionKey = to("aggregate")
		m.Subject, m.ContentType, m.CorrelationID = to("order.created.v1"), to("application/cloudevents+json"), to("trace")
		m.ApplicationProperties = map[string]any{"sequence": int64(i), "text": "häßlich", "flag": true}
		require.NoError(t, batch.AddMessage(m, nil))
	}
	require.NoError(t, s.SendMessageBatch(t.Context(), batch, nil))

	r := b.receiver(t, topic, nil)
	sequence := int64(-1)
	for i, m := range take(t, r, 100) {
		require.Equal(t, fmt.Sprintf("%03d", i), name(m))
		assert.Equal(t, append(body[:len(body):len(body)], byte(i)), m.Body, "exact bytes: signatures are made over them")
		assert.Equal(t, map[string]any{"sequence": int64(i), "text": "häßlich", "flag": true}, m.ApplicationProperties)
		assert.Equal(t, to("aggregate"), m.PartitionKey)
		assert.Equal(t, to("order.created.v1"), m.Subject)
		assert.Equal(t, to("application/cloudevents+json"), m.ContentType)
		assert.Equal(t, to("trace"), m.CorrelationID)
		assert.Equal(t, uint32(1), m.DeliveryCount)
		assert.WithinDuration(t, b.now(), *m.EnqueuedTime, time.Minute)
		assert.Greater(t, *m.SequenceNumber, sequence)
		sequence = *m.SequenceNumber
		completed(t, r, m)
	}
}

func to[T any](v T) *T { return &v }

func TestWhatOneSenderSendsArrivesInItsOrder(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	var sent []string
	for i := range 200 {
		sent = append(sent, fmt.Sprint(i))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, id := range sent {
			if !assert.NoError(t, s.SendMessage(t.Context(), message(t, id), nil)) {
				return
			}
		}
	}()
	var got []string
	for len(got) < len(sent) {
		m := takeOne(t, r)
		got = append(got, name(m))
		completed(t, r, m)
	}
	<-done
	assert.Equal(t, sent, got)
}

func TestACompletedMessageIsGone(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "a")
	completed(t, r, takeOne(t, r))
	left, err := r.PeekMessages(t.Context(), 10, nil)
	require.NoError(t, err)
	assert.Empty(t, left)
	nothingBefore(t, s, r)
}

func TestReceiveAndDelete(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s := b.sender(t, queue)
	r := b.receiver(t, queue, &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	send(t, s, "a", "b")
	assert.Equal(t, []string{"a", "b"}, ids(take(t, r, 2)))
	left, err := r.PeekMessages(t.Context(), 10, nil)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestPeekShowsAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "a", "b", "c")
	first, err := r.PeekMessages(t.Context(), 2, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, ids(first))
	rest, err := r.PeekMessages(t.Context(), 10, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"c"}, ids(rest), "it goes on where it was")
	for _, m := range take(t, r, 3) {
		assert.Equal(t, uint32(1), m.DeliveryCount)
		completed(t, r, m)
	}
}

// TestDuplicates is half of "no event lost": the outbox sends again what it isn't sure of, and the topic drops it. The
// two queues must not: a wake-up with a used id would be swallowed.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	send(t, s, "event-1", "event-1", "event-2")
	batch, err := s.NewMessageBatch(t.Context(), nil)
	require.NoError(t, err)
	for _, id := range []string{"event-2", "event-3", "event-3"} {
		require.NoError(t, batch.AddMessage(message(t, id), nil))
	}
	require.NoError(t, s.SendMessageBatch(t.Context(), batch, nil))
	got := take(t, r, 3)
	assert.Equal(t, []string{"event-1", "event-2", "event-3"}, ids(got))
	completed(t, r, got...)
	send(t, s, "event-1") // also after it was completed
	nothingBefore(t, s, r)
	if b.standIn != nil { // elsewhere it would take as long as it says
		b.pass(t, 6*time.Minute) // the window is five
		send(t, s, "event-1")
		m := takeOne(t, r)
		assert.Equal(t, "event-1", name(m))
		completed(t, r, m)
	}

	for _, q := range []string{queue, requests} {
		s, r := b.sender(t, q), b.receiver(t, q, nil)
		send(t, s, "wake-up", "wake-up")
		got := take(t, r, 2)
		assert.Equal(t, []string{"wake-up", "wake-up"}, ids(got), q)
		completed(t, r, got...)
	}
}

func TestOversize(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	m := message(t, "too large")
	m.Body = make([]byte, 256<<10)
	err := s.SendMessage(t.Context(), m, nil)
	require.ErrorIs(t, err, azservicebus.ErrMessageTooLarge)
	batch, err := s.NewMessageBatch(t.Context(), nil)
	require.NoError(t, err)
	m.Body = make([]byte, 100<<10)
	added := 0
	for err == nil {
		require.Less(t, added, 10)
		if err = batch.AddMessage(m, nil); err == nil {
			added++
		}
	}
	require.ErrorIs(t, err, azservicebus.ErrMessageTooLarge)
	assert.Equal(t, 2, added, "of 100 KB in a batch of 256 KB")
	require.NoError(t, s.SendMessageBatch(t.Context(), batch, nil), "the sender lives on")
	for _, m := range take(t, r, 2) {
		assert.Len(t, m.Body, 100<<10)
		completed(t, r, m)
	}
	nothingBefore(t, s, r)
}

// TestTheLargestMessageArrives: what a broker adds to a message doesn't make it too large to be received.
func TestTheLargestMessageArrives(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	m := message(t, "large")
	for size := 256 << 10; ; size -= 16 {
		m.Body = make([]byte, size)
		err := s.SendMessage(t.Context(), m, nil)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, azservicebus.ErrMessageTooLarge)
		require.Greater(t, size, 255<<10)
	}
	got := takeOne(t, r)
	assert.Equal(t, m.Body, got.Body)
	settled(t, func(ctx context.Context) error { return r.DeadLetterMessage(ctx, got, nil) })
	dead := b.receiver(t, queue, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	got = takeOne(t, dead)
	assert.Equal(t, m.Body, got.Body)
	completed(t, dead, got)
}

func TestAnUnknownEntityIsNotFound(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := b.sender(t, "no-such-queue").SendMessage(ctx, message(t, "a"), nil)
	var sb *azservicebus.Error
	require.ErrorAs(t, err, &sb)
	assert.Equal(t, azservicebus.CodeNotFound, sb.Code)
}
