package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// children counts the partitions of a table.
const children = `SELECT count(*) FROM pg_inherits WHERE inhparent = $1::regclass`

// The role that serves requests may not create tables; through the owner's function it keeps partitions ahead.
func TestPartitionsAreKeptAheadByTheRoleThatServes(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	err := d.Pools.Background.Do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `CREATE TABLE mine (LIKE outbox)`)
		return err
	})
	require.Equal(t, "42501", postgres.Code(err), "it may not: %v", err)

	before := kit.One[int](t, d, children, "outbox")
	made, err := postgres.EnsurePartitions(ctx, d.Pools.Background)
	require.NoError(t, err)
	assert.Empty(t, made, "the migration made them: nothing to do")

	tomorrow := kit.One[string](t, d, `SELECT 'outbox_' || to_char((now() + interval '1 day') AT TIME ZONE 'UTC', 'YYYYMMDD')`)
	d.Exec(t, `DROP TABLE `+tomorrow)
	made, err = postgres.EnsurePartitions(ctx, d.Pools.Background)
	require.NoError(t, err)
	assert.Equal(t, []string{tomorrow}, made)
	assert.Equal(t, before, kit.One[int](t, d, children, "outbox"))
	assert.Equal(t, "orders_owner", kit.One[string](t, d, `SELECT tableowner FROM pg_tables WHERE tablename = $1`, tomorrow))

	// What the coming days bring fits, whichever hour it is; what comes after has not been made.
	for _, days := range []int{-1, 0, 1, 6, 7} {
		assert.True(t, fits(t, d, "outbox", days), "%d days from now", days)
		assert.True(t, fits(t, d, "orders", max(days, 0)), "%d days from now", days)
		assert.True(t, fits(t, d, "order_lines", max(days, 0)), "%d days from now", days)
	}
	assert.True(t, fits(t, d, "orders", 58), "the next two months, too")
	assert.False(t, fits(t, d, "outbox", 9))
}

// fits tells whether a partition takes the ids of the time that is days from now.
func fits(t *testing.T, d *kit.Database, table string, days int) bool {
	t.Helper()
	at := kit.One[time.Time](t, d, `SELECT now() + make_interval(days => $1)`, days)
	return kit.One[bool](t, d, `SELECT EXISTS (
		SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
			regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('(.*)'\) TO \('(.*)'\)$re$) AS bound
		WHERE i.inhparent = $1::regclass AND $2::uuid >= bound[1]::uuid AND $2::uuid < bound[2]::uuid)`, table, postgres.NewID(at))
}

// An operator who brings a database of their own learns which statements are missing, ready to be run.
func TestMissingLimitsNameWhatMendsThem(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	mend, err := postgres.MissingLimits(ctx, d.Pools.Background)
	require.NoError(t, err)
	assert.Empty(t, mend, "the local stack's role has them")

	owner, err := postgres.Open(ctx, d.OwnerURL, postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: time.Minute})
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	mend, err = postgres.MissingLimits(ctx, owner.Background)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"ALTER ROLE orders_owner SET statement_timeout = '5s'",
		"ALTER ROLE orders_owner SET lock_timeout = '2s'",
		"ALTER ROLE orders_owner SET idle_in_transaction_session_timeout = '10s'",
		"ALTER ROLE orders_owner SET jit = 'off'",
	}, mend)
}
