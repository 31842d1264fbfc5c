package servicebus

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
)

// The entities of config.json.
const (
	topic        = "order-events"
	subscription = "webhooks"
	queue        = "webhook-deliveries"
	requests     = "order-requests"
)

const patience = 20 * time.Second

// bus is a broker as one test sees it: with empty entities, and to itself.
type bus struct {
	*azservicebus.Client
	standIn *standin.Broker // nil when the broker is from outside
	ahead   *atomic.Int64   // how far its clock is
}

// outside is held by the one test that uses a broker from outside.
var outside sync.Mutex

func newBus(t *testing.T) *bus {
	t.Helper()
	if connection := os.Getenv("SERVICEBUS_CONNECTION"); connection != "" {
		outside.Lock()
		t.Cleanup(outside.Unlock)
		b := &bus{Client: connect(t, connection)}
		b.empty(t)
		return b
	}
	b := &bus{ahead: &atomic.Int64{}}
	var err error
	b.standIn, err = standin.New(standin.Options{Now: func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.standIn.Close()) })
	require.NoError(t, b.standIn.LoadConfig(configuration(t)))
	b.Client = connect(t, standin.ConnectionString(serve(t, b.standIn)))
	return b
}

func configuration(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("../../infra/local/servicebus/config.json")
	require.NoError(t, err)
	return data
}

// serve listens on a free port.
func serve(t *testing.T, b *standin.Broker) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, <-served)
	})
	return l.Addr().(*net.TCPAddr).Port
}

func connect(t *testing.T, connection string) *azservicebus.Client {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 20, RetryDelay: 20 * time.Millisecond, MaxRetryDelay: time.Second},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close(context.Background())) })
	return client
}

// onlyStandIn skips a test that needs what no other broker can be made to do.
func (b *bus) onlyStandIn(t *testing.T) *standin.Broker {
	t.Helper()
	if b.standIn == nil {
		t.Skip("only the stand-in can be made to do this")
	}
	return b.standIn
}

// pass lets time pass: at once where the clock is ours. Elsewhere there is no signal to wait for but time itself.
func (b *bus) pass(t *testing.T, d time.Duration) {
	t.Helper()
	if b.standIn != nil {
		b.ahead.Add(int64(d))
		return
	}
	time.Sleep(d)
}

// now is the broker's time, as far as it can be told.
func (b *bus) now() time.Time {
	if b.standIn == nil {
		return time.Now()
	}
	return time.Now().Add(time.Duration(b.ahead.Load()))
}

// empty takes out what earlier tests and programs left.
func (b *bus) empty(t *testing.T) {
	t.Helper()
	var receivers sync.WaitGroup
	for _, entity := range []string{queue, requests, topic} {
		for _, sub := range []azservicebus.SubQueue{0, azservicebus.SubQueueDeadLetter} {
			r := b.receiver(t, entity, &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete, SubQueue: sub})
			receivers.Go(func() {
				for some := true; some; {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					got, _ := r.ReceiveMessages(ctx, 100, nil) // an error is what a second without messages ends with
					cancel()
					some = len(got) > 0
				}
				assert.NoError(t, r.Close(t.Context()))
			})
		}
	}
	receivers.Wait()
}

func (b *bus) sender(t *testing.T, to string) *azservicebus.Sender {
	t.Helper()
	s, err := b.NewSender(to, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // its connection may be gone
	return s
}

// receiver receives from a queue, or from the subscription of the topic.
func (b *bus) receiver(t *testing.T, from string, o *azservicebus.ReceiverOptions) *azservicebus.Receiver {
	t.Helper()
	var r *azservicebus.Receiver
	var err error
	if from == topic {
		r, err = b.NewReceiverForSubscription(topic, subscription, o)
	} else {
		r, err = b.NewReceiverForQueue(from, o)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(context.Background()) }) // its connection may be gone
	return r
}

// send sends messages with these ids, each body being its id.
func send(t *testing.T, s *azservicebus.Sender, ids ...string) {
	t.Helper()
	for _, id := range ids {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := s.SendMessage(ctx, message(t, id), nil)
		cancel()
		require.NoError(t, err, id)
	}
}

// run is in every message id: a topic remembers the ids of earlier tests, and of earlier runs.
var run = strconv.FormatInt(time.Now().UnixNano(), 36)

// message is a message whose body is its id as the test knows it.
func message(t *testing.T, id string) *azservicebus.Message {
	t.Helper()
	unique := run + "/" + t.Name() + "/" + id
	return &azservicebus.Message{MessageID: &unique, Body: []byte(id)}
}

// name is the id of a message as its test knows it.
func name(m *azservicebus.ReceivedMessage) string {
	return m.MessageID[strings.LastIndexByte(m.MessageID, '/')+1:]
}

// take receives n messages.
func take(t *testing.T, r *azservicebus.Receiver, n int) []*azservicebus.ReceivedMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out []*azservicebus.ReceivedMessage
	for len(out) < n {
		got, err := r.ReceiveMessages(ctx, n-len(out), nil) // may be none without an error, when a link was lost
		require.NoError(t, err, "%d of %d came", len(out), n)
		out = append(out, got...)
	}
	return out
}

func takeOne(t *testing.T, r *azservicebus.Receiver) *azservicebus.ReceivedMessage {
	t.Helper()
	return take(t, r, 1)[0]
}

// settled makes sure that a settlement was taken.
func settled(t *testing.T, settle func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, settle(ctx))
}

func completed(t *testing.T, r *azservicebus.Receiver, messages ...*azservicebus.ReceivedMessage) {
	t.Helper()
	for _, m := range messages {
		settled(t, func(ctx context.Context) error { return r.CompleteMessage(ctx, m, nil) })
	}
}

func ids(messages []*azservicebus.ReceivedMessage) []string {
	out := make([]string, len(messages))
	for i, m := range messages {
		out[i] = name(m)
	}
	return out
}

// nothingBefore makes sure that what comes next is the message sent last: whatever else were there came before it.
func nothingBefore(t *testing.T, s *azservicebus.Sender, r *azservicebus.Receiver) {
	t.Helper()
	last := fmt.Sprintf("last-%d", time.Now().UnixNano())
	send(t, s, last)
	m := takeOne(t, r)
	assert.Equal(t, last, name(m), "something else was there")
	completed(t, r, m)
}
