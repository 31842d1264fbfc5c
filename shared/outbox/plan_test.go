package outbox

import (
	"context"
	"strings"
	"testing"

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
	for name, statement := range map[string]string{"mark": markSQL, "park": parkSQL} {
		arguments := map[string]string{"mark": "('{}'::uuid[])", "park": "('{}'::uuid[], '{}'::text[], '{}'::boolean[])"}[name]
		_, err = tx.Exec(ctx, "PREPARE "+name+" AS "+statement)
		require.NoError(t, err)
		rows, err := tx.Query(ctx, "EXPLAIN EXECUTE "+name+arguments, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		assert.Contains(t, plan, "_pkey", "%s goes by id", name)
		assert.NotContains(t, plan, "shard_aggregate_id_sequence", "%s goes through what is unsent:\n%s", name, plan)
		assert.NotContains(t, plan, "Seq Scan on outbox", "%s reads whole days", name)
	}
	require.NoError(t, tx.Rollback(ctx))
}
