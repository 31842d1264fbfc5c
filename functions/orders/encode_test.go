package orders

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/rest"
)

func TestAnOrderIsEncodedAsEncodingJSONWould(t *testing.T) {
	t.Parallel()
	id := rapid.Custom(func(t *rapid.T) (id uuid.UUID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	price := rapid.Custom(func(t *rapid.T) money.Money {
		m, err := money.FromMinor(rapid.Int64().Draw(t, "minor"), rapid.SampledFrom([]string{"USD", "JPY", "KWD"}).Draw(t, "currency"))
		require.NoError(t, err)
		return m
	})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]*`))
		o := Order{
			ID: id.Draw(t, "id"), OrderNumber: text.Draw(t, "number"), Status: Status(text.Draw(t, "status")), CustomerID: text.Draw(t, "customer"),
			ShippingAddress: Address{
				Name: text.Draw(t, "name"), Line1: text.Draw(t, "line1"), Line2: text.Draw(t, "line2"), City: text.Draw(t, "city"),
				Region: text.Draw(t, "region"), PostalCode: text.Draw(t, "code"), Country: text.Draw(t, "country"),
			},
			TotalAmount: price.Draw(t, "total"), CancelReason: text.Draw(t, "reason"),
			CreatedAt: time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")).UTC(),
		}
		for range rapid.IntRange(0, 3).Draw(t, "lines") {
			o.Lines = append(o.Lines, Line{
				ProductID: id.Draw(t, "product"), SKU: text.Draw(t, "sku"), Name: text.Draw(t, "title"), Quantity: rapid.Int().Draw(t, "quantity"),
				UnitPrice: price.Draw(t, "unit"), LineTotal: price.Draw(t, "line"),
			})
		}
		want, err := rest.JSON(http.StatusCreated, o)
		require.NoError(t, err)
		got := orderAnswer(http.StatusCreated, o)
		require.Equal(t, string(want.Body), string(got.Body))
		require.Equal(t, want, got)
		address, err := json.Marshal(o.ShippingAddress)
		require.NoError(t, err)
		require.Equal(t, string(address), string(o.ShippingAddress.append(nil)))
	})
}

func BenchmarkOrderJSON(b *testing.B) {
	price, err := money.FromMinor(1999, "USD")
	require.NoError(b, err)
	l, err := newLine(uuid.New(), "load-1", "Load", 1, price)
	require.NoError(b, err)
	o := Order{
		ID: uuid.New(), OrderNumber: "7K2M-9QXD-4", Status: Pending, CustomerID: "customer-1", ShippingAddress: somebodysOrder().address,
		Lines: []Line{l, l}, TotalAmount: price, CreatedAt: time.Now().UTC(),
	}
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o.append(make([]byte, 0, 1024))
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(o); err != nil {
				b.Fatal(err)
			}
		}
	})
}
