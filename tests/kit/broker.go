package kit

import (
	"cmp"
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// Broker is a Service Bus of one test, with the service's entities.
type Broker struct {
	*standin.Broker
	Connection string
}

// NewBroker starts a broker in this process. Clients speak to it over a real connection.
func NewBroker(t testing.TB) *Broker {
	t.Helper()
	broker, err := standin.New(standin.Options{})
	require.NoError(t, err)
	require.NoError(t, broker.LoadConfig(standin.ServiceEntities()))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- broker.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, broker.Close())
		require.NoError(t, <-served)
	})
	return &Broker{broker, standin.ConnectionString(l.Addr().(*net.TCPAddr).Port)}
}

// Client is a connection of the service to the broker.
func (b *Broker) Client(t testing.TB) *servicebus.Client {
	t.Helper()
	client, err := servicebus.Open(servicebus.Options{ConnectionString: b.Connection})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// Events completes and returns the next n events of the topic's subscription, in the order in which they came.
func (b *Broker) Events(t testing.TB, n int) (list []*azservicebus.ReceivedMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := azservicebus.NewClientFromConnectionString(b.Connection, nil)
	require.NoError(t, err)
	defer func() { _ = client.Close(context.Background()) }()
	receiver, err := client.NewReceiverForSubscription(servicebus.TopicOrderEvents, servicebus.SubscriptionWebhooks, nil)
	require.NoError(t, err)
	for len(list) < n {
		messages, err := receiver.ReceiveMessages(ctx, n-len(list), nil)
		require.NoError(t, err, "%d of %d events came", len(list), n)
		for _, m := range messages {
			require.NoError(t, receiver.CompleteMessage(ctx, m, nil))
		}
		list = append(list, messages...)
	}
	// A busy client gives messages back that came while it was not asking, and gets them later: what counts is the order
	// in which the topic took them.
	slices.SortFunc(list, func(a, b *azservicebus.ReceivedMessage) int { return cmp.Compare(*a.SequenceNumber, *b.SequenceNumber) })
	return list
}

// Hear gives each what comes on the topic's subscription until ctx ends, through every death of the broker. What can't be
// completed comes again, under the same number of the topic.
func Hear(ctx context.Context, t testing.TB, connection, subscription string, each func([]*azservicebus.ReceivedMessage)) {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 1, RetryDelay: 50 * time.Millisecond},
	})
	if !assert.NoError(t, err) {
		return
	}
	defer func() { _ = client.Close(context.Background()) }()
	for ctx.Err() == nil {
		receiver, err := client.NewReceiverForSubscription(servicebus.TopicOrderEvents, subscription, nil)
		if !assert.NoError(t, err) {
			return
		}
		for err == nil && ctx.Err() == nil {
			var messages []*azservicebus.ReceivedMessage
			messages, err = receiver.ReceiveMessages(ctx, 200, nil)
			each(messages)
			for _, m := range messages {
				settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
				if err == nil {
					err = receiver.CompleteMessage(settling, m, nil)
				}
				cancel()
			}
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = receiver.Close(closing)
		cancel()
	}
}
