package orders

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/money"
)

// BenchmarkDecideAll decides a full batch of orders of two lines: what the lane does between its two round trips,
// while it holds the locks.
func BenchmarkDecideAll(b *testing.B) {
	price, err := money.FromMinor(1999, "USD")
	if err != nil {
		b.Fatal(err)
	}
	shelves := make(map[uuid.UUID]shelf)
	for i := range 4 {
		id := uuid.UUID{15: byte(i)}
		shelves[id] = shelf{product: id, sku: "P", name: "Thing", price: price, available: 1 << 50, sequence: 1}
	}
	batch := make([]work, maxBatch)
	for i := range batch {
		batch[i] = &placement{
			job: job{refuse: refusing, request: idempotency.Request{Operation: "place-order", Key: fmt.Sprint(i)}}, customerID: "ada",
			wants: []want{{product: uuid.UUID{15: byte(i % 4)}, quantity: 1}, {product: uuid.UUID{15: byte((i + 1) % 4)}, quantity: 2}},
		}
	}
	s := found(shelves, nil, maxBatch)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decideAll(batch, s); err != nil {
			b.Fatal(err)
		}
	}
}
