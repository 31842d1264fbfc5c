package webhooks_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// TestHistoryLeavesByTheWeek: after 31 days, and only when nothing of the week is pending. The role that serves
// requests may have it done.
func TestHistoryLeavesByTheWeek(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	e := s.subscribe(t, "https://example.com/")
	weeks := func() []string {
		return kit.One[[]string](t, s.Database, `SELECT array_agg(right(relname, 8) ORDER BY relname) FROM pg_class WHERE relname ~ '^webhook_deliveries_[0-9]{8}$'`)
	}
	all := weeks()
	assert.GreaterOrEqual(t, len(all), 7, "five weeks back, two ahead")
	month := time.Now().AddDate(0, 0, -30)
	id := postgres.NewID(month)
	s.Exec(t, `INSERT INTO webhook_events (event_id, type, aggregate_id, payload) VALUES ($1, 'x', $1, '')`, id)
	s.Exec(t, `INSERT INTO webhook_deliveries (event_id, endpoint_id, status) VALUES ($1, $2, 'pending')`, id, e.id)

	drop := func(days int) []string {
		return kit.One[[]string](t, &kit.Database{OwnerURL: s.AppURL}, `SELECT COALESCE(array_agg(t), '{}') FROM drop_webhook_history(now() + make_interval(days => $1)) t`, days)
	}
	assert.Empty(t, drop(0), "all of it is needed")
	for range all { // forty days on, the weeks before today's are old; the one with the pending delivery stays
		drop(45)
	}
	left := weeks()
	assert.Less(t, len(left), len(all))
	assert.Equal(t, "pending", s.state(t, id, e.id))
	s.Exec(t, `UPDATE webhook_deliveries SET status = 'dead'`)
	gone := drop(45)
	require.Len(t, gone, 3, "a week leaves with its events, deliveries and attempts")
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_deliveries`))

	made, err := postgres.EnsurePartitions(t.Context(), s.Pools.Background)
	require.NoError(t, err)
	assert.Equal(t, all, weeks(), "%v", made)
	assert.NotEqual(t, uuid.Nil, e.id)
}
