package webhooks_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// TestASuccessLeavesTheEndpointsRowAlone: a row that every delivery wrote would be the one that all wait for.
func TestASuccessLeavesTheEndpointsRowAlone(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	e := s.subscribe(t, receive(t, nil).url)
	const version = `SELECT xmin::text FROM webhook_endpoints`
	before := kit.One[string](t, s.Database, version)
	id, _ := s.publish(t)
	s.deliver(t)
	require.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Equal(t, before, kit.One[string](t, s.Database, version))
}

// TestAnAttemptThatIsOnRecordAlreadyHoldsNoVerdictUp: a verdict is written again when the answer to its commit was lost.
func TestAnAttemptThatIsOnRecordAlreadyHoldsNoVerdictUp(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		s.Exec(t, `INSERT INTO webhook_attempts (event_id, endpoint_id, n, at, status, latency_ms) SELECT event_id, endpoint_id, attempts, now(), 204, 1 FROM webhook_deliveries`)
		w.WriteHeader(http.StatusNoContent)
	})
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	s.deliver(t)
	assert.Equal(t, "succeeded", s.state(t, id, e.id))
	assert.Equal(t, 1, s.attempts(t, id, e.id))
}

// TestCX15AFailureWaitsForAChangeOfItsEndpoint that is on its way: it was the former version's, and counts for nobody.
func TestCX15AFailureWaitsForAChangeOfItsEndpoint(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	answer, began, release := held(http.StatusInternalServerError)
	r := receive(t, answer)
	e := s.subscribe(t, r.url)
	id, _ := s.publish(t)
	var done chan error
	require.NoError(t, s.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		done = s.delivering(wakeUp(t, id, e.id))
		<-began
		_, err := tx.Exec(t.Context(), `UPDATE webhook_endpoints SET version = version + 1`)
		r.behave(nil)
		close(release)
		eventually(t, "the verdict waits", func() bool {
			return kit.One[int](t, s.Database, `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()`) > 0
		})
		return err
	}))
	require.NoError(t, <-done)
	assert.Equal(t, "succeeded", s.state(t, id, e.id), "the same worker went on at once, with the new version")
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT attempts - attempts_before FROM webhook_deliveries`))
}

// TestAFailureIsItsEndpointsAlone: whatever one customer's server does, another's is judged by its own.
func TestAFailureIsItsEndpointsAlone(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	bad := s.subscribe(t, receive(t, status(http.StatusInternalServerError)).url)
	good := s.subscribe(t, receive(t, nil).url)
	id, _ := s.publish(t)
	require.NoError(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, bad.id)))
	const state = `SELECT (consecutive_failures, failing_since IS NULL, paused_until IS NULL, status, version)::text FROM webhook_endpoints WHERE id = $1`
	assert.Equal(t, "(1,f,t,enabled,1)", kit.One[string](t, s.Database, state, bad.id))
	assert.Equal(t, "(0,t,t,enabled,1)", kit.One[string](t, s.Database, state, good.id))
}

// TestAVerdictThatCannotBeWrittenIsAnError, whatever was answered, and whichever of its tables is away: the message goes
// back to the broker, and nothing of the verdict is kept.
func TestAVerdictThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusNoContent, http.StatusInternalServerError, http.StatusGone} {
		for _, table := range []string{"webhook_endpoints", "webhook_deliveries", "webhook_attempts"} {
			s := open(t, webhooks.Limits{Patience: time.Millisecond})
			e := s.subscribe(t, receive(t, func(w http.ResponseWriter, _ *http.Request) {
				s.Exec(t, `ALTER TABLE `+table+` RENAME TO away`)
				w.WriteHeader(code)
			}).url)
			id, _ := s.publish(t)
			require.ErrorIs(t, s.hooks.Deliver(t.Context(), wakeUp(t, id, e.id)), postgres.ErrUnavailable, "%d without %s", code, table)
			s.Exec(t, `ALTER TABLE away RENAME TO `+table)
			assert.Equal(t, "pending", s.state(t, id, e.id), "%d without %s", code, table)
			assert.Zero(t, s.attempts(t, id, e.id))
		}
	}
}
