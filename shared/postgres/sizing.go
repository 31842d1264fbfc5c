package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Fit is how the connections of one process relate to those that the server has for its role.
type Fit struct {
	Own    int  // what this process opens at most
	Server int  // what the server gives to all processes together
	Pooled bool // a pooler is in between, and Server is its own concern
	Named  bool // statements are prepared under names, which live on a connection
}

// Fit asks the server.
func (p *Pools) Fit(ctx context.Context) (f Fit, err error) {
	// The limits of role and database count too; -1 is none. reserved_connections came with PostgreSQL 16.
	const query = `/* Connect.Fit */ SELECT pg_backend_pid(), LEAST(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - COALESCE(current_setting('reserved_connections', true)::int, 0),
    (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
    (SELECT NULLIF(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))`
	f.Own = p.size
	err = p.Background.Do(ctx, func(conn *pgx.Conn) error {
		var pid uint32
		if err := conn.QueryRow(ctx, query, pgx.QueryExecModeExec).Scan(&pid, &f.Server); err != nil {
			return err
		}
		// A pooler tells its clients a process id of its own making.
		f.Pooled = pid != conn.PgConn().PID()
		f.Named = conn.Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
		return nil
	})
	if err != nil {
		return Fit{}, fmt.Errorf("reading the server's limits: %w", err)
	}
	return f, nil
}

// Instances is how many processes like this one the server can serve when all use what they may, with reserve
// connections left for migrations and people.
func (f Fit) Instances(reserve int) int { return max(f.Server-reserve, 0) / f.Own }

// Warnings says what will go wrong, in sentences for whoever runs the service.
func (f Fit) Warnings() (list []string) {
	if !f.Pooled && f.Instances(0) < 2 {
		list = append(list, fmt.Sprintf("this process may open %d of the server's %d connections: two of them, as there are in every deployment, do not fit; "+
			"lower DB_POOL_ORDERS, DB_POOL_READS, DB_POOL_BACKGROUND and DB_POOL_DRAIN, or put a pooler in between", f.Own, f.Server))
	}
	if f.Pooled && f.Named {
		list = append(list, "DATABASE_URL leads to a pooler and prepares statements under names: unless it pools sessions, "+
			"or knows about prepared statements, add default_query_exec_mode=cache_describe to it")
	}
	return list
}
