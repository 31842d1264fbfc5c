// Package orders takes orders: it places, reads, lists, cancels and confirms them.
//
// The promise is that an order exists exactly once per Idempotency-Key, with its stock taken, its prices as they
// were and its event in the outbox, or not at all; and that no unit is sold twice. Orders that wait at the same
// moment share one transaction (lane.go, batch.go), and cancellations with them: it locks the products in id order,
// looks for the keys in a statement of its own, decides one after the other in Go and writes everything at once.
//
// Read order.go (what an order is), decide.go (who gets what), lane.go (who commits with whom), batch.go (the
// transaction), plan.go (what it does), placement.go and cancel.go (the two kinds of work in it), then place.go,
// confirm.go and queue.go (the other use cases) and http.go (how they are called).
package orders

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/money"
)

// Status is where an order stands.
//
//	              confirm (payment arrived,
//	  place       or nobody cancelled in time)
//	─────────▶ Pending ───────────────▶ Confirmed
//	              │                         │
//	              │ cancel (customer,       │ cancel (admin only)
//	              ▼         admin)          ▼
//	          Cancelled ◀───────────────────┘
//
// Stock is taken when an order is placed and comes back when it is cancelled. Cancelled is final. Every arrow
// raises the order's version by one and emits one event with that number.
type Status string

// The states.
const (
	Pending   Status = "Pending"
	Confirmed Status = "Confirmed"
	Cancelled Status = "Cancelled"
)

// Bounds of an order.
const (
	MaxLines    = 100
	MaxQuantity = 999
)

// Order is the aggregate and what is shown of it.
type Order struct {
	ID              uuid.UUID   `json:"id"`
	OrderNumber     string      `json:"orderNumber" doc:"Short number to tell a person" example:"7K2M-9QXD-4"`
	Status          Status      `json:"status" enum:"Pending,Confirmed,Cancelled"`
	CustomerID      string      `json:"customerId"`
	ShippingAddress Address     `json:"shippingAddress"`
	Lines           []Line      `json:"lines"`
	TotalAmount     money.Money `json:"totalAmount"`
	CancelReason    string      `json:"cancelReason,omitempty"`
	CreatedAt       time.Time   `json:"createdAt"`

	customer uuid.UUID
	version  int64
}

// Line is one product of an order, with name and price as they were when it was placed.
type Line struct {
	ProductID uuid.UUID   `json:"productId"`
	SKU       string      `json:"sku"`
	Name      string      `json:"name"`
	Quantity  int         `json:"quantity"`
	UnitPrice money.Money `json:"unitPrice"`
	LineTotal money.Money `json:"lineTotal"`
}

// Address is where an order goes.
type Address struct {
	Name       string `json:"name" minLength:"1" maxLength:"200" doc:"Who receives it"`
	Line1      string `json:"line1" minLength:"1" maxLength:"200"`
	Line2      string `json:"line2,omitempty" maxLength:"200"`
	City       string `json:"city" minLength:"1" maxLength:"100"`
	Region     string `json:"region,omitempty" maxLength:"100"`
	PostalCode string `json:"postalCode" minLength:"1" maxLength:"20"`
	Country    string `json:"country" pattern:"^[A-Z]{2}$" doc:"ISO 3166-1 alpha-2 code" example:"US"`
}

// newLine computes a line's total.
func newLine(product uuid.UUID, sku, name string, quantity int, unit money.Money) (Line, error) {
	total, err := unit.Times(int64(quantity))
	if err != nil {
		return Line{}, fmt.Errorf("totalling %s: %w", sku, err)
	}
	return Line{ProductID: product, SKU: sku, Name: name, Quantity: quantity, UnitPrice: unit, LineTotal: total}, nil
}

// cancellable says why an order in this state can't be cancelled, "" when it can.
func (s Status) cancellable(admin bool) string {
	switch {
	case s == Cancelled:
		return "The order is cancelled already."
	case s == Confirmed && !admin:
		return "The order is confirmed; a customer can cancel only while it is Pending."
	}
	return ""
}
