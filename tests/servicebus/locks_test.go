package servicebus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnAbandonedMessageComesAgain(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	m := message(t, "a")
	m.ApplicationProperties = map[string]any{"kept": "yes"}
	require.NoError(t, s.SendMessage(t.Context(), m, nil))
	first := takeOne(t, r)
	settled(t, func(ctx context.Context) error {
		return r.AbandonMessage(ctx, first, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"added": int32(1)}})
	})
	again := takeOne(t, r)
	assert.Equal(t, "a", name(again))
	assert.Equal(t, uint32(2), again.DeliveryCount)
	assert.Equal(t, map[string]any{"kept": "yes", "added": int32(1)}, again.ApplicationProperties)
	assert.Equal(t, first.SequenceNumber, again.SequenceNumber)
	completed(t, r, again)
	nothingBefore(t, s, r)
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, entity := range []string{queue, topic} {
		s, r := b.sender(t, entity), b.receiver(t, entity, nil)
		send(t, s, "poison")
		m := takeOne(t, r)
		settled(t, func(ctx context.Context) error {
			return r.DeadLetterMessage(ctx, m, &azservicebus.DeadLetterOptions{Reason: to("why"), ErrorDescription: to("because")})
		})
		nothingBefore(t, s, r)

		dead := b.receiver(t, entity, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
		m = takeOne(t, dead)
		assert.Equal(t, "poison", name(m))
		assert.Equal(t, "poison", string(m.Body))
		assert.Equal(t, to("why"), m.DeadLetterReason)
		assert.Equal(t, to("because"), m.DeadLetterErrorDescription)
		settled(t, func(ctx context.Context) error { return dead.AbandonMessage(ctx, m, nil) })
		completed(t, dead, takeOne(t, dead))
		left, err := dead.PeekMessages(t.Context(), 10, nil)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

// TestDeadLettersHaveAnAddress: a Functions trigger reads dead letters by a queue name with a suffix.
func TestDeadLettersHaveAnAddress(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "poison")
	m := takeOne(t, r)
	settled(t, func(ctx context.Context) error { return r.DeadLetterMessage(ctx, m, nil) })
	dead := b.receiver(t, queue+"/$DeadLetterQueue", nil)
	m = takeOne(t, dead)
	assert.Equal(t, "poison", name(m))
	completed(t, dead, m)
}

func TestTooManyDeliveriesAreTheEnd(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "poison")
	for i := range 10 { // MaxDeliveryCount of the configuration
		m := takeOne(t, r)
		assert.Equal(t, uint32(i+1), m.DeliveryCount)
		settled(t, func(ctx context.Context) error { return r.AbandonMessage(ctx, m, nil) })
	}
	dead := b.receiver(t, queue, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	m := takeOne(t, dead)
	assert.Equal(t, to("MaxDeliveryCountExceeded"), m.DeadLetterReason)
	completed(t, dead, m)
	nothingBefore(t, s, r)
}

func TestALostLockRedelivers(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "a")
	slow := takeOne(t, r)
	assert.WithinDuration(t, b.now().Add(time.Minute), *slow.LockedUntil, 15*time.Second)
	b.pass(t, 61*time.Second)
	again := takeOne(t, r)
	assert.Equal(t, "a", name(again))
	assert.Equal(t, uint32(2), again.DeliveryCount)
	assert.NotEqual(t, slow.LockToken, again.LockToken)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lost := func(err error) {
		t.Helper()
		var sb *azservicebus.Error
		require.ErrorAs(t, err, &sb)
		assert.Equal(t, azservicebus.CodeLockLost, sb.Code)
	}
	lost(r.CompleteMessage(ctx, slow, nil))
	lost(r.CompleteMessage(ctx, &azservicebus.ReceivedMessage{LockToken: slow.LockToken}, nil)) // goes another way
	lost(r.RenewMessageLock(ctx, slow, nil))
	completed(t, r, again)
	nothingBefore(t, s, r)
}

// TestLostLocksRedeliverInOrder: a batch that took too long comes again as it was.
func TestLostLocksRedeliverInOrder(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	var sent []string
	for i := range 30 {
		sent = append(sent, fmt.Sprint(i))
	}
	send(t, s, sent...)
	take(t, r, len(sent))
	b.pass(t, 61*time.Second)
	var got []*azservicebus.ReceivedMessage
	for len(got) < len(sent) {
		got = append(got, take(t, r, len(sent)-len(got))...)
	}
	assert.Equal(t, sent, ids(got))
	completed(t, r, got...)
}

func TestARenewedLockLasts(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "a")
	m := takeOne(t, r)
	for range 3 {
		b.pass(t, 40*time.Second)
		settled(t, func(ctx context.Context) error { return r.RenewMessageLock(ctx, m, nil) })
		assert.WithinDuration(t, b.now().Add(time.Minute), *m.LockedUntil, 15*time.Second)
	}
	completed(t, r, m)
	nothingBefore(t, s, r)
}

func TestADeferredMessageIsReadByItsNumber(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "later")
	m := takeOne(t, r)
	settled(t, func(ctx context.Context) error { return r.DeferMessage(ctx, m, nil) })
	nothingBefore(t, s, r)
	got, err := r.ReceiveDeferredMessages(t.Context(), []int64{*m.SequenceNumber}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"later"}, ids(got))
	assert.Equal(t, azservicebus.MessageStateDeferred, got[0].State)
	completed(t, r, got...)
	left, err := r.PeekMessages(t.Context(), 10, nil)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestALockIsHeldByOne: two receivers of one queue never have the same message at a time.
func TestALockIsHeldByOne(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, one, two := b.sender(t, queue), b.receiver(t, queue, nil), b.receiver(t, queue, nil)
	send(t, s, "a", "b")
	first := takeOne(t, one)
	second := takeOne(t, two)
	assert.NotEqual(t, name(first), name(second))
	completed(t, one, first)
	completed(t, two, second)
}
