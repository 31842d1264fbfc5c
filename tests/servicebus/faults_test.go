package servicebus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
)

func TestALostConnectionLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	broker := b.onlyStandIn(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	for i, cut := range []func(){
		broker.DropConnections,
		func() { require.NoError(t, broker.DetachLinks(queue)) },
	} {
		send(t, s, fmt.Sprint("before ", i))
		held := takeOne(t, r)
		cut()
		send(t, s, fmt.Sprint("after ", i))
		m := takeOne(t, r)
		assert.Equal(t, fmt.Sprint("after ", i), name(m), "the lock on the other outlives the connection")
		completed(t, r, m)
		// Settling over the lost connection would be tried for most of a minute: the lock token alone goes another way.
		token := &azservicebus.ReceivedMessage{LockToken: held.LockToken}
		settled(t, func(ctx context.Context) error { return r.CompleteMessage(ctx, token, nil) })
	}
	nothingBefore(t, s, r)
}

func TestAReceiverThatWaitsOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	broker := b.onlyStandIn(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	send(t, s, "first")
	completed(t, r, takeOne(t, r))
	sent := make(chan error)
	go func() {
		broker.DropConnections()
		sent <- s.SendMessage(t.Context(), message(t, "second"), nil)
	}()
	assert.Equal(t, "second", name(takeOne(t, r)))
	require.NoError(t, <-sent)
}

func TestASendThatIsRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	broker := b.onlyStandIn(t)
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	send(t, s, "warm") // the link is there
	completed(t, r, takeOne(t, r))

	t.Run("for now", func(t *testing.T) {
		require.NoError(t, broker.FailSends(topic, standin.Fault{Times: 2, Condition: "com.microsoft:server-busy"}))
		send(t, s, "busy")
		m := takeOne(t, r)
		assert.Equal(t, "busy", name(m), "the client tries again by itself")
		completed(t, r, m)
		counts, _ := broker.Depth(topic + "/Subscriptions/" + subscription)
		assert.Zero(t, counts.Active)
	})
	t.Run("for good", func(t *testing.T) {
		require.NoError(t, broker.FailSends(topic, standin.Fault{Condition: "amqp:resource-limit-exceeded"}))
		err := s.SendMessage(t.Context(), message(t, "full"), nil)
		require.ErrorContains(t, err, "amqp:resource-limit-exceeded")
		nothingBefore(t, s, r)
	})
	t.Run("when it is to be scheduled", func(t *testing.T) {
		for _, condition := range []string{"com.microsoft:server-busy", ""} {
			require.NoError(t, broker.FailSends(queue, standin.Fault{Condition: condition}))
			_, err := b.sender(t, queue).ScheduleMessages(t.Context(), []*azservicebus.Message{message(t, "later")}, b.now().Add(time.Hour), nil)
			require.NoError(t, err)
		}
		counts, _ := broker.Depth(queue)
		assert.Equal(t, 2, counts.Scheduled, "one try of three was refused")
	})
	require.Error(t, broker.FailSends("no-such", standin.Fault{}))
}

// TestASendWhoseAnswerIsLost is what duplicate detection is for: the message is there, its sender can't know, and
// sends it again.
func TestASendWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	broker := b.onlyStandIn(t)
	for entity, copies := range map[string]int{topic: 1, queue: 2} {
		s, r := b.sender(t, entity), b.receiver(t, entity, nil)
		require.NoError(t, broker.FailSends(entity, standin.Fault{Drop: true}))
		send(t, s, "unsure")
		completed(t, r, take(t, r, copies)...)
		nothingBefore(t, s, r)
	}
}

func TestASendWhoseAnswerIsLate(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	broker := b.onlyStandIn(t)
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	const delay = 300 * time.Millisecond
	require.NoError(t, broker.FailSends(topic, standin.Fault{Times: 2, Delay: delay}))
	began := time.Now()
	send(t, s, "patient")
	assert.GreaterOrEqual(t, time.Since(began), delay)

	ctx, cancel := context.WithTimeout(t.Context(), delay/3)
	defer cancel()
	err := s.SendMessage(ctx, message(t, "impatient"), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	got := take(t, r, 2)
	assert.Equal(t, []string{"patient", "impatient"}, ids(got), "who gives up waiting has sent nevertheless")
	completed(t, r, got...)
}
