package servicebus

import "time"

// Received is a message that a trigger handed over. What the host left out is the zero value.
type Received struct {
	Body                  []byte
	MessageID             string
	CorrelationID         string
	SessionID             string
	Subject               string
	ContentType           string
	LockToken             string
	SequenceNumber        int64
	DeliveryCount         int64
	EnqueuedTime          time.Time
	ApplicationProperties map[string]any
}
