package webhooks_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
)

// TestAWakeUpIsForItsDelivery, even when another one of the endpoint is due for longer: that one comes after it.
func TestAWakeUpIsForItsDelivery(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, nil)
	e := s.subscribe(t, r.url)
	older, _ := s.publish(t)
	newer, _ := s.publish(t)
	s.Exec(t, `UPDATE webhook_deliveries SET next_attempt_at = now() - interval '1 minute' WHERE event_id = $1`, older)
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, newer, e.id)))
	got := r.requests()
	require.Len(t, got, 2)
	assert.Equal(t, newer.String(), got[0].id())
	assert.Equal(t, older.String(), got[1].id())
}

// TestADisabledEndpointGetsNothing: a fan-out that saw it enabled committed after it was disabled, so that a delivery is
// pending which nobody may make. The sweep ends it.
func TestADisabledEndpointGetsNothing(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, nil)
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.Exec(t, `UPDATE webhook_endpoints SET status = 'disabled', disabled_reason = 'it was asked for'`)
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)))
	assert.Equal(t, "pending", s.state(t, id, e.id))
	require.NoError(t, s.hooks.Sweep(t.Context()))
	assert.Equal(t, "dead", s.state(t, id, e.id))
	assert.Empty(t, r.requests())
}
