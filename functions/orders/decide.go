package orders

import (
	"bytes"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/rest"
)

// want is a wished quantity of one product.
type want struct {
	product  uuid.UUID
	quantity int
	expected *money.Money // the price the customer saw, when they say so
	pointer  string       // where in the request it stands
}

// shelf is what is known of a product while its stock is locked.
type shelf struct {
	product   uuid.UUID
	sku, name string
	price     money.Money
	available int64
	sequence  int64
}

// take is what an order does to one shelf.
type take struct {
	shelf    shelf
	quantity int64
	depleted bool // the last unit goes: the product's representation changes
}

// merge sums the lines of one product and sorts by product id, the order in which stock is locked everywhere.
func merge(wants []want) ([]want, *rest.Problem) {
	byProduct := make(map[uuid.UUID]int, len(wants))
	var out []want
	for _, w := range wants {
		i, seen := byProduct[w.product]
		if !seen {
			byProduct[w.product] = len(out)
			out = append(out, w)
			continue
		}
		if out[i].quantity += w.quantity; out[i].quantity > MaxQuantity {
			return nil, rest.Invalid(w.pointer+"/quantity", "the lines of this product add up to more than %d", MaxQuantity)
		}
		switch {
		case out[i].expected == nil:
			out[i].expected = w.expected
		case w.expected != nil && *w.expected != *out[i].expected:
			return nil, rest.Invalid(w.pointer+"/expectedUnitPrice", "another line of this product expects another price")
		}
	}
	slices.SortFunc(out, func(a, b want) int { return bytes.Compare(a.product[:], b.product[:]) })
	return out, nil
}

// decide says which stock the wants take from the shelves, or why not. Prices are in one currency. Nothing is
// changed: the caller writes what it returns, under the same locks.
func decide(wants []want, shelves map[uuid.UUID]shelf) ([]take, *rest.Problem) {
	var (
		takes           []take
		unknown         []rest.FieldError
		repriced, short []map[string]any
	)
	for _, w := range wants {
		s, ok := shelves[w.product]
		if !ok {
			unknown = append(unknown, rest.FieldError{Pointer: w.pointer + "/productId", Detail: "there is no such product"})
			continue
		}
		if w.expected != nil && *w.expected != s.price {
			repriced = append(repriced, map[string]any{"productId": w.product, "expectedUnitPrice": *w.expected, "currentUnitPrice": s.price})
		}
		if s.available < int64(w.quantity) {
			short = append(short, map[string]any{"productId": w.product, "requested": w.quantity, "available": s.available})
		}
		if len(takes) > 0 && takes[0].shelf.price.Currency() != s.price.Currency() {
			return nil, rest.Invalid(w.pointer+"/productId", "it is priced in %s, other lines in %s: one order has one currency",
				s.price.Currency(), takes[0].shelf.price.Currency())
		}
		takes = append(takes, take{shelf: s, quantity: int64(w.quantity), depleted: s.available == int64(w.quantity)})
	}
	switch {
	case len(unknown) > 0:
		p := rest.NewProblem(rest.Validation, "The order names products that do not exist.")
		p.Errors = unknown
		return nil, p
	case len(repriced) > 0:
		p := rest.NewProblem(rest.PriceChanged, "At least one product costs something else now.")
		p.Extensions = map[string]any{"products": repriced}
		return nil, p
	case len(short) > 0:
		p := rest.NewProblem(rest.SoldOut, "At least one product has fewer units than ordered. Nothing was taken.")
		p.Extensions = map[string]any{"products": short}
		return nil, p
	}
	return takes, nil
}

// lines are the order's lines and total for what it takes.
func lines(takes []take) (list []Line, total money.Money, problem *rest.Problem) {
	var err error
	for i, t := range takes {
		var line Line
		if line, err = newLine(t.shelf.product, t.shelf.sku, t.shelf.name, int(t.quantity), t.shelf.price); err != nil {
			break
		}
		if i == 0 {
			total = line.LineTotal
		} else if total, err = total.Add(line.LineTotal); err != nil {
			break
		}
		list = append(list, line)
	}
	if errors.Is(err, money.ErrOverflow) {
		return nil, money.Money{}, rest.Invalid("/lines", "the total is larger than any amount of money")
	}
	return list, total, nil
}
