// Package pump receives Service Bus messages for the local host, with the client of the Azure SDK, and hands them
// over as the real host's extension does: one by one or in batches, completed when the function succeeded and
// abandoned when it failed, so that they come again at once with a higher delivery count.
package pump

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/company/order-catalog-service/infra/local/host/app"
)

// settleTime bounds the completion of what one call got, of a whole batch: after a lost connection the client would try for most
// of a minute, with each message, and nothing else would be received meanwhile.
const settleTime = 5 * time.Second

// Pump has one connection for all triggers.
type Pump struct {
	client *azservicebus.Client
	logger *slog.Logger
}

// Open makes a pump for a connection string. It connects when it first receives.
func Open(connection string, logger *slog.Logger) (*Pump, error) {
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 2, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second},
	})
	if err != nil {
		return nil, errors.New("SERVICEBUS_CONNECTION is not a Service Bus connection string")
	}
	return &Pump{client: client, logger: logger}, nil
}

// Close ends the connection. What is locked comes again when its lock expires.
func (p *Pump) Close(ctx context.Context) error {
	if err := p.client.Close(ctx); err != nil {
		return fmt.Errorf("closing the pump: %w", err)
	}
	return nil
}

// Invoke calls the trigger's function; an error gives the messages back.
type Invoke func(ctx context.Context, data, metadata map[string]any) error

// Receive hands the messages of one trigger to invoke until ctx ends, through every loss of the connection. What
// is being invoked then is awaited.
func (p *Pump) Receive(ctx context.Context, t app.ServiceBusTrigger, invoke func(context.Context, map[string]any, map[string]any) error) error {
	if t.Sessions {
		return errors.New("sessions are not done here")
	}
	receiver, err := p.open(t)
	if err != nil {
		return err
	}
	w := &worker{receiver: receiver, trigger: t, invoke: invoke, logger: p.logger, free: make(chan struct{}, t.MaxCalls)}
	for range t.MaxCalls {
		w.free <- struct{}{}
	}
	for ctx.Err() == nil {
		if err := w.next(ctx); err != nil && ctx.Err() == nil {
			p.logger.WarnContext(ctx, "no messages could be received; trying again", "entity", entity(t), "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	w.running.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := receiver.Close(ctx); err != nil {
		return fmt.Errorf("closing the receiver of %s: %w", entity(t), err)
	}
	return nil
}

func entity(t app.ServiceBusTrigger) string {
	if t.Queue != "" {
		return t.Queue
	}
	return t.Topic + "/" + t.Subscription
}

// open makes the receiver; a name may end in the dead-letter sub-queue, as in function.json.
func (p *Pump) open(t app.ServiceBusTrigger) (receiver *azservicebus.Receiver, err error) {
	options := &azservicebus.ReceiverOptions{}
	plain := func(name string) string {
		if before, found := strings.CutSuffix(name, "/$DeadLetterQueue"); found {
			options.SubQueue = azservicebus.SubQueueDeadLetter
			return before
		}
		return name
	}
	if t.Queue != "" {
		queue := plain(t.Queue)
		receiver, err = p.client.NewReceiverForQueue(queue, options)
	} else {
		subscription := plain(t.Subscription)
		receiver, err = p.client.NewReceiverForSubscription(t.Topic, subscription, options)
	}
	if err != nil {
		return nil, fmt.Errorf("receiving from %s: %w", entity(t), err)
	}
	return receiver, nil
}

// worker is the receiving end of one trigger.
type worker struct {
	receiver *azservicebus.Receiver
	trigger  app.ServiceBusTrigger
	invoke   Invoke
	logger   *slog.Logger
	free     chan struct{} // one entry per call that may still be made
	running  sync.WaitGroup
}

// next receives once and starts what came.
func (w *worker) next(ctx context.Context) error {
	options := &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: 5 * time.Millisecond}
	if w.trigger.Batch {
		messages, err := w.receiver.ReceiveMessages(ctx, w.trigger.MaxBatch, options)
		if err != nil || len(messages) == 0 { // none: the link was lost, and the next call makes a new one
			return err
		}
		data, metadata := batch(w.trigger, messages)
		err = w.invoke(context.WithoutCancel(ctx), data, metadata)
		w.settle(ctx, err == nil, messages...)
		return nil
	}
	select {
	case <-w.free:
	case <-ctx.Done():
		return nil
	}
	room := 1
	for more := true; more; {
		select {
		case <-w.free:
			room++
		default:
			more = false
		}
	}
	messages, err := w.receiver.ReceiveMessages(ctx, room, options)
	for range room - len(messages) {
		w.free <- struct{}{}
	}
	for _, m := range messages {
		w.running.Go(func() {
			defer func() { w.free <- struct{}{} }()
			w.one(context.WithoutCancel(ctx), m)
		})
	}
	return err
}

// one invokes the function with a message of its own, whose lock is renewed meanwhile.
func (w *worker) one(ctx context.Context, m *azservicebus.ReceivedMessage) {
	renewing, stop := context.WithTimeout(ctx, w.trigger.MaxRenew)
	var renewals sync.WaitGroup
	renewals.Go(func() { w.renew(renewing, m) })
	data, metadata := single(w.trigger, m)
	err := w.invoke(ctx, data, metadata)
	stop()
	renewals.Wait()
	w.settle(ctx, err == nil, m)
}

func (w *worker) renew(ctx context.Context, m *azservicebus.ReceivedMessage) {
	for m.LockedUntil != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(*m.LockedUntil) / 2):
		}
		if err := w.receiver.RenewMessageLock(ctx, m, nil); err != nil {
			if ctx.Err() == nil {
				w.logger.WarnContext(ctx, "a message's lock could not be renewed", "entity", entity(w.trigger), "message", m.MessageID, "error", err)
			}
			return
		}
	}
}

// settle completes or abandons. Messages with which that fails come again after their lock: at least once.
func (w *worker) settle(ctx context.Context, succeeded bool, messages ...*azservicebus.ReceivedMessage) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for i, m := range messages {
		settle := func() error { return w.receiver.AbandonMessage(ctx, m, nil) }
		if succeeded {
			settle = func() error { return w.receiver.CompleteMessage(ctx, m, nil) }
		}
		err := settle()
		if err == nil {
			continue
		}
		w.logger.WarnContext(ctx, "a message could not be settled and will come again", "entity", entity(w.trigger), "message", m.MessageID, "error", err)
		if ctx.Err() != nil {
			w.logger.WarnContext(ctx, "there was no time to settle the others of the batch", "entity", entity(w.trigger), "messages", len(messages)-i-1)
			return
		}
	}
}
