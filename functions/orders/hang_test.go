package orders_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// An order waits behind a batch in flight for a moment, but not behind one that hangs on the lock of another product:
// also when nobody comes after it who could give cause to look.
func TestNobodyWaitsBehindABatchThatHangs(t *testing.T) {
	t.Parallel()
	s := open(t)
	locked, free, token := s.Product(t, 10), s.Product(t, 10), s.Token(t, "ada", kit.Everything)
	release := holding(t, s.Database, `SELECT 1 FROM inventory WHERE product_id = '`+locked.String()+`' FOR UPDATE`)
	hanging := make(chan kit.Reply)
	go func() { hanging <- s.place(t, token, "hangs", draft("ada", line{locked, 1, nil})) }()
	require.Eventually(t, func() bool {
		return kit.One[int](t, s.Database, `SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
			WHERE datname = current_database() AND NOT granted`) == 1
	}, 10*time.Second, 10*time.Millisecond, "the first batch waits for the lock")

	assert.Equal(t, http.StatusCreated, s.place(t, token, "free", draft("ada", line{free, 1, nil})).Status)
	select {
	case <-hanging:
		t.Error("the first batch did not hang")
	default:
	}
	release()
	assert.Equal(t, http.StatusCreated, (<-hanging).Status)
	balanced(t, s.Database)
}
