package pump_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/host/app"
	"github.com/company/order-catalog-service/infra/local/pump"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// call is one invocation, as the host would encode it.
type call struct{ data, metadata map[string]any }

// bench is a queue with short locks, and a pump at it.
type bench struct {
	broker *standin.Broker
	sender *servicebus.Sender
	pump   *pump.Pump
	port   int
}

func newBench(t *testing.T, p standin.Properties) *bench {
	t.Helper()
	broker, err := standin.New(standin.Options{})
	require.NoError(t, err)
	require.NoError(t, broker.CreateQueue("q", p))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = broker.Serve(l) }()
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	port := l.Addr().(*net.TCPAddr).Port
	connection := standin.ConnectionString(port)
	client, err := servicebus.Open(servicebus.Options{ConnectionString: connection})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	b := &bench{broker: broker, sender: client.Sender("q"), port: port}
	b.pump, err = pump.Open(connection, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.pump.Close(context.Background()) })
	return b
}

func (b *bench) send(t *testing.T, bodies ...string) {
	t.Helper()
	var list []servicebus.Message
	for _, body := range bodies {
		list = append(list, servicebus.Message{ID: "id-" + body, Subject: "subject", Body: []byte(body), Properties: map[string]any{"n": int64(7)}})
	}
	_, err := b.sender.Send(t.Context(), list)
	require.NoError(t, err)
}

func trigger(more app.ServiceBusTrigger) app.ServiceBusTrigger {
	more.Binding, more.Binary = "messages", true
	if more.Queue == "" {
		more.Queue = "q"
	}
	for _, n := range []*int{&more.MaxCalls, &more.MaxBatch} {
		if *n == 0 {
			*n = 16
		}
	}
	if more.MaxRenew == 0 {
		more.MaxRenew = time.Minute
	}
	return more
}

// receive runs the pump until the test ends, and returns the calls it makes.
func (b *bench) receive(t *testing.T, tr app.ServiceBusTrigger, answer func(call) error) <-chan call {
	t.Helper()
	calls := make(chan call, 1000)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.pump.Receive(ctx, tr, func(_ context.Context, data, metadata map[string]any) error {
			c := call{data, metadata}
			calls <- c
			if answer == nil {
				return nil
			}
			return answer(c)
		})
	}()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return calls
}

func next(t *testing.T, calls <-chan call) call {
	t.Helper()
	select {
	case c := <-calls:
		return c
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing was invoked")
		return call{}
	}
}

func (b *bench) empty(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, _ := b.broker.Depth("q")
		return c.Active+c.Locked+c.DeadLetters == 0
	}, 10*time.Second, 10*time.Millisecond)
}

func TestOneMessageComesAsTheExtensionHandsItOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	calls := b.receive(t, trigger(app.ServiceBusTrigger{}), nil)
	b.send(t, "hi")
	c := next(t, calls)
	assert.Equal(t, map[string]any{"messages": []byte("hi")}, c.data)
	assert.Equal(t, "id-hi", c.metadata["MessageId"])
	assert.Equal(t, "subject", c.metadata["Subject"])
	assert.Equal(t, "subject", c.metadata["Label"])
	assert.EqualValues(t, 1, c.metadata["DeliveryCount"])
	assert.EqualValues(t, 1, c.metadata["SequenceNumber"])
	assert.Equal(t, map[string]any{"n": int64(7)}, c.metadata["ApplicationProperties"])
	assert.IsType(t, time.Time{}, c.metadata["EnqueuedTime"])
	assert.IsType(t, host.DateTime{}, c.metadata["EnqueuedTimeUtc"])
	assert.Nil(t, c.metadata["SessionId"], "what the sender left out is nothing, and the envelope leaves it out")
	assert.Len(t, c.metadata["LockToken"], 36)
	b.empty(t)
}

func TestABatchComesWithArraysBesideIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	b.send(t, "a", "b", "c")
	calls := b.receive(t, trigger(app.ServiceBusTrigger{Batch: true}), nil)
	c := next(t, calls)
	assert.Equal(t, map[string]any{"messages": []any{[]byte("a"), []byte("b"), []byte("c")}}, c.data)
	assert.Equal(t, []any{"id-a", "id-b", "id-c"}, c.metadata["MessageIdArray"])
	assert.Len(t, c.metadata["SequenceNumberArray"], 3)
	assert.NotContains(t, c.metadata, "MessageId")
	b.empty(t)
}

func TestAFailedMessageComesAgainAtOnceAndTooOftenIsTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{MaxDeliveryCount: 3})
	calls := b.receive(t, trigger(app.ServiceBusTrigger{}), func(call) error { return errors.New("no") })
	b.send(t, "x")
	for n := 1; n <= 3; n++ {
		assert.EqualValues(t, n, next(t, calls).metadata["DeliveryCount"])
	}
	require.Eventually(t, func() bool {
		c, _ := b.broker.Depth("q")
		return c.DeadLetters == 1
	}, 10*time.Second, 10*time.Millisecond)

	dead := b.receive(t, trigger(app.ServiceBusTrigger{Queue: "q/$DeadLetterQueue"}), nil)
	c := next(t, dead)
	assert.Equal(t, map[string]any{"messages": []byte("x")}, c.data)
	properties, ok := c.metadata["ApplicationProperties"].(map[string]any)
	require.True(t, ok)
	assert.Equal(t, "MaxDeliveryCountExceeded", properties["DeadLetterReason"])
	b.empty(t)
}

func TestAFailedBatchIsAbandonedWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	b.send(t, "a", "b")
	var failed atomic.Bool
	calls := b.receive(t, trigger(app.ServiceBusTrigger{Batch: true}), func(call) error {
		if failed.CompareAndSwap(false, true) {
			return errors.New("no")
		}
		return nil
	})
	assert.Len(t, next(t, calls).data["messages"], 2)
	again := 0
	for again < 2 { // together or not
		c := next(t, calls)
		again += len(c.data["messages"].([]any))
		assert.EqualValues(t, 2, c.metadata["DeliveryCountArray"].([]any)[0])
	}
	b.empty(t)
}

func TestALockIsRenewedWhileTheFunctionRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{LockDuration: 500 * time.Millisecond})
	calls := b.receive(t, trigger(app.ServiceBusTrigger{}), func(call) error {
		time.Sleep(2 * time.Second) // four locks long
		return nil
	})
	b.send(t, "slow")
	next(t, calls)
	b.empty(t)
	assert.Empty(t, calls, "it was handed out twice")
}

func TestNoMoreCallsThanAllowed(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	var (
		mu           sync.Mutex
		running, top int
	)
	calls := b.receive(t, trigger(app.ServiceBusTrigger{MaxCalls: 3}), func(call) error {
		mu.Lock()
		running++
		top = max(top, running)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	})
	var bodies []string
	for n := range 20 {
		bodies = append(bodies, string(rune('a'+n)))
	}
	b.send(t, bodies...)
	for range bodies {
		next(t, calls)
	}
	b.empty(t)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, 3, top)
}

func TestItGoesOnAfterALostConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	calls := b.receive(t, trigger(app.ServiceBusTrigger{}), nil)
	b.send(t, "before")
	next(t, calls)
	b.empty(t)
	b.broker.DropConnections()
	require.Eventually(t, func() bool {
		_, err := b.sender.Send(t.Context(), []servicebus.Message{{ID: "after", Body: []byte("after")}})
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	assert.Equal(t, []byte("after"), next(t, calls).data["messages"])
}

// relay passes bytes on to a port until it is deaf; from then on it takes them and answers nothing.
func relay(t *testing.T, port int) (own int, deafen func()) {
	t.Helper()
	var deaf atomic.Bool
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	pass := func(to, from net.Conn) {
		defer to.Close()
		for buffer := make([]byte, 32<<10); ; {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if deaf.Load() {
				continue
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				_ = in.Close()
				continue
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, func() { deaf.Store(true) }
}

// The client tries for seconds to settle a message over a connection that is lost. With each of a batch, one after the
// other, the pump would be held for minutes.
func TestABatchThatCannotBeSettledHoldsThePumpForOneWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	port, deafen := relay(t, b.port)
	through, err := pump.Open(standin.ConnectionString(port), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	var bodies []string
	for i := range 16 {
		bodies = append(bodies, strconv.Itoa(i))
	}
	b.send(t, bodies...)
	ctx, stop := context.WithCancel(t.Context())
	var called time.Time
	_ = through.Receive(ctx, trigger(app.ServiceBusTrigger{Batch: true}), func(context.Context, map[string]any, map[string]any) error {
		deafen()
		stop() // and with it Receive ends, once the batch is settled or its time is over
		called = time.Now()
		return nil
	})
	assert.Less(t, time.Since(called), 30*time.Second, "sixteen waits of five seconds")
}

func TestTheEndAwaitsWhatIsBeingInvoked(t *testing.T) {
	t.Parallel()
	b := newBench(t, standin.Properties{})
	ctx, stop := context.WithCancel(t.Context())
	began, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.pump.Receive(ctx, trigger(app.ServiceBusTrigger{}), func(context.Context, map[string]any, map[string]any) error {
			close(began)
			<-release
			return nil
		})
	}()
	b.send(t, "x")
	<-began
	stop()
	select {
	case err := <-ended:
		assert.Fail(t, "it left its invocation behind", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	require.NoError(t, <-ended)
	b.empty(t)
}
