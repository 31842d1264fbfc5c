package money_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/company/order-catalog-service/shared/money"
)

func Example() {
	price, _ := money.Parse("19.90", "USD")
	three, _ := price.Times(3)
	text, _ := json.Marshal(three)
	fmt.Println(three, string(text))
	// Output: 59.70 USD {"amount":"59.70","currency":"USD"}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		amount, currency, want string
		err                    error
	}{
		{"19.99", "USD", "19.99 USD", nil},
		{"19.9", "USD", "19.90 USD", nil},
		{"0.05", "EUR", "0.05 EUR", nil},
		{"-0.05", "EUR", "-0.05 EUR", nil},
		{"1500", "JPY", "1500 JPY", nil},
		{"1.234", "KWD", "1.234 KWD", nil},
		{"1.5", "JPY", "", money.ErrAmount},
		{"1.999", "USD", "", money.ErrAmount},
		{"", "USD", "", money.ErrAmount},
		{"-", "USD", "", money.ErrAmount},
		{"1.", "USD", "", money.ErrAmount},
		{".5", "USD", "", money.ErrAmount},
		{"+1", "USD", "", money.ErrAmount},
		{"1e3", "USD", "", money.ErrAmount},
		{"٣", "USD", "", money.ErrAmount},
		{"92233720368547758.08", "USD", "", money.ErrOverflow},
		{"-1.50", "VED", "-1.50 VED", nil},
		{"--1", "USD", "", money.ErrAmount},
		{"1", "usd", "", money.ErrCurrency},
		{"1", "", "", money.ErrCurrency},
	} {
		got, err := money.Parse(c.amount, c.currency)
		if c.err != nil {
			assert.ErrorIs(t, err, c.err, "%s %s", c.amount, c.currency)
			continue
		}
		require.NoError(t, err, c.amount)
		assert.Equal(t, c.want, got.String())
	}
}

func TestArithmeticSaysWhenItDoesNotFit(t *testing.T) {
	most, err := money.FromMinor(math.MaxInt64, "USD")
	require.NoError(t, err)
	cent, err := money.FromMinor(1, "USD")
	require.NoError(t, err)
	_, err = most.Add(cent)
	require.ErrorIs(t, err, money.ErrOverflow)
	_, err = most.Times(2)
	require.ErrorIs(t, err, money.ErrOverflow)
	yen, err := money.FromMinor(1, "JPY")
	require.NoError(t, err)
	_, err = cent.Add(yen)
	require.ErrorIs(t, err, money.ErrMixed)
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		currency := rapid.SampledFrom([]string{"USD", "JPY", "KWD", "CLF"}).Draw(t, "currency")
		m, err := money.FromMinor(rapid.Int64().Draw(t, "minor"), currency)
		require.NoError(t, err)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		var back money.Money
		if m.Minor() == math.MinInt64 {
			return // its magnitude has no positive twin to be read through
		}
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, m, back)
	})
}

func TestJSONIsReadStrictly(t *testing.T) {
	for _, raw := range []string{
		`null`, `"19.99"`, `{}`, `{"amount":"1"}`, `{"currency":"USD"}`, `{"amount":1,"currency":"USD"}`,
		`{"amount":"1","currency":"USD","cents":100}`,
	} {
		var m money.Money
		assert.ErrorIs(t, json.Unmarshal([]byte(raw), &m), money.ErrAmount, raw)
	}
}

func FuzzMoneyJSON(f *testing.F) {
	f.Add(`{"amount":"19.99","currency":"USD"}`)
	f.Add(`{"amount":19.99,"currency":"USD"}`)
	f.Add(`{"amount":"","currency":"USD"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, raw string) {
		var m money.Money
		if json.Unmarshal([]byte(raw), &m) != nil || m == (money.Money{}) {
			return
		}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		var back money.Money
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, m, back)
	})
}
