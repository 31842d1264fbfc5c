// Package servicebus sends to Azure Service Bus over AMQP, in order and with honest answers: each message is with
// the broker, or refused for what it is, or of unknown fate.
//
// Open makes a client from a connection string, or from a namespace's name and the identity that Azure gives the
// process. Sender is the way out; messages come in through the Functions host's triggers, never here.
package servicebus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// The entities, the same in Azure, in the emulator and in the local broker.
const (
	TopicOrderEvents      = "order-events"
	SubscriptionWebhooks  = "webhooks"
	QueueWebhookDelivery  = "webhook-deliveries"
	QueueOrderRequests    = "order-requests"
	DeadLetterQueueSuffix = "/$DeadLetterQueue"
)

// Options say where the broker is. ConnectionString rules when both are set.
type Options struct {
	ConnectionString string
	Namespace        string                 // fully qualified: <name>.servicebus.windows.net
	Credential       azcore.TokenCredential // with a Namespace
}

// Client is one connection to a namespace, made when it is first needed.
type Client struct {
	client  atomic.Pointer[azservicebus.Client]
	another atomic.Pointer[func() (*azservicebus.Client, error)] // makes one like it
	breaker *dependency.Breaker
	unwatch func()
}

// clientOptions are of every connection. The client's own retries are few and quick: the outbox and the sweep repeat
// what failed, with the database telling them what is left, and a long retry would only hold their transactions open.
func clientOptions() *azservicebus.ClientOptions {
	return &azservicebus.ClientOptions{RetryOptions: azservicebus.RetryOptions{
		MaxRetries: dependency.ServiceBus.Retries, RetryDelay: dependency.ServiceBus.Backoff, MaxRetryDelay: time.Second,
	}}
}

// Open makes a client. It does not connect, so it fails only for options that cannot be read.
func Open(o Options) (*Client, error) { return open(o, clientOptions()) }

func open(o Options, options *azservicebus.ClientOptions) (*Client, error) {
	c := &Client{breaker: dependency.NewBreaker(dependency.ServiceBus)}
	if err := c.connect(o, options); err != nil {
		return nil, err
	}
	var err error
	c.unwatch, err = c.breaker.Watch()
	return c, err
}

// connect makes the first connection, as the options say.
func (c *Client) connect(o Options, options *azservicebus.ClientOptions) error {
	switch {
	case o.ConnectionString != "":
		return c.Use(o.ConnectionString)
	case o.Namespace != "":
		if strings.Contains(o.Namespace, "/") {
			return errors.New("SERVICEBUS_CONNECTION__fullyQualifiedNamespace is a host name like shop.servicebus.windows.net, without scheme or path")
		}
		if o.Credential == nil {
			return errors.New("SERVICEBUS_CONNECTION__fullyQualifiedNamespace needs an identity")
		}
		err := c.use(func() (*azservicebus.Client, error) {
			return azservicebus.NewClient(o.Namespace, o.Credential, options)
		})
		if err != nil {
			return fmt.Errorf("SERVICEBUS_CONNECTION__fullyQualifiedNamespace: %w", err)
		}
		return nil
	}
	return errors.New("neither SERVICEBUS_CONNECTION nor SERVICEBUS_CONNECTION__fullyQualifiedNamespace is set")
}

// grace is how long a connection stays open beside its successor, for what is being sent on it.
const grace = 30 * time.Second

// Use connects with another connection string from here on, as after the rotation of its key. Senders go over with their
// next batch.
func (c *Client) Use(connectionString string) error {
	if c.use(func() (*azservicebus.Client, error) {
		return azservicebus.NewClientFromConnectionString(connectionString, clientOptions())
	}) != nil {
		// The parser's message may quote the string, key and all.
		return errors.New("SERVICEBUS_CONNECTION is not a Service Bus connection string (Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...)")
	}
	return nil
}

func (c *Client) use(another func() (*azservicebus.Client, error)) error {
	client, err := another()
	if err != nil {
		return err
	}
	c.another.Store(&another)
	retire(c.client.Swap(client))
	return nil
}

// renew gives a connection up that does not answer: as long as nobody ends it, everything that is sent on it would wait.
// Whoever comes second finds it done.
func (c *Client) renew(silent *azservicebus.Client) {
	client, err := (*c.another.Load())()
	if err != nil {
		return // it could be made once: there is nothing in it that can fail now
	}
	if c.client.CompareAndSwap(silent, client) {
		retire(silent)
		return
	}
	retire(client)
}

// retire closes a former connection, when what is being sent on it has had its time.
func retire(old *azservicebus.Client) {
	if old == nil {
		return
	}
	background.After(grace, "closing a former connection", func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = old.Close(ctx) // nobody uses it any more
	})
}

// Close ends the connection and every sender's link.
func (c *Client) Close(ctx context.Context) error {
	c.unwatch()
	if err := c.client.Load().Close(ctx); err != nil {
		return fmt.Errorf("closing the connection to Service Bus: %w", err)
	}
	return nil
}
