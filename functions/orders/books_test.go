package orders

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// What the checker is for can't happen by way of the service, so the rows are spoilt by hand: each kind is found, right
// books are right, and one process looks for all.
func TestTheBooksAreChecked(t *testing.T) {
	t.Parallel()
	api := kit.NewAPI(t)
	var log bytes.Buffer
	o, err := New(Options{API: api.REST, Pools: api.Pools, Keys: api.Keys, Cursors: api.Cursors, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	check := func(every time.Duration) int {
		t.Helper()
		wrong, err := o.CheckBooks(t.Context(), api.Pools.Background, every)
		require.NoError(t, err)
		return wrong
	}
	sell := func(product uuid.UUID, status string) {
		order := uuid.Must(uuid.NewV7())
		api.Exec(t, `INSERT INTO orders (id, order_number, customer_key, customer_id, status, shipping_address, currency, total_minor, cancel_reason, created_at, updated_at)
			VALUES ($1::uuid, $1::uuid::text, $1::uuid, 'x', $2::text, '{}', 'USD', 1, CASE WHEN $2::text = 'Cancelled' THEN 'x' END, now(), now())`, order, status)
		api.Exec(t, `INSERT INTO order_lines (order_id, line, product_id, sku, name, quantity, unit_price_minor) VALUES ($1, 1, $2, 'x', 'x', 2, 1)`, order, product)
	}
	right, oversold, lost := api.Product(t, 5), api.Product(t, 5), api.Product(t, 5)
	sell(right, "Pending")
	sell(right, "Cancelled")
	api.Exec(t, `UPDATE inventory SET available = 3 WHERE product_id = $1`, right)
	assert.Zero(t, check(0), "what is sold was taken, what was cancelled came back")

	sell(oversold, "Confirmed")
	assert.Equal(t, 1, check(0), "sold and not taken")
	assert.Contains(t, log.String(), oversold.String())
	assert.NotContains(t, log.String(), right.String(), "it names those that are wrong")
	api.Exec(t, `UPDATE inventory SET available = 4 WHERE product_id = $1`, lost)
	assert.Equal(t, 2, check(0), "taken and not sold")
	assert.Zero(t, check(time.Hour), "somebody has looked within the hour")

	// While one looks, the others go on with something else.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	looking, err := pgx.Connect(ctx, api.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, looking.Close(context.Background())) }()
	api.Exec(t, `UPDATE ops_checks SET checked_at = now() - interval '1 day'`)
	tx, err := looking.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `SELECT FROM ops_checks FOR UPDATE`)
	require.NoError(t, err)
	began := time.Now()
	wrong, err := o.CheckBooks(ctx, api.Pools.Background, time.Hour)
	require.NoError(t, err)
	assert.Zero(t, wrong)
	assert.Less(t, time.Since(began), 2*time.Second)
	require.NoError(t, tx.Rollback(ctx))
	assert.Equal(t, 2, check(time.Hour))
}
