package webhooks

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// TestTheGauges count what waits and what is dead; the age is of deliveries that nothing but us holds up.
func TestTheGauges(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	endpoint := func(paused bool) uuid.UUID {
		id := uuid.New()
		d.Exec(t, `INSERT INTO webhook_endpoints (id, owner_key, owner, url, events, signature, secret, paused_until)
			VALUES ($1, $1, 'x', 'https://example.com', '{*}', 'hmac', '', CASE WHEN $2 THEN now() + interval '1 hour' END)`, id, paused)
		return id
	}
	deliver := func(endpoint uuid.UUID, status string, due time.Duration) {
		d.Exec(t, `INSERT INTO webhook_deliveries (event_id, endpoint_id, status, next_attempt_at) VALUES ($1, $2, $3, now() + $4)`,
			postgres.NewID(time.Now()), endpoint, status, due)
	}
	healthy, paused := endpoint(false), endpoint(true)
	deliver(healthy, "pending", -time.Minute)
	deliver(healthy, "pending", time.Hour)
	deliver(paused, "pending", -time.Hour)
	deliver(paused, "dead", -time.Hour)
	deliver(healthy, "succeeded", -time.Hour)
	pending, dead, oldest, err := gauges(t.Context(), d.Pools.Background)
	require.NoError(t, err)
	assert.Equal(t, int64(3), pending)
	assert.Equal(t, int64(1), dead)
	assert.InDelta(t, 60, oldest, 10)
}
