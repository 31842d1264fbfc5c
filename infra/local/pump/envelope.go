package pump

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/host/app"
)

// single is the envelope of one message: its body under the binding's name, the broker's properties as metadata.
func single(t app.ServiceBusTrigger, m *azservicebus.ReceivedMessage) (data, metadata map[string]any) {
	metadata = properties(m)
	for _, name := range []string{"EnqueuedTime", "ExpiresAt"} {
		if at, ok := metadata[name].(time.Time); ok {
			metadata[name+"Utc"] = host.DateTime(at)
		}
	}
	return map[string]any{t.Binding: body(t, m)}, metadata
}

// batch is the envelope of several: an array of bodies, and each property as an array beside it, called ...Array.
func batch(t app.ServiceBusTrigger, messages []*azservicebus.ReceivedMessage) (data, metadata map[string]any) {
	bodies := make([]any, len(messages))
	metadata = make(map[string]any)
	for i, m := range messages {
		bodies[i] = body(t, m)
		values := properties(m)
		if at, ok := values["EnqueuedTime"]; ok {
			values["EnqueuedTimeUtc"] = at
		}
		for name, value := range values {
			array, ok := metadata[name+"Array"].([]any)
			if !ok {
				array = make([]any, len(messages))
				metadata[name+"Array"] = array
			}
			array[i] = value
		}
	}
	return map[string]any{t.Binding: bodies}, metadata
}

func body(t app.ServiceBusTrigger, m *azservicebus.ReceivedMessage) any {
	if t.Binary {
		return m.Body
	}
	return string(m.Body)
}

// properties are a message's metadata by the extension's names; what the sender left out is nil.
func properties(m *azservicebus.ReceivedMessage) map[string]any {
	custom := make(map[string]any, len(m.ApplicationProperties))
	for name, value := range m.ApplicationProperties {
		custom[name] = value
	}
	// The extension shows the broker's reasons among the properties.
	for name, value := range map[string]*string{
		"DeadLetterReason": m.DeadLetterReason, "DeadLetterErrorDescription": m.DeadLetterErrorDescription,
	} {
		if value != nil {
			custom[name] = *value
		}
	}
	return map[string]any{
		"MessageId": m.MessageID, "DeliveryCount": m.DeliveryCount, "LockToken": uuid.UUID(m.LockToken).String(),
		"SequenceNumber": value(m.SequenceNumber), "EnqueuedTime": value(m.EnqueuedTime), "ExpiresAt": value(m.ExpiresAt),
		"ContentType": value(m.ContentType), "CorrelationId": value(m.CorrelationID), "Subject": value(m.Subject), "Label": value(m.Subject),
		"SessionId": value(m.SessionID), "PartitionKey": value(m.PartitionKey), "ReplyTo": value(m.ReplyTo), "To": value(m.To),
		"DeadLetterSource":      value(m.DeadLetterSource),
		"ApplicationProperties": custom, "UserProperties": custom,
	}
}

func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
