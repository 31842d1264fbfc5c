package servicebus_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

const in = 30 * time.Second // whatever must happen at some time

// behind is a client of the broker by way of a wire.
func behind(t *testing.T, b *kit.Broker) (*servicebus.Client, *kit.Wire) {
	t.Helper()
	endpoint, rest, _ := strings.Cut(strings.TrimPrefix(b.Connection, "Endpoint="), ";")
	wire := kit.NewWire(t, endpoint)
	client, err := servicebus.Open(servicebus.Options{ConnectionString: "Endpoint=" + wire.URL + ";" + rest})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = client.Close(ctx)
	})
	return client, wire
}

// A broker that hangs costs a few senders their wait, and the others nothing. When it goes on, one of them finds out, and
// what is sent then comes in order.
func TestABrokerThatHangsIsNotWaitedForByEverybody(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	client, wire := behind(t, b)
	topic := client.Sender(servicebus.TopicOrderEvents)
	_, err := topic.Send(t.Context(), messages(1))
	require.NoError(t, err)
	wire.Mute()
	send := func(s *servicebus.Sender) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := s.Send(ctx, messages(1))
		return time.Since(began), err
	}
	waited := 0
	for ; waited < 10; waited++ {
		_, err := send(topic)
		if errors.Is(err, dependency.ErrOpen) {
			break
		}
		require.Error(t, err)
	}
	assert.EqualValues(t, dependency.ServiceBus.Failures, waited)
	for _, entity := range []string{servicebus.TopicOrderEvents, servicebus.QueueOrderRequests} {
		took, err := send(client.Sender(entity))
		require.ErrorIs(t, err, dependency.ErrOpen)
		require.NotErrorIs(t, err, servicebus.ErrRefused, "no message is to blame")
		assert.Less(t, took, 250*time.Millisecond)
	}
	wire.Mend()
	mended := time.Now()
	list := messages(1, 1, 1)
	for i := range list {
		list[i].ID, list[i].Subject = "after-"+strconv.Itoa(i), "after-"+strconv.Itoa(i)
	}
	require.Eventually(t, func() bool { sent, err := topic.Send(t.Context(), list); return err == nil && sent == 3 }, in, 20*time.Millisecond)
	t.Logf("%d senders waited; the first batch went through %s after it was back", waited, time.Since(mended).Round(time.Millisecond))
	assert.Less(t, time.Since(mended), 10*time.Second)
	var after []string
	for _, m := range b.Events(t, 4) { // the first one, and what was on its way when it hung has the first one's id
		if strings.HasPrefix(*m.Subject, "after") {
			after = append(after, *m.Subject)
		}
	}
	assert.Equal(t, []string{"after-0", "after-1", "after-2"}, after)
}

// A broker that is gone is not asked by everybody, and is found back.
func TestABrokerThatIsGoneIsFoundBack(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	client, wire := behind(t, b)
	topic := client.Sender(servicebus.TopicOrderEvents)
	_, err := topic.Send(t.Context(), messages(1))
	require.NoError(t, err)
	wire.Cut()
	require.Eventually(t, func() bool { _, err := topic.Send(t.Context(), messages(1)); return errors.Is(err, dependency.ErrOpen) }, in, time.Millisecond)
	wire.Mend()
	back := time.Now()
	require.Eventually(t, func() bool { _, err := topic.Send(t.Context(), messages(1)); return err == nil }, in, 20*time.Millisecond)
	assert.Less(t, time.Since(back), 10*time.Second)
}

// Whatever the broker says, it is there; and who leaves, or had no time, has proved nothing.
func TestAnAnswerOfTheBrokerOpensNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault    standin.Fault
		patience time.Duration
		leave    bool
	}{
		"it is busy":           {fault: standin.Fault{Condition: "com.microsoft:server-busy", Times: 100}, patience: in},
		"it refuses":           {fault: standin.Fault{Condition: "com.microsoft:argument-error", Times: 100}, patience: in},
		"it detaches":          {fault: standin.Fault{Condition: "amqp:link:detach-forced", Times: 100}, patience: in},
		"senders with no time": {fault: standin.Fault{Delay: 300 * time.Millisecond, Times: 100}, patience: 100 * time.Millisecond},
		"senders that leave":   {fault: standin.Fault{Delay: 1500 * time.Millisecond, Times: 100}, patience: 1200 * time.Millisecond, leave: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := kit.NewBroker(t)
			topic := b.Client(t).Sender(servicebus.TopicOrderEvents)
			_, err := topic.Send(t.Context(), messages(1))
			require.NoError(t, err)
			require.NoError(t, b.FailSends(servicebus.TopicOrderEvents, c.fault))
			var all sync.WaitGroup
			for range 6 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), c.patience)
					defer cancel()
					if c.leave {
						ctx, cancel = context.WithCancel(t.Context())
						defer cancel()
						time.AfterFunc(c.patience, cancel)
					}
					_, err := topic.Send(ctx, messages(1))
					assert.Error(t, err)
					assert.NotErrorIs(t, err, dependency.ErrOpen)
				})
				if !c.leave {
					all.Wait()
				}
			}
			all.Wait()
			_, err = topic.Send(t.Context(), messages(1))
			assert.NotErrorIs(t, err, dependency.ErrOpen)
		})
	}
}
