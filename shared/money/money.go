// Package money counts in minor units: cents, yen, thousandths of a dinar. Never in floats.
//
// Outside, money is {"amount": "19.99", "currency": "USD"}, with exactly the currency's number of digits. Inside
// it is an int64 of the smallest unit and an ISO 4217 code, and every sum says when it does not fit.
package money

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Money is an amount in a currency. The zero value has no currency and equals no amount.
type Money struct {
	minor    int64
	currency string
}

// What can be wrong with money.
var (
	ErrCurrency = errors.New("unknown currency")
	ErrAmount   = errors.New("not an amount")
	ErrOverflow = errors.New("amount too large")
	ErrMixed    = errors.New("different currencies")
)

// FromMinor makes money of minor units: FromMinor(1999, "USD") is 19.99 dollars.
func FromMinor(minor int64, currency string) (Money, error) {
	if _, ok := digits[currency]; !ok {
		return Money{}, fmt.Errorf("%w %q: want an ISO 4217 code such as USD", ErrCurrency, currency)
	}
	return Money{minor, currency}, nil
}

// Parse reads a decimal amount: an optional minus, digits, and at most as many decimals as the currency has.
func Parse(amount, currency string) (Money, error) {
	scale, ok := digits[currency]
	if !ok {
		return Money{}, fmt.Errorf("%w %q: want an ISO 4217 code such as USD", ErrCurrency, currency)
	}
	whole, fraction, point := strings.Cut(strings.TrimPrefix(amount, "-"), ".")
	if whole == "" || (point && fraction == "") || len(fraction) > scale || !onlyDigits(whole) || !onlyDigits(fraction) {
		return Money{}, fmt.Errorf("%w: %q; want digits with at most %d decimals", ErrAmount, amount, scale)
	}
	minor, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", scale-len(fraction)), 10, 64)
	if err != nil {
		return Money{}, fmt.Errorf("%w: %q", ErrOverflow, amount)
	}
	if amount[0] == '-' {
		minor = -minor
	}
	return Money{minor, currency}, nil
}

func onlyDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// Minor is the amount in the currency's smallest unit.
func (m Money) Minor() int64 { return m.minor }

// Currency is the ISO 4217 code.
func (m Money) Currency() string { return m.currency }

// Add sums two amounts of one currency.
func (m Money) Add(other Money) (Money, error) {
	if m.currency != other.currency {
		return Money{}, fmt.Errorf("%w: %s and %s", ErrMixed, m.currency, other.currency)
	}
	sum := m.minor + other.minor
	if (sum > m.minor) != (other.minor > 0) && other.minor != 0 {
		return Money{}, ErrOverflow
	}
	return Money{sum, m.currency}, nil
}

// Times multiplies by a quantity.
func (m Money) Times(quantity int64) (Money, error) {
	if m.minor == 0 || quantity == 0 {
		return Money{0, m.currency}, nil
	}
	product := m.minor * quantity
	if product/quantity != m.minor || (quantity == -1 && m.minor == math.MinInt64) {
		return Money{}, ErrOverflow
	}
	return Money{product, m.currency}, nil
}

// Amount is the decimal with all of the currency's digits, "19.90".
func (m Money) Amount() string { return string(m.appendAmount(nil)) }

// String is the amount and the currency, "19.90 USD".
func (m Money) String() string { return m.Amount() + " " + m.currency }

func (m Money) appendAmount(out []byte) []byte {
	scale := digits[m.currency]
	magnitude := uint64(m.minor) //nolint:gosec // two's complement is what the next line undoes
	if m.minor < 0 {
		out = append(out, '-')
		magnitude = -magnitude
	}
	var text [24]byte
	number := strconv.AppendUint(text[:0], magnitude, 10)
	if scale == 0 {
		return append(out, number...)
	}
	point := len(number) - scale // may be left of the first digit
	if point <= 0 {
		out = append(out, '0')
	} else {
		out = append(out, number[:point]...)
	}
	out = append(out, '.')
	for range -point {
		out = append(out, '0')
	}
	return append(out, number[max(point, 0):]...)
}

// MarshalJSON implements json.Marshaler.
func (m Money) MarshalJSON() ([]byte, error) { return m.AppendJSON(make([]byte, 0, 48)), nil }

// AppendJSON appends {"amount": "19.90", "currency": "USD"}, without blanks.
func (m Money) AppendJSON(out []byte) []byte {
	out = append(out, `{"amount":"`...)
	out = m.appendAmount(out)
	out = append(out, `","currency":"`...)
	out = append(out, m.currency...)
	return append(out, `"}`...)
}

// UnmarshalJSON implements json.Unmarshaler. The amount must be a string: a JSON number passes through floats in
// too many programs.
func (m *Money) UnmarshalJSON(raw []byte) error {
	var doc struct {
		Amount   *string `json:"amount"`
		Currency *string `json:"currency"`
	}
	strict := json.NewDecoder(bytes.NewReader(raw))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&doc); err != nil || doc.Amount == nil || doc.Currency == nil {
		return fmt.Errorf(`%w: want {"amount": "19.99", "currency": "USD"}`, ErrAmount)
	}
	parsed, err := Parse(*doc.Amount, *doc.Currency)
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// Schema implements huma.SchemaProvider.
func (Money) Schema(huma.Registry) *huma.Schema {
	amount := &huma.Schema{Type: huma.TypeString, Pattern: `^-?[0-9]+(\.[0-9]{1,4})?$`, Examples: []any{"19.99"}, MaxLength: ptr(24)}
	currency := &huma.Schema{Type: huma.TypeString, Pattern: `^[A-Z]{3}$`, Examples: []any{"USD"}}
	s := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"amount", "currency"}, AdditionalProperties: false,
		Description: "An amount with all of its currency's decimals, as a string, and an ISO 4217 code",
		Properties:  map[string]*huma.Schema{"amount": amount, "currency": currency},
	}
	s.PrecomputeMessages()
	return s
}

func ptr(n int) *int { return &n }
