package outbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// The plan of a mark is made once and kept. It must not go by the index of unsent events, which is the shortest way while
// next to nothing is unsent: with the broker back after an hour each pass would go through all that waits.
func TestABacklogDoesNotSlowAPass(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, d.AppURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, postgres.PlanOnceSQL)
	require.NoError(t, err)
	explain := func(name, arguments string) string {
		rows, err := tx.Query(ctx, "EXPLAIN EXECUTE "+name+arguments, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	const ever = "('{}'::uuid[], '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')"
	for name, statement := range map[string]string{"mark": markSQL, "number": numberSQL, "park": parkSQL} {
		arguments := map[string]string{"mark": ever, "number": ever, "park": "('{}'::uuid[], '{}'::text[], '{}'::boolean[])"}[name]
		_, err = tx.Exec(ctx, "PREPARE "+name+" AS "+statement)
		require.NoError(t, err)
		plan := explain(name, arguments)
		assert.Contains(t, plan, "_pkey", "%s goes by id", name)
		assert.NotContains(t, plan, "shard_aggregate_id_sequence", "%s goes through what is unsent:\n%s", name, plan)
		assert.NotContains(t, plan, "Seq Scan on outbox", "%s reads whole days", name)
	}
	// Ids of one day are not looked for in the others.
	today := kit.One[string](t, d, `SELECT uuidv7_floor(now())::text`)
	days := kit.One[int](t, d, `SELECT count(*)::int FROM pg_inherits WHERE inhparent = 'outbox'::regclass`)
	for _, name := range []string{"mark", "number"} {
		assert.Contains(t, explain(name, fmt.Sprintf("('{}'::uuid[], '%s', '%s')", today, today)), fmt.Sprintf("Subplans Removed: %d", days-1), name)
	}
	require.NoError(t, tx.Rollback(ctx))
}

// Whatever the planner believes of outbox_sent, which is empty when it is looked at and full a second later, taking a
// thousand of many must not compare each with each: that took seconds, and the feed stood.
func TestAFeedThatLagsIsNotSlow(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	ctx := t.Context()
	const many = 20_000
	for _, sql := range []string{
		`INSERT INTO outbox_sent SELECT gen_random_uuid(), 1, gen_random_uuid() FROM generate_series(1, 500)`,
		`DELETE FROM outbox_sent`,
		`VACUUM ANALYZE outbox_sent`, // as autovacuum finds it, and remembers
		`INSERT INTO outbox_sent SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 1, gen_random_uuid() FROM generate_series(1, ` + strconv.Itoa(many) + `) n`,
	} {
		d.Exec(t, sql)
	}
	drain := &Drain{pool: d.Pools.Drain}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // each pass has five seconds before PostgreSQL ends it
	defer cancel()
	for left := many - 1000; left >= many/2; left -= 1000 {
		_, held, err := drain.number(ctx)
		require.NoError(t, err)
		require.False(t, held)
		require.Equal(t, left, kit.One[int](t, d, `SELECT count(*)::int FROM outbox_sent`))
		require.Equal(t, many-left, kit.One[int](t, d, `SELECT ('x' || right(min(aggregate_id::text), 8))::bit(32)::int - 1 FROM outbox_sent`), "the first ones by their key")
	}

	conn, err := pgx.Connect(ctx, d.AppURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(ctx))) }()
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, postgres.PlanOnceSQL)
	require.NoError(t, err)
	rows, err := tx.Query(ctx, "EXPLAIN "+takeSentSQL, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(lines, "\n"), "Nested Loop")
	require.NoError(t, tx.Rollback(ctx))
}

// A pass tells which shards another drain is at, and of no others: a drain that thought so would never rest.
func TestAPassTellsWhichShardsAreHeld(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	drain := &Drain{pool: d.Pools.Drain}
	res, err := drain.pass(t.Context(), 0b1011)
	require.NoError(t, err)
	assert.Equal(t, result{}, res)
	require.NoError(t, d.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(7072, 3)`); err != nil {
			return err
		}
		res, err = drain.pass(t.Context(), 0b1011)
		return err
	}))
	assert.Equal(t, result{held: 0b1000}, res)
}

// Rung once, the feed numbers all that was sent, a thousand at a time.
func TestTheFeedGoesOnWhileThereIsMore(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	d.Exec(t, `INSERT INTO outbox (id, shard, aggregate_type, aggregate_id, sequence, type, payload, occurred_at, processed_at)
		SELECT (left(uuidv7_floor(now())::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, 0, 'order', gen_random_uuid(), 1, 'order.created.v1', '{}', now(), now() FROM generate_series(1, 2500) n`)
	d.Exec(t, `INSERT INTO outbox_sent (aggregate_id, sequence, id) SELECT aggregate_id, sequence, id FROM outbox`)
	drain := &Drain{pool: d.Pools.Drain, feed: newAlarm()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { drain.runFeed(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	drain.feed.ring()
	require.Eventually(t, func() bool { return kit.One[int](t, d, `SELECT count(*) FROM feed`) == 2500 }, 20*time.Second, 20*time.Millisecond)
}

// Where nothing was sent nothing is written: a process that has nothing to do looks a few times a minute.
func TestNothingToNumberWritesNothing(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	const version = `SELECT xmin::text FROM feed_counter`
	before := kit.One[string](t, d, version)
	n, _, err := (&Drain{pool: d.Pools.Drain}).number(t.Context())
	require.NoError(t, err)
	assert.Zero(t, n)
	assert.Equal(t, before, kit.One[string](t, d, version))
}
