package ops

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// Each filter goes by an index of its own, newest first: a log of years is not read to find one person's last act.
func TestTheAuditLogIsReadByIndex(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	d.Exec(t, `INSERT INTO audit_log (issuer, subject, action, target)
		SELECT '', 's' || i, CASE i % 1000 WHEN 0 THEN 'keys.rotated' ELSE 'order.cancelled' END, gen_random_uuid()::text FROM generate_series(1, 20000) i`)
	d.Exec(t, `ANALYZE audit_log`)
	for index, in := range map[string]auditInput{
		"subject_id_idx": {Actor: "s7"}, "target_id_idx": {Target: "t"}, "action_id_idx": {Action: "keys.rotated"}, "pkey": {},
	} {
		in.PageSize = 20
		sql, args := in.filter(uuid.Max)
		err := d.Pools.Reads.Do(t.Context(), func(conn *pgx.Conn) error {
			rows, err := conn.Query(t.Context(), "EXPLAIN "+sql, append([]any{pgx.QueryExecModeExec}, args...)...)
			if err != nil {
				return err
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			assert.Contains(t, strings.Join(plan, "\n"), index)
			assert.NotContains(t, strings.Join(plan, "\n"), "Seq Scan on audit_log_"+kit.One[string](t, d, `SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')`))
			return err
		})
		require.NoError(t, err)
	}
}
