package orders

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/rest"
)

// orderAnswer is an answer whose body is the order: what encoding/json would write, for a fifth of the time. Every order is
// encoded while its batch holds the locks of its products.
func orderAnswer(status int, o Order) rest.Answer {
	body := o.append(make([]byte, 0, 512+160*len(o.Lines)))
	return rest.Answer{Status: status, ContentType: "application/json", ETag: rest.ETag(body), Body: body}
}

// append writes the order as encoding/json does.
func (o *Order) append(out []byte) []byte {
	out = appendID(append(out, `{"id":`...), o.ID)
	out = appendText(append(out, `,"orderNumber":`...), o.OrderNumber)
	out = appendText(append(out, `,"status":`...), string(o.Status))
	out = appendText(append(out, `,"customerId":`...), o.CustomerID)
	out = o.ShippingAddress.append(append(out, `,"shippingAddress":`...))
	out = append(out, `,"lines":`...)
	if o.Lines == nil {
		out = append(out, "null"...)
	} else {
		out = append(out, '[')
		for i := range o.Lines {
			if i > 0 {
				out = append(out, ',')
			}
			out = o.Lines[i].append(out)
		}
		out = append(out, ']')
	}
	out = o.TotalAmount.AppendJSON(append(out, `,"totalAmount":`...))
	if o.CancelReason != "" {
		out = appendText(append(out, `,"cancelReason":`...), o.CancelReason)
	}
	out = append(out, `,"createdAt":"`...)
	out = o.CreatedAt.AppendFormat(out, time.RFC3339Nano)
	return append(out, `"}`...)
}

func (l *Line) append(out []byte) []byte {
	out = appendID(append(out, `{"productId":`...), l.ProductID)
	out = appendText(append(out, `,"sku":`...), l.SKU)
	out = appendText(append(out, `,"name":`...), l.Name)
	out = strconv.AppendInt(append(out, `,"quantity":`...), int64(l.Quantity), 10)
	out = l.UnitPrice.AppendJSON(append(out, `,"unitPrice":`...))
	out = l.LineTotal.AppendJSON(append(out, `,"lineTotal":`...))
	return append(out, '}')
}

func (a *Address) append(out []byte) []byte {
	out = appendText(append(out, `{"name":`...), a.Name)
	out = appendText(append(out, `,"line1":`...), a.Line1)
	if a.Line2 != "" {
		out = appendText(append(out, `,"line2":`...), a.Line2)
	}
	out = appendText(append(out, `,"city":`...), a.City)
	if a.Region != "" {
		out = appendText(append(out, `,"region":`...), a.Region)
	}
	out = appendText(append(out, `,"postalCode":`...), a.PostalCode)
	out = appendText(append(out, `,"country":`...), a.Country)
	return append(out, '}')
}

func appendID(out []byte, id uuid.UUID) []byte {
	at := len(out) + 1
	out = append(out, `"00000000-0000-0000-0000-000000000000"`...)
	const hex = "0123456789abcdef"
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			at++
		}
		out[at], out[at+1] = hex[b>>4], hex[b&15]
		at += 2
	}
	return out
}

// appendText writes a string. One that needs an escape, or has letters of other scripts, is left to encoding/json.
func appendText(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string always can be
			return append(out, text...)
		}
	}
	out = append(append(out, '"'), s...)
	return append(out, '"')
}
