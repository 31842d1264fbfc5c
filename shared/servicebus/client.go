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
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
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
	Namespace        string // fully qualified: <name>.servicebus.windows.net
	ClientID         string // of a user-assigned identity; "" is the system-assigned one
}

// Client is one connection to a namespace, made when it is first needed.
type Client struct {
	client *azservicebus.Client
}

// Open makes a client. It does not connect, so it fails only for options that cannot be read.
func Open(o Options) (*Client, error) {
	// The client's own retries are few and quick: the outbox and the sweep repeat what failed, with the database
	// telling them what is left, and a long retry would only hold their transactions open.
	options := &azservicebus.ClientOptions{RetryOptions: azservicebus.RetryOptions{
		MaxRetries: 1, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second,
	}}
	switch {
	case o.ConnectionString != "":
		client, err := azservicebus.NewClientFromConnectionString(o.ConnectionString, options)
		if err != nil {
			// The parser's message may quote the string, key and all.
			return nil, errors.New("SERVICEBUS_CONNECTION is not a Service Bus connection string (Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...)")
		}
		return &Client{client}, nil
	case o.Namespace != "":
		if strings.Contains(o.Namespace, "/") {
			return nil, errors.New("SERVICEBUS_CONNECTION__fullyQualifiedNamespace is a host name like shop.servicebus.windows.net, without scheme or path")
		}
		identity := &azidentity.ManagedIdentityCredentialOptions{}
		if o.ClientID != "" {
			identity.ID = azidentity.ClientID(o.ClientID)
		}
		credential, err := azidentity.NewManagedIdentityCredential(identity)
		if err != nil {
			return nil, fmt.Errorf("SERVICEBUS_CONNECTION__clientId: %w", err)
		}
		client, err := azservicebus.NewClient(o.Namespace, credential, options)
		if err != nil {
			return nil, fmt.Errorf("SERVICEBUS_CONNECTION__fullyQualifiedNamespace: %w", err)
		}
		return &Client{client}, nil
	}
	return nil, errors.New("neither SERVICEBUS_CONNECTION nor SERVICEBUS_CONNECTION__fullyQualifiedNamespace is set")
}

// Close ends the connection and every sender's link.
func (c *Client) Close(ctx context.Context) error {
	if err := c.client.Close(ctx); err != nil {
		return fmt.Errorf("closing the connection to Service Bus: %w", err)
	}
	return nil
}
