package webhooks_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/tests/kit"
)

// consume hands messages to work until the test ends, as the host does: done when it succeeded, else given back.
func consume(t *testing.T, all *sync.WaitGroup, receiver *azservicebus.Receiver, work func(context.Context, []servicebus.Received) error) {
	t.Helper()
	all.Go(func() {
		for t.Context().Err() == nil {
			messages, err := receiver.ReceiveMessages(t.Context(), 10, nil)
			if err != nil {
				return // the test is over
			}
			list := make([]servicebus.Received, len(messages))
			for i, m := range messages {
				list[i] = servicebus.Received{MessageID: m.MessageID, Body: m.Body}
			}
			err = work(t.Context(), list)
			for _, m := range messages {
				if err != nil {
					_ = receiver.AbandonMessage(t.Context(), m, nil) // it comes again when its lock is over, too
					continue
				}
				_ = receiver.CompleteMessage(t.Context(), m, nil)
			}
		}
	})
}

// TestFromCommitToReceiver: an event goes from its transaction over the drain, the topic, fan-out and the queue to
// the endpoint, over a real wire. The endpoint refuses it once; a scheduled message brings it back, same id, same
// bytes, and the sweep has no part in it.
func TestFromCommitToReceiver(t *testing.T) {
	t.Parallel()
	broker := kit.NewBroker(t)
	s := &shop{API: kit.NewAPI(t)}
	s.wire(t, broker.Client(t).Sender(servicebus.QueueWebhookDelivery).Send, webhooks.Limits{Schedule: []time.Duration{300 * time.Millisecond}})
	arrived := make(chan time.Time, 10)
	refusals := make(chan struct{}, 1)
	refusals <- struct{}{}
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- time.Now()
		select {
		case <-refusals:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
	e := s.subscribe(t, r.url)

	client, err := azservicebus.NewClientFromConnectionString(broker.Connection, nil)
	require.NoError(t, err)
	topic, err := client.NewReceiverForSubscription(servicebus.TopicOrderEvents, servicebus.SubscriptionWebhooks, nil)
	require.NoError(t, err)
	queue, err := client.NewReceiverForQueue(servicebus.QueueWebhookDelivery, nil)
	require.NoError(t, err)
	drain, err := outbox.NewDrain(s.Pools.Drain, broker.Client(t).Sender(servicebus.TopicOrderEvents), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() { all.Wait(); _ = client.Close(context.Background()) })
	all.Go(func() { drain.Run(t.Context()) })
	consume(t, &all, topic, s.hooks.FanOut)
	consume(t, &all, queue, func(ctx context.Context, list []servicebus.Received) error {
		for _, m := range list {
			if err := s.hooks.Deliver(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})

	now := time.Now()
	event := events.Event{
		ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: uuid.New()}, Sequence: 1, Time: now,
		Data: map[string]any{"customerId": "ada"},
	}
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error { return outbox.Insert(t.Context(), tx, event) }))
	drain.Nudge(event.Aggregate.ID)
	first := <-arrived
	second := <-arrived
	t.Logf("first attempt %s after the event, second %s after the first", first.Sub(now), second.Sub(first))
	assert.GreaterOrEqual(t, second.Sub(first), 250*time.Millisecond)
	eventually(t, "the verdict", func() bool { return s.state(t, event.ID, e.id) == "succeeded" })
	got := r.requests()
	require.Len(t, got, 2)
	for _, one := range got {
		assert.Equal(t, event.ID.String(), one.id())
		assert.Equal(t, string(got[0].body), string(one.body))
		require.NoError(t, signature.Verify(one.header, one.body, time.Now(), e.secret))
	}
}
