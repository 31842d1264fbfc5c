package servicebus

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAScheduledMessageComesAtItsTime(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	at := b.now().Add(30 * time.Second)
	_, err := s.ScheduleMessages(t.Context(), []*azservicebus.Message{message(t, "by request")}, at, nil)
	require.NoError(t, err)
	m := message(t, "by annotation")
	m.ScheduledEnqueueTime = &at
	require.NoError(t, s.SendMessage(t.Context(), m, nil))
	nothingBefore(t, s, r)
	waiting, err := r.PeekMessages(t.Context(), 10, nil)
	require.NoError(t, err)
	require.Len(t, waiting, 2)
	assert.Equal(t, azservicebus.MessageStateScheduled, waiting[0].State)

	b.pass(t, 31*time.Second)
	got := take(t, r, 2)
	assert.ElementsMatch(t, []string{"by request", "by annotation"}, ids(got))
	for _, m := range got {
		assert.False(t, m.EnqueuedTime.Before(at.Truncate(time.Millisecond)), "enqueued at %v, due at %v", m.EnqueuedTime, at)
		completed(t, r, m)
	}
}

func TestACancelledMessageNeverComes(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, queue), b.receiver(t, queue, nil)
	at := b.now().Add(30 * time.Second)
	numbers, err := s.ScheduleMessages(t.Context(), []*azservicebus.Message{message(t, "a"), message(t, "b")}, at, nil)
	require.NoError(t, err)
	require.Len(t, numbers, 2)
	require.NoError(t, s.CancelScheduledMessages(t.Context(), numbers[:1], nil))
	b.pass(t, 31*time.Second)
	m := takeOne(t, r)
	assert.Equal(t, "b", name(m))
	completed(t, r, m)
	nothingBefore(t, s, r)
}

func TestAnExpiredMessageIsADeadLetter(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s, r := b.sender(t, requests), b.receiver(t, requests, nil)
	m := message(t, "stale")
	m.TimeToLive = to(10 * time.Second)
	require.NoError(t, s.SendMessage(t.Context(), m, nil))
	b.pass(t, 11*time.Second)
	nothingBefore(t, s, r)
	dead := b.receiver(t, requests, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	got := takeOne(t, dead)
	assert.Equal(t, "stale", name(got))
	assert.Equal(t, to("TTLExpiredException"), got.DeadLetterReason)
	completed(t, dead, got)
}
