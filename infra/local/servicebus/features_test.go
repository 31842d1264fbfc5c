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

// What the service doesn't rely on, or can't ask of every broker; the rest is in tests/servicebus.

func TestSessions(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	b := newBroker(t, Options{Now: clock.now})
	require.NoError(t, b.CreateQueue("q", Properties{RequiresSession: true, LockDuration: time.Minute}))
	c := client(t, b)
	for i := range 6 {
		m := az(fmt.Sprint(i))
		m.SessionID = to([]string{"odd", "even"}[i%2])
		send(t, c, "q", m)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	odd, err := c.AcceptSessionForQueue(ctx, "q", "odd", nil)
	require.NoError(t, err)
	next, err := c.AcceptNextSessionForQueue(ctx, "q", nil)
	require.NoError(t, err)
	assert.Equal(t, "even", next.SessionID(), "the other is held")
	_, err = c.AcceptSessionForQueue(ctx, "q", "odd", nil)
	require.ErrorContains(t, err, condSessionLocked)
	assert.Equal(t, []string{"0", "2", "4"}, ids(take(t, odd, 3)))
	assert.Equal(t, []string{"1", "3", "5"}, ids(take(t, next, 3)))

	require.NoError(t, odd.SetSessionState(ctx, []byte("half"), nil))
	state, err := odd.GetSessionState(ctx, nil)
	require.NoError(t, err)
	assert.Equal(t, "half", string(state))
	require.NoError(t, next.Close(ctx))
	clock.pass(50 * time.Second)
	require.NoError(t, odd.RenewSessionLock(ctx, nil))
	clock.pass(50 * time.Second)
	require.NoError(t, odd.RenewSessionLock(ctx, nil), "the first renewal counted")

	again, err := c.AcceptSessionForQueue(ctx, "q", "even", nil)
	require.NoError(t, err, "a closed receiver frees its session")
	for _, m := range take(t, again, 3) {
		assert.Equal(t, uint32(1), m.DeliveryCount, "given back unseen")
		require.NoError(t, again.CompleteMessage(ctx, m, nil))
	}
	require.NoError(t, again.Close(ctx))

	clock.pass(61 * time.Second)
	late, err := c.AcceptSessionForQueue(ctx, "q", "odd", nil)
	require.NoError(t, err, "the lock ran out")
	for _, m := range take(t, late, 3) {
		assert.Equal(t, uint32(2), m.DeliveryCount)
		require.NoError(t, late.CompleteMessage(ctx, m, nil))
	}
	require.NoError(t, late.SetSessionState(ctx, nil, nil))
	require.NoError(t, late.Close(ctx))
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(t, b.entities["q"].streams, "ids are the clients' to invent: none stays")
}

func TestNoSessionToAccept(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	b := newBroker(t, Options{Now: clock.now})
	require.NoError(t, b.CreateQueue("q", Properties{RequiresSession: true}))
	c := client(t, b)
	got := make(chan error, 1)
	go func() {
		_, err := c.AcceptNextSessionForQueue(t.Context(), "q", nil)
		got <- err
	}()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.entities["q"].waiting) == 1
	}, patience, time.Millisecond)
	clock.pass(2 * time.Minute)
	var sb *azservicebus.Error
	require.ErrorAs(t, <-got, &sb)
	assert.Equal(t, azservicebus.CodeTimeout, sb.Code)

	s, err := c.NewSender("q", nil)
	require.NoError(t, err)
	require.ErrorContains(t, s.SendMessage(t.Context(), az("no session"), nil), condNotAllowed)
	r, err := c.NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	_, err = r.ReceiveMessages(t.Context(), 1, nil)
	require.ErrorContains(t, err, condNotAllowed)

	require.NoError(t, b.CreateTopic("t", Properties{}))
	require.NoError(t, b.CreateSubscription("t", "plain", Properties{}))
	require.NoError(t, b.CreateSubscription("t", "sessions", Properties{RequiresSession: true}))
	s, err = c.NewSender("t", nil)
	require.NoError(t, err)
	require.ErrorContains(t, s.SendMessage(t.Context(), az("no session"), nil), condNotAllowed)
	counts, _ := b.Depth("t/Subscriptions/plain")
	assert.Zero(t, counts, "all subscriptions have a message, or none")
}

func TestPeekIsBounded(t *testing.T) {
	t.Parallel()
	b := newBroker(t, Options{})
	require.NoError(t, b.CreateQueue("q", Properties{}))
	accept := func(n, size int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for range n {
			m, err := parseMessage(plain(size))
			require.NoError(t, err)
			b.entities["q"].accept(m)
		}
	}
	accept(maxPeeked+1, 10)
	accept(20, 100<<10)
	r, err := client(t, b).NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	for _, want := range []int{maxPeeked, 1 + maxPeekedSize/(100<<10), 10, 0} {
		got, err := r.PeekMessages(t.Context(), 1000, nil)
		require.NoError(t, err)
		assert.Len(t, got, want)
	}
}

func TestATopicsSubscriptionsAreIndependent(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	b := newBroker(t, Options{Now: clock.now})
	require.NoError(t, b.CreateTopic("t", Properties{}))
	require.NoError(t, b.CreateSubscription("t", "one", Properties{}))
	require.NoError(t, b.CreateSubscription("T", "two", Properties{}))
	c := client(t, b)
	later := az("later")
	later.ScheduledEnqueueTime = to(clock.now().Add(time.Minute))
	send(t, c, "t", az("now"), later)
	clock.pass(61 * time.Second)

	one, err := c.NewReceiverForSubscription("t", "one", nil)
	require.NoError(t, err)
	two, err := c.NewReceiverForSubscription("t", "two", nil)
	require.NoError(t, err)
	for _, m := range take(t, one, 2) {
		require.NoError(t, one.AbandonMessage(t.Context(), m, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"mine": true}}))
	}
	for i, m := range take(t, two, 2) {
		assert.Equal(t, []string{"now", "later"}[i], m.MessageID)
		assert.Equal(t, uint32(1), m.DeliveryCount)
		assert.Empty(t, m.ApplicationProperties)
		require.NoError(t, two.CompleteMessage(t.Context(), m, nil))
	}
	counts, ok := b.Depth("t/subscriptions/TWO")
	assert.True(t, ok)
	assert.Zero(t, counts)
	for _, m := range take(t, one, 2) {
		assert.Equal(t, uint32(2), m.DeliveryCount)
	}
	counts, _ = b.Depth("t/subscriptions/one")
	assert.Equal(t, 2, counts.Locked)
	_, ok = b.Depth("t/subscriptions/three")
	assert.False(t, ok)

	s, err := c.NewReceiverForQueue("t", nil)
	require.NoError(t, err)
	_, err = s.ReceiveMessages(t.Context(), 1, nil)
	require.ErrorContains(t, err, condNotAllowed, "a topic itself holds nothing")
	dead, err := c.NewSender("t/Subscriptions/one/$DeadLetterQueue", nil)
	require.NoError(t, err)
	require.ErrorContains(t, dead.SendMessage(t.Context(), az("undead"), nil), condNotAllowed)
}

func TestTokensAreChecked(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	b := newBroker(t, Options{Now: clock.now, Keys: map[string]Key{
		"all":  {Value: "c2VjcmV0", Send: true, Listen: true},
		"read": {Value: "cmVhZA==", Listen: true},
	}})
	require.NoError(t, b.CreateQueue("q", Properties{}))
	port := listen(t, b)
	with := func(name, value string) *azservicebus.Client {
		return clientWith(t, fmt.Sprintf("Endpoint=sb://127.0.0.1:%d;SharedAccessKeyName=%s;SharedAccessKey=%s;UseDevelopmentEmulator=true", port, name, value))
	}
	refused := func(err error) {
		t.Helper()
		var sb *azservicebus.Error
		require.ErrorAs(t, err, &sb)
		assert.Equal(t, azservicebus.CodeUnauthorizedAccess, sb.Code)
	}
	try := func(c *azservicebus.Client) error {
		s, err := c.NewSender("q", nil)
		require.NoError(t, err)
		return s.SendMessage(t.Context(), az("a"), nil)
	}
	require.NoError(t, try(with("all", "c2VjcmV0")))
	refused(try(with("all", "wrong")))
	refused(try(with("nobody", "c2VjcmV0")))
	reader := with("read", "cmVhZA==")
	refused(try(reader))
	r, err := reader.NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, ids(take(t, r, 1)))
	clock.pass(1000 * time.Hour)
	err = try(with("all", "c2VjcmV0"))
	refused(err)
	assert.ErrorContains(t, err, "ExpiredToken", "its token is of long ago")
}

func TestStats(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	b := newBroker(t, Options{Now: clock.now})
	require.NoError(t, b.CreateQueue("q", Properties{MaxDeliveryCount: 1}))
	c := client(t, b)
	r, err := c.NewReceiverForQueue("q", nil)
	require.NoError(t, err)
	later := az("later")
	later.ScheduledEnqueueTime = to(clock.now().Add(time.Hour))
	send(t, c, "q", az("dead"), az("deferred"), az("locked"), later)
	got := take(t, r, 3)
	require.NoError(t, r.AbandonMessage(t.Context(), got[0], nil))
	require.NoError(t, r.DeferMessage(t.Context(), got[1], nil))
	send(t, c, "q", az("active"))
	counts, _ := b.Depth("q")
	assert.Positive(t, counts.Bytes)
	counts.Bytes = 0
	assert.Equal(t, Counts{Active: 1, Locked: 1, Deferred: 1, Scheduled: 1, DeadLetters: 1}, counts)
	require.Len(t, b.Stats(), 1, "dead letters are counted with their entity")
}
