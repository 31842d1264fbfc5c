// Package events names what happens in the shop and writes it down as CloudEvents 1.0 in JSON.
//
// An event is encoded once, in the transaction that it tells of, and its bytes never change again: receivers
// check signatures over them. id and source together name it for ever, so that whoever hears it twice knows.
package events

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/money"
)

// The types of events. Letters, digits, underscore and dot only; the version ends the name.
const (
	OrderCreated         = "order.created.v1"
	OrderConfirmed       = "order.confirmed.v1"
	OrderCancelled       = "order.cancelled.v1"
	ProductPriceChanged  = "product.price_changed.v1"
	ProductStockDepleted = "product.stock_depleted.v1"
	WebhookDisabled      = "webhook.endpoint_disabled.v1"
)

// Types are all of them: what an endpoint can subscribe to.
var Types = []string{
	OrderCreated, OrderConfirmed, OrderCancelled, ProductPriceChanged, ProductStockDepleted, WebhookDisabled,
}

// Event is one thing that happened to one aggregate.
type Event struct {
	ID        uuid.UUID // UUIDv7 by the database's clock
	Type      string
	Aggregate Aggregate
	Sequence  int64 // numbers the aggregate's events, taken under its row's lock
	Time      time.Time
	Data      any
	// TraceParent is the W3C trace context of the request that made it happen, "" for none (CloudEvents'
	// distributed tracing extension).
	TraceParent string
}

// StockDepletion is the data of ProductStockDepleted: the last unit was sold or taken out.
type StockDepletion struct {
	ProductID uuid.UUID `json:"productId"`
	SKU       string    `json:"sku"`
}

// PriceChange is the data of ProductPriceChanged.
type PriceChange struct {
	ProductID uuid.UUID   `json:"productId"`
	SKU       string      `json:"sku"`
	OldPrice  money.Money `json:"oldPrice"`
	NewPrice  money.Money `json:"newPrice"`
}

// EndpointDisabled is the data of WebhookDisabled: an endpoint gets no events any more. It is for operators.
type EndpointDisabled struct {
	EndpointID uuid.UUID `json:"endpointId"`
	Owner      string    `json:"owner"`
	Reason     string    `json:"reason"`
	Probed     bool      `json:"probed"` // it is asked every hour, and enabled again when it answers
}

// Aggregate is what an event is about.
type Aggregate struct {
	Type string // "order", "product" or "webhook"
	ID   uuid.UUID
}

// Source is the URI reference of the aggregate, which is also its address in the API.
func (a Aggregate) Source() string { return "/api/v1/" + a.Type + "s/" + a.ID.String() }

// Encode writes the event in structured mode (CloudEvents JSON format 1.0). Data that is JSON already
// (json.RawMessage, as json.Marshal wrote it) goes in as it is.
func (e Event) Encode() ([]byte, error) {
	data, encoded := e.Data.(json.RawMessage)
	if !encoded {
		var err error
		if data, err = json.Marshal(e.Data); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", e.Type, err)
		}
	}
	// Written out, as every order pays for it. Nothing here needs an escape: ids, numbers, times, and names of ours.
	id, aggregate := e.ID.String(), e.Aggregate.ID.String()
	out := make([]byte, 0, 512+len(data))
	out = append(out, `{"specversion":"1.0","id":"`...)
	out = append(out, id...)
	out = append(out, `","source":"`...)
	out = append(out, e.Aggregate.Source()...)
	out = append(out, `","type":"`...)
	out = append(out, e.Type...)
	out = append(out, `","subject":"`...)
	out = append(out, aggregate...)
	out = append(out, `","time":"`...)
	out = e.Time.UTC().AppendFormat(out, time.RFC3339Nano)
	out = append(out, `","datacontenttype":"application/json","partitionkey":"`...)
	out = append(out, aggregate...)
	out = append(out, `","sequence":"`...)
	out = strconv.AppendInt(out, e.Sequence, 10)
	if e.TraceParent != "" {
		out = append(out, `","traceparent":"`...)
		out = append(out, e.TraceParent...)
	}
	out = append(out, `","data":`...)
	out = append(out, data...)
	return append(out, '}'), nil
}
