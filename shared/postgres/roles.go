package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// limits are what the role that serves requests should carry, and the values to begin with: without the timeouts one
// stuck statement or forgotten transaction holds its locks, and its connection, for ever. Compiling short statements
// costs hundreds of milliseconds where many partitions make the planner guess high.
var limits = []struct{ name, value string }{
	{"statement_timeout", "5s"},
	{"lock_timeout", "2s"},
	{"idle_in_transaction_session_timeout", "10s"},
	{"jit", "off"},
}

// MissingLimits says which of its settings the connected role lacks, as the statements that set them. They are
// asked for, not set: as settings of each connection they would not hold through a pooler in transaction mode.
func MissingLimits(ctx context.Context, pool *Pool) (mend []string, err error) {
	const query = `/* MissingLimits */ SELECT format('ALTER ROLE %I SET %s = %L', current_user, $1::text, $2::text), setting IN ('0', 'on')
FROM pg_settings WHERE name = $1`
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		for _, limit := range limits {
			var (
				statement string
				missing   bool
			)
			if err := conn.QueryRow(ctx, query, limit.name, limit.value).Scan(&statement, &missing); err != nil {
				return err
			}
			if missing {
				mend = append(mend, statement)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the role's timeouts: %w", err)
	}
	return mend, nil
}
