package idempotency_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/tests/kit"
)

// What a write says must not be believed is held before the write begins and for longer than it may take, by the write and by
// its repeats; a refused call holds nothing.
func TestAWriteHoldsWhatItChanges(t *testing.T) {
	t.Parallel()
	// On the real server too: the script's Lua is its own.
	for _, url := range []string{"redis://" + miniredis.RunT(t).Addr(), kit.NewRedis(t)} {
		p := newLimited(t, effects(t), url, "2/1m")
		caller := uuid.New()
		lost := 0
		held := func() (string, time.Duration) {
			return p.client.Get(t.Context(), "list").Val(), p.client.PTTL(t.Context(), "list").Val()
		}
		ask := func(key string, work func()) (idempotency.Answer, error) {
			req := idempotency.Request{Caller: caller, Operation: "op", Key: key, Charge: p.limit.Open(caller), Hold: "list", Lost: func() { lost++ }}
			return p.Do(t.Context(), req, func(context.Context, pgx.Tx) (idempotency.Answer, error) {
				work()
				return idempotency.Answer{Status: 201, Body: []byte(key)}, nil
			})
		}
		believed := func() { require.NoError(t, p.client.Set(t.Context(), "list", "Vold", 0).Err()) }
		believed()
		_, err := ask("a", func() {
			mark, life := held()
			assert.Equal(t, idempotency.HoldMark, mark, "before the work begins")
			assert.Greater(t, life, 10*time.Second, "for longer than a write may take")
		})
		require.NoError(t, err)
		mark, _ := held()
		assert.Equal(t, idempotency.HoldMark, mark, "and after it: what asks for it now may have read before the commit")

		believed()
		require.Eventually(t, func() bool { // the answer is posted
			again, err := ask("a", func() { t.Error("done twice") })
			return err == nil && again.Replayed
		}, 5*time.Second, 10*time.Millisecond)
		mark, _ = held()
		assert.Equal(t, idempotency.HoldMark, mark, "by a repeat, whose first owner may have died")

		_, err = ask("b", func() {})
		require.NoError(t, err)
		believed()
		_, err = ask("c", func() { t.Error("done") })
		refused(t, err, "checkout")
		mark, _ = held()
		assert.Equal(t, "Vold", mark, "a refused call changes nothing")
		assert.Zero(t, lost)
		require.NoError(t, p.client.Close())
		_, _ = ask("d", func() {})
		assert.Equal(t, 1, lost, "Redis does not answer")
	}
}
