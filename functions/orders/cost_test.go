package orders

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/tests/kit"
	"github.com/company/order-catalog-service/tests/load/proc"
)

// used is the processor time of the server's processes that the orders' pool talks to.
func used(b *testing.B, d *kit.Database) (sum time.Duration) {
	b.Helper()
	for _, pid := range kit.One[[]int32](b, d, `SELECT array_agg(pid) FROM pg_stat_activity
		WHERE application_name = 'order-catalog-orders' AND datname = current_database()`) {
		one, err := proc.Used(int(pid))
		require.NoError(b, err)
		sum += one
	}
	return sum
}

// BenchmarkBatch says what an order costs PostgreSQL in processor time and log, by the size of its batch: a statement
// has a price of its own, which a batch shares. Each order has two lines of 200 products. Times are for a server on this machine.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 8, 32, 64, 128, 256} {
		b.Run(fmt.Sprint("size=", size), func(b *testing.B) {
			d := kit.NewDatabase(b)
			d.Exec(b, `INSERT INTO products (id, sku, name, category, price_minor, currency)
				SELECT lpad(to_hex(n), 32, '0')::uuid, 'p' || n, 'Load', 'Load', 1999, 'USD' FROM generate_series(0, 199) n`)
			d.Exec(b, `INSERT INTO inventory (product_id, initial, available) SELECT id, 1000000000, 1000000000 FROM products`)
			l := &lane{
				pool: d.Pools.Orders, clock: &databaseClock{}, numbers: (&numberKey{pool: d.Pools.Orders}).load,
				nudge: func(...uuid.UUID) {},
			}
			place := func() {
				batch := make([]work, size)
				for i := range batch {
					batch[i] = somebodysOrder()
				}
				require.NoError(b, l.transact(b.Context(), batch))
				for _, w := range batch {
					require.Equal(b, http.StatusCreated, (<-w.self().done).answer.Status)
				}
			}
			for range 10 { // plans are cached after five
				place()
			}
			before, log := used(b, d), kit.One[string](b, d, `SELECT pg_current_wal_insert_lsn()::text`)
			b.ReportAllocs()
			for b.Loop() {
				place()
			}
			n := float64(b.N * size)
			b.ReportMetric(float64((used(b, d)-before).Microseconds())/n, "pg-µs/order")
			b.ReportMetric(kit.One[float64](b, d, `SELECT (pg_current_wal_insert_lsn() - $1::pg_lsn)::float8`, log)/n, "wal-B/order")
			b.ReportMetric(0, "ns/op") // of a batch, and mostly the disk's
			b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "µs/order")
		})
	}
}

func somebodysOrder() *placement {
	p := &placement{
		customer: uuid.New(), customerID: "ada",
		address: Address{Name: "A Customer", Line1: "1 Main Street", City: "Springfield", PostalCode: "12345", Country: "US"},
	}
	p.job = job{
		request: idempotency.Request{Caller: p.customer, Operation: "place-order", Key: uuid.NewString(), Fingerprint: sha256.Sum256(p.customer[:])},
		refuse:  func(*rest.Problem) idempotency.Answer { panic("refused") }, done: make(chan outcome, 1),
	}
	first := byte(rand.IntN(100))
	p.wants = []want{{product: uuid.UUID{15: first}, quantity: 1}, {product: uuid.UUID{15: first + 100}, quantity: 1}}
	return p
}
