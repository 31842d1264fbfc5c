//go:build contracts

package pact

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pact-foundation/pact-go/v2/matchers"
	message "github.com/pact-foundation/pact-go/v2/message/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// receiver is a warehouse's webhook endpoint behind the check of the signature: what it keeps of each event.
type receiver struct {
	seen   map[string]bool  // ids: an event may come twice
	at     map[string]int64 // the newest sequence of each order or product: an event may come late
	orders map[string]order
	prices map[string]price
	empty  map[string]bool
}

type order struct {
	Status      string
	Units       int
	PostalCode  string
	TotalAmount price
}

func newReceiver() *receiver {
	return &receiver{seen: map[string]bool{}, at: map[string]int64{}, orders: map[string]order{}, prices: map[string]price{}, empty: map[string]bool{}}
}

// hear takes the body of one delivery.
func (r *receiver) hear(body []byte) error {
	var event struct {
		SpecVersion, ID, Source, Type, Subject, Sequence string
		Time                                             time.Time
		Data                                             json.RawMessage
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	if event.SpecVersion != "1.0" || event.ID == "" {
		return fmt.Errorf("not a CloudEvent: %s", body)
	}
	sequence, err := strconv.ParseInt(event.Sequence, 10, 64)
	if err != nil {
		return err
	}
	if r.seen[event.ID] || sequence <= r.at[event.Subject] {
		return nil
	}
	r.seen[event.ID], r.at[event.Subject] = true, sequence
	switch event.Type {
	case "order.created.v1", "order.confirmed.v1", "order.cancelled.v1":
		var data struct {
			ID, Status      string
			TotalAmount     price
			ShippingAddress struct{ PostalCode string }
			Lines           []struct{ Quantity int }
		}
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return err
		}
		o := order{Status: data.Status, TotalAmount: data.TotalAmount, PostalCode: data.ShippingAddress.PostalCode}
		for _, line := range data.Lines {
			o.Units += line.Quantity
		}
		r.orders[data.ID] = o
	case "product.price_changed.v1":
		var data struct {
			ProductID string
			NewPrice  price
		}
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return err
		}
		r.prices[data.ProductID] = data.NewPrice
	case "product.stock_depleted.v1":
		var data struct{ ProductID string }
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return err
		}
		r.empty[data.ProductID] = true
	}
	return nil // a type that came later is not for us
}

// TestReceiver is the contract of a webhook endpoint: what it reads of each event. The words of the signature are not in
// it: Standard Webhooks' own libraries check those, see tests/kit/jswebhooks.
func TestReceiver(t *testing.T) {
	dir := t.TempDir()
	told := func(kind, subject string, data members) members {
		return members{
			"specversion": "1.0", "type": kind, "id": isID, "source": matchers.Regex("/api/v1/"+subject+"/"+anOrder, "^/api/v1/"+subject+"/[0-9a-f-]{36}$"),
			"subject": isID, "sequence": matchers.Regex("1", `^[0-9]+$`), "datacontenttype": "application/json",
			"time": matchers.Regex("2026-11-24T12:00:00.123456Z", `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`), "data": data,
		}
	}
	inState := func(status string) members {
		return members{
			"id": isID, "status": status, "totalAmount": isMoney, "shippingAddress": members{"postalCode": matchers.Like("73301")},
			"lines": matchers.EachLike(members{"quantity": matchers.Integer(2)}, 1),
		}
	}
	hears := func(description string, content members, after func(r *receiver)) {
		t.Helper()
		// One for each: it writes all that it has heard after each message, and the file is added to.
		warehouse, err := message.NewAsynchronousPact(message.Config{Consumer: "webhook-receiver", Provider: provider, PactDir: dir})
		require.NoError(t, err)
		require.NoError(t, warehouse.AddAsynchronousMessage().ExpectsToReceive(description).
			WithMetadata(map[string]string{"contentType": "application/json"}).WithJSONContent(content).
			ConsumedBy(func(m message.AsynchronousMessage) error {
				r := newReceiver()
				if err := r.hear(m.Contents); err != nil {
					return err
				}
				after(r)
				return r.hear(m.Contents) // twice is once
			}).Verify(t))
	}
	for _, status := range []string{"Pending", "Confirmed", "Cancelled"} {
		kind := strings.ToLower(strings.Replace(status, "Pending", "Created", 1))
		hears("an order was "+kind, told("order."+kind+".v1", "orders", inState(status)), func(r *receiver) {
			assert.Equal(t, order{status, 2, "73301", price{"19.99", "USD"}}, r.orders[anOrder])
		})
	}
	hears("a price has changed", told("product.price_changed.v1", "products", members{"productId": isID, "newPrice": isMoney}), func(r *receiver) {
		assert.Equal(t, map[string]price{anOrder: {"19.99", "USD"}}, r.prices)
	})
	hears("the last unit is gone", told("product.stock_depleted.v1", "products", members{"productId": isID}), func(r *receiver) {
		assert.True(t, r.empty[anOrder])
	})
	committed(t, dir, "webhook-receiver")
}
