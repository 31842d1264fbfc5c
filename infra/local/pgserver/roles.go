package pgserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Roles and database of the local stack. Owner owns the schema and migrates; App is what requests run as.
const (
	Owner    = "orders_owner"
	App      = "orders_app"
	Database = "orders"

	superuser = "postgres"
)

// provision waits for the server and makes roles and database; what is there stays.
func (s *Server) provision(ctx context.Context) error {
	if err := s.process.WaitFor(s.port, 60*time.Second); err != nil {
		return err
	}
	conn, err := s.connect(ctx, s.SuperuserURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{
		role(Owner, "CREATEDB"), role(App, ""),
		// As settings of the role, not of each connection: they hold through a pooler too.
		"ALTER ROLE " + App + " SET statement_timeout = '5s'",
		"ALTER ROLE " + App + " SET lock_timeout = '2s'",
		"ALTER ROLE " + App + " SET idle_in_transaction_session_timeout = '10s'",
		"ALTER ROLE " + App + " SET jit = off",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("making roles: %w", err)
		}
	}
	return s.createDatabase(ctx, conn)
}

// createDatabase makes the owner's database, in which the app role may read and write what the owner makes.
func (s *Server) createDatabase(ctx context.Context, admin *pgx.Conn) error {
	var exists bool
	if err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", Database).Scan(&exists); err != nil {
		return fmt.Errorf("looking for database %s: %w", Database, err)
	}
	if !exists {
		if _, err := admin.Exec(ctx, "CREATE DATABASE "+Database+" OWNER "+Owner); err != nil {
			return fmt.Errorf("making database %s: %w", Database, err)
		}
	}
	conn, err := s.connect(ctx, s.URL(Owner, Database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := GrantApp(ctx, conn); err != nil || !s.counts {
		return err
	}
	return s.createStatistics(ctx)
}

// createStatistics makes the view and lets the owner read it, all statements included.
func (s *Server) createStatistics(ctx context.Context) error {
	conn, err := s.connect(ctx, s.URL(superuser, Database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; GRANT pg_read_all_stats TO "+Owner); err != nil {
		return fmt.Errorf("making pg_stat_statements: %w", err)
	}
	return nil
}

// GrantApp lets the app role use, not change, the schema that the connected owner makes.
func GrantApp(ctx context.Context, owner *pgx.Conn) error {
	_, err := owner.Exec(ctx, `
		ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO `+App+`;
		ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO `+App)
	if err != nil {
		return fmt.Errorf("granting rights to %s: %w", App, err)
	}
	return nil
}

func role(name, attributes string) string {
	return fmt.Sprintf(`DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') THEN CREATE ROLE %[1]s LOGIN %[2]s; END IF;
	END $$`, name, attributes)
}

// connect retries while the server starts up: it accepts connections before it accepts logins, and after a crash
// it first reads its log again.
func (s *Server) connect(ctx context.Context, url string) (*pgx.Conn, error) {
	deadline := time.After(60 * time.Second)
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.Done():
			// Whoever answered on the port, it was not our server.
			return nil, errors.New("PostgreSQL ended while it was starting")
		case <-deadline:
			return nil, fmt.Errorf("PostgreSQL does not let us in: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
