package orders_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/tests/kit"
)

// CX-08 and CX-19: an instance whose clock is years off, in either direction, on a database whose clock is right.
// Its ids fit today's partitions, it forgets no key and confirms no order before their time, and all in time.
func TestCX08AndCX19InstanceWithAWrongClock(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"decades behind": 0, "ahead": 60 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := kit.NewDatabase(t)
			product := d.Product(t, 10)
			synctest.Test(t, func(t *testing.T) { // its clock begins in the year 2000
				time.Sleep(ahead)
				ctx := context.Background()
				pools, err := postgres.Open(ctx, d.AppURL, postgres.Budget{Orders: 2, Reads: 1, Background: 1, Acquire: 10 * time.Second})
				require.NoError(t, err)
				defer pools.Close()
				keys, err := idempotency.New(idempotency.Options{Pools: pools, Timeout: 10 * time.Second})
				require.NoError(t, err)
				api, err := rest.New(rest.Config{Title: "Test", Version: "1", Ready: func(context.Context) error { return nil }})
				require.NoError(t, err)
				o, err := orders.New(orders.Options{
					API: api, Pools: pools, Keys: keys, Cursors: paging.NewCodec([]byte("test")),
					AvailabilityChanged: func(context.Context, map[uuid.UUID]int64) {},
				})
				require.NoError(t, err)
				wrong := kit.One[float64](t, d, `SELECT abs(extract(epoch FROM now() - $1::timestamptz))::float8`, time.Now())
				require.Greater(t, wrong, float64(365*24*3600), "the clocks disagree by more than a year")

				place := func(key string) rest.Answer {
					answer, err := o.Place(ctx, orders.Draft{CustomerID: "ada", Lines: []orders.DraftLine{{ProductID: product, Quantity: 1}}},
						idempotency.Request{Operation: "place-order", Key: key}, uuid.UUID{1})
					require.NoError(t, err)
					require.Equal(t, 201, answer.Status, "%s", answer.Body)
					return answer
				}
				place("k1")
				assert.Zero(t, kit.One[int](t, d, `SELECT count(*) FROM orders WHERE abs(extract(epoch FROM now() - created_at)) > 60
					OR id NOT BETWEEN uuidv7_floor(now() - interval '1 minute') AND uuidv7_floor(now() + interval '1 minute')`))
				assert.Zero(t, kit.One[int](t, d, `SELECT count(*) FROM outbox WHERE abs(extract(epoch FROM now() - occurred_at)) > 60
					OR id NOT BETWEEN uuidv7_floor(now() - interval '1 minute') AND uuidv7_floor(now() + interval '1 minute')`))

				purge := func() int {
					n, err := keys.Purge(ctx, pools.Background, 100)
					require.NoError(t, err)
					return n
				}
				confirm := func() int {
					n, err := o.ConfirmDue(ctx, pools.Background, 15*time.Minute, 100)
					require.NoError(t, err)
					return n
				}
				assert.True(t, place("k1").Replayed)
				assert.Zero(t, purge())
				assert.Zero(t, confirm())

				d.Exec(t, `UPDATE idempotency_keys SET expires_at = now() + interval '1 minute'`)
				assert.True(t, place("k1").Replayed, "for a minute more")
				assert.Zero(t, purge())
				d.Exec(t, `UPDATE idempotency_keys SET expires_at = now() - interval '1 second'`)
				assert.False(t, place("k1").Replayed, "its time is over")
				d.Exec(t, `UPDATE idempotency_keys SET expires_at = now() - interval '1 second'`)
				assert.Zero(t, purge(), "what was queued meanwhile may still come")
				d.Exec(t, `UPDATE idempotency_keys SET expires_at = now() - interval '24 hours 1 second'`)
				assert.Equal(t, 1, purge())

				// The two orders become 16 and 14 minutes old.
				for i, age := range []string{"16 minutes", "14 minutes"} {
					id := kit.One[uuid.UUID](t, d, `SELECT id FROM orders ORDER BY id OFFSET $1 LIMIT 1`, i)
					old := postgres.NewID(kit.One[time.Time](t, d, `SELECT now() - $1::interval`, age))
					d.Exec(t, fmt.Sprintf(`UPDATE orders SET id = '%[1]s' WHERE id = '%[2]s'; UPDATE order_lines SET order_id = '%[1]s' WHERE order_id = '%[2]s'`, old, id))
				}
				assert.Equal(t, 1, confirm())
				assert.Zero(t, confirm())
			})
			balanced(t, d)
		})
	}
}
