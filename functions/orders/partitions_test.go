package orders_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// holding opens a transaction that runs sql and stays open until release is called.
func holding(t *testing.T, d *kit.Database, sql string) (release func()) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close(ctx)) })
	_, err = conn.Exec(ctx, "BEGIN; "+sql)
	require.NoError(t, err)
	return func() {
		_, err := conn.Exec(ctx, "ROLLBACK")
		require.NoError(t, err)
	}
}

// dropTomorrow takes tomorrow's partition of the outbox away, so that there is one to make.
func dropTomorrow(t *testing.T, d *kit.Database) string {
	t.Helper()
	name := kit.One[string](t, d, `SELECT 'outbox_' || to_char((now() + interval '1 day') AT TIME ZONE 'UTC', 'YYYYMMDD')`)
	d.Exec(t, "DROP TABLE "+name)
	return name
}

// CX-05: a drain and an order are open on the tables. Making a partition does not wait for them.
func TestCX05MaintenanceDoesNotWaitForOpenTransactions(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 100), s.Token(t, "ada", kit.Everything)
	require.Equal(t, http.StatusCreated, s.place(t, token, "k", draft("ada", line{product, 1, nil})).Status)
	partition := dropTomorrow(t, s.Database)
	release := holding(t, s.Database, `SELECT 1 FROM outbox FOR UPDATE; UPDATE outbox SET processed_at = now();
		SELECT 1 FROM orders FOR UPDATE; UPDATE orders SET updated_at = now()`)
	defer release()
	made, err := postgres.EnsurePartitions(context.Background(), s.Pools.Background)
	require.NoError(t, err)
	assert.Equal(t, []string{partition}, made)
}

// CX-05: somebody holds a lock that maintenance does conflict with. It gives up in a moment and is done when it is
// tried again; orders go on all the time.
func TestCX05MaintenanceGivesUpAndOrdersGoOn(t *testing.T) {
	t.Parallel()
	s := open(t)
	product, token := s.Product(t, 1000), s.Token(t, "ada", kit.Everything)
	partition := dropTomorrow(t, s.Database)
	release := holding(t, s.Database, `LOCK TABLE outbox, orders, order_lines IN SHARE UPDATE EXCLUSIVE MODE`)

	ctx, stop := context.WithCancel(context.Background())
	maintained := make(chan int)
	go func() {
		tries := 0
		for ; ctx.Err() == nil; tries++ {
			started := time.Now()
			_, err := postgres.EnsurePartitions(context.Background(), s.Pools.Background)
			assert.ErrorIs(t, err, postgres.ErrUnavailable)
			assert.Equal(t, "55P03", postgres.Code(err))
			assert.Less(t, time.Since(started), time.Second, "long before the role's own lock_timeout")
		}
		maintained <- tries
	}()
	for i := range 50 {
		placed := s.place(t, token, fmt.Sprint("k", i), draft("ada", line{product, 1, nil}))
		assert.Equal(t, http.StatusCreated, placed.Status, "%s", placed.Body)
	}
	stop()
	assert.Positive(t, <-maintained)
	release()
	made, err := postgres.EnsurePartitions(context.Background(), s.Pools.Background)
	require.NoError(t, err)
	assert.Equal(t, []string{partition}, made)
}

// CX-08: housekeeping did not run for days, or the database's clock jumped at a failover: the time of an order has
// no partition. The order is placed all the same.
func TestCX08OrderWithoutPartitionIsPlaced(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"outbox", "orders", "order_lines"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			product, token := s.Product(t, 100), s.Token(t, "ada", kit.Everything)
			for _, child := range kit.One[[]string](t, s.Database, `SELECT array_agg(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = $1::regclass`, table) {
				s.Exec(t, "DROP TABLE "+child)
			}
			replies := parallel(10, func(i int) kit.Reply {
				return s.place(t, token, fmt.Sprint("k", i), draft("ada", line{product, 1, nil}))
			})
			for _, r := range replies {
				assert.Equal(t, http.StatusCreated, r.Status, "%s", r.Body)
			}
			assert.Equal(t, 10, kit.One[int](t, s.Database, `SELECT count(*) FROM order_lines`))
			if table == "outbox" {
				for _, child := range kit.One[[]string](t, s.Database, `SELECT array_agg(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'outbox'::regclass`) {
					s.Exec(t, "DROP TABLE "+child)
				}
				cancelled := s.Do(t, kit.Call{Method: http.MethodPatch, Path: replies[0].Header.Get("Location") + "/cancel", Token: token, Key: "c", Body: map[string]string{"reason": "no"}})
				assert.Equal(t, http.StatusOK, cancelled.Status, "%s", cancelled.Body)
			}
			balanced(t, s.Database)
		})
	}
}
