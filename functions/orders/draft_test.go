package orders

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/idempotency"
)

// FuzzDraft compares with encoding/json: the same draft or the same error of whatever is JSON.
func FuzzDraft(f *testing.F) {
	f.Add(`{"customerId":"c","shippingAddress":{"name":"A","line1":"1","line2":"2","city":"C","region":"R","postalCode":"1","country":"US"},
		"lines":[{"productId":"018cc251-f400-7000-8000-000000000001","quantity":1,"expectedUnitPrice":{"amount":"19.99","currency":"USD"}}]}`)
	f.Add(`{"lines":[{"productId":"x","quantity":1.0,"expectedUnitPrice":null},{"other":[{}]}],"customerId":"\u00e9\n"}`)
	f.Add(`{"lines":[{"quantity":99999999999999999999}]}`)
	f.Add(`{"lines":null,"shippingAddress":null,"customerId":null}`)
	f.Fuzz(func(t *testing.T, raw string) {
		type plain Draft
		var want plain
		var value any
		if _, refused := idempotency.Canonical([]byte(raw)); refused != nil {
			return
		}
		require.NoError(t, json.Unmarshal([]byte(raw), &value))
		if !strictCase(value) {
			return // refused by the schema
		}
		wrong := json.Unmarshal([]byte(raw), &want)
		var got Draft
		err := got.UnmarshalJSON([]byte(raw))
		require.Equal(t, wrong == nil, err == nil, "%v, encoding/json: %v", err, wrong)
		if err == nil {
			a, err := json.Marshal(want)
			require.NoError(t, err)
			b, err := json.Marshal(got)
			require.NoError(t, err)
			require.Equal(t, string(a), string(b))
		}
	})
}

// strictCase tells whether no member could be taken for another in capitals, as the schema sees to.
func strictCase(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			for _, c := range name {
				if c > 'z' || (c >= 'A' && c <= 'Z' && name != "customerId" && name != "shippingAddress" && name != "productId" && name != "postalCode" && name != "expectedUnitPrice") {
					return false
				}
			}
			if !strictCase(member) {
				return false
			}
		}
	case []any:
		for _, item := range v {
			if !strictCase(item) {
				return false
			}
		}
	}
	return true
}

func BenchmarkDraft(b *testing.B) {
	body := []byte(`{"customerId":"customer-1","shippingAddress":{"name":"A Customer","line1":"1 Main Street","city":"Springfield","postalCode":"12345","country":"US"},"lines":[{"productId":"018cc251-f400-7000-8000-000000000001","quantity":1},{"productId":"018cc251-f400-7000-8000-000000000002","quantity":2}]}`)
	type plain Draft
	b.ReportAllocs()
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, new(Draft).UnmarshalJSON(body))
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, json.Unmarshal(body, new(plain)))
		}
	})
}
