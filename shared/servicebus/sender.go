package servicebus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// ErrRefused says that the broker will never take a message as it is: too large, or against the entity's rules.
// Sending it again changes nothing.
var ErrRefused = errors.New("refused by the broker")

// Message is what is sent. ID is what the broker detects duplicates by, where the entity asks for it.
type Message struct {
	ID          string
	Subject     string
	ContentType string
	// PartitionKey keeps messages together that must stay in order, should the entity ever be partitioned.
	PartitionKey string
	Body         []byte
	Properties   map[string]any // strings, numbers, booleans, times
	At           time.Time      // when it may be received; zero is at once
	// Trace is the trace context (W3C traceparent) of what the message tells of; "" for none. It goes with the message,
	// and a sampled one gets a span of the send.
	Trace string
}

func (m Message) encode() *azservicebus.Message {
	out := &azservicebus.Message{Body: m.Body, ApplicationProperties: m.Properties}
	if m.Trace != "" {
		out.ApplicationProperties = make(map[string]any, len(m.Properties)+2)
		maps.Copy(out.ApplicationProperties, m.Properties)
		// The second is Azure's own name for it, which its tools look for.
		out.ApplicationProperties["traceparent"], out.ApplicationProperties["Diagnostic-Id"] = m.Trace, m.Trace
	}
	for _, f := range []struct {
		to    **string
		value string
	}{{&out.MessageID, m.ID}, {&out.Subject, m.Subject}, {&out.ContentType, m.ContentType}, {&out.PartitionKey, m.PartitionKey}} {
		if f.value != "" {
			*f.to = &f.value
		}
	}
	if !m.At.IsZero() {
		out.ScheduledEnqueueTime = &m.At
	}
	return out
}

// Sender sends to one queue or topic. Several goroutines may use it; each Send keeps the order of its messages.
type Sender struct {
	client *Client
	entity string

	mu   sync.Mutex
	link *azservicebus.Sender
	of   *azservicebus.Client // whose link it is
}

// Sender makes the sender of an entity. It connects when it first sends.
func (c *Client) Sender(entity string) *Sender { return &Sender{client: c, entity: entity} }

// Send sends messages in order, in as few batches as their sizes allow. It returns how many of them, from the
// first, the broker has. When that is not all of them, err says why the next one was not sent: ErrRefused when
// that message itself is at fault, anything else when it may be sent again later, perhaps for a second time. While the
// broker is known not to answer it fails at once.
func (s *Sender) Send(ctx context.Context, messages []Message) (sent int, err error) {
	messages, spans := s.trace(ctx, messages)
	defer func() { spans.end(sent, err) }()
	ctx, cancel := context.WithTimeout(ctx, dependency.ServiceBus.Call)
	defer cancel()
	for sent < len(messages) {
		n, err := s.guarded(ctx, messages[sent:])
		sent += n
		if err != nil {
			return sent, fmt.Errorf("sending to %s: %w", s.entity, err)
		}
	}
	return sent, nil
}

// guarded is sendBatch under the breaker.
func (s *Sender) guarded(ctx context.Context, messages []Message) (sent int, err error) {
	permit, err := s.client.breaker.Acquire()
	if err != nil {
		return 0, err
	}
	outcome, began := dependency.Undecided, time.Now() // also of a panic in the client
	defer func() { s.client.breaker.Settle(permit, outcome) }()
	link, of, err := s.open()
	if err != nil {
		return 0, err // of the client's own making
	}
	sent, err = sendBatch(ctx, link, messages)
	outcome = outcomeOf(err, time.Since(began))
	if outcome == dependency.Failed && errors.Is(err, context.DeadlineExceeded) {
		s.client.renew(of)
	}
	return sent, err
}

// long is what a broker that is there needs at most. A caller with less time than that has proved nothing.
const long = time.Second

// outcomeOf says what the end of a send means for the broker. Whatever it says, it is there.
func outcomeOf(err error, took time.Duration) dependency.Outcome {
	var condition *amqp.Error
	switch {
	case err == nil, errors.Is(err, ErrRefused), errors.As(err, &condition), strings.Contains(err.Error(), "Condition: "):
		return dependency.Answered
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && took < long:
		return dependency.Undecided
	}
	return dependency.Failed
}

// sendBatch sends the longest beginning of messages that fits into one batch.
func sendBatch(ctx context.Context, link *azservicebus.Sender, messages []Message) (sent int, err error) {
	batch, err := link.NewMessageBatch(ctx, nil)
	if err != nil {
		return 0, judge(err)
	}
	n := 0
	for ; n < len(messages); n++ {
		err = batch.AddMessage(messages[n].encode(), nil)
		if err != nil {
			break
		}
	}
	switch {
	case n == 0 && errors.Is(err, azservicebus.ErrMessageTooLarge):
		return 0, fmt.Errorf("%w: %w", ErrRefused, err)
	case n == 0:
		return 0, fmt.Errorf("%w: it cannot be encoded: %w", ErrRefused, err)
	}
	if err = link.SendMessageBatch(ctx, batch, nil); err == nil {
		return n, nil
	}
	if err = judge(err); !errors.Is(err, ErrRefused) || n == 1 {
		return 0, err
	}
	// One of them is at fault and takes the others down with it: find out which, one by one, up to it.
	for i, m := range messages[:n] {
		if err := link.SendMessage(ctx, m.encode(), nil); err != nil {
			return i, judge(err)
		}
	}
	return n, nil
}

// open is the link, and whose it is.
func (s *Sender) open() (*azservicebus.Sender, *azservicebus.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.client.client.Load(); s.link == nil || s.of != now {
		link, err := now.NewSender(s.entity, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("opening a link: %w", err)
		}
		s.link, s.of = link, now
	}
	return s.link, s.of, nil
}

// refusals are the conditions with which the broker refuses a message for what it is.
var refusals = []amqp.ErrCond{
	amqp.ErrCondMessageSizeExceeded, amqp.ErrCondInvalidField, amqp.ErrCondDecodeError, amqp.ErrCondPreconditionFailed,
	"com.microsoft:argument-error", "com.microsoft:argument-out-of-range",
}

// judge tells a message's own fault from everybody's trouble. What is not known to be the message's fault counts
// as trouble: it is sent again, and nobody is parked for a broker's bad hour.
func judge(err error) error {
	if errors.Is(err, azservicebus.ErrMessageTooLarge) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var condition *amqp.Error
	found := errors.As(err, &condition)
	for _, refusal := range refusals {
		// The client knows few conditions; others it takes for a lost connection and wraps without Unwrap, so that
		// only the text tells them. Tests with the real client notice when a new version words it differently.
		if found && condition.Condition == refusal || strings.Contains(err.Error(), "Condition: "+string(refusal)+",") {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	return err
}
