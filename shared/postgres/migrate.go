package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations are the schema's steps, for goose. A step that a running older version can't live with is split:
// expand in one release, contract in the next.
func Migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return sub
}

// Migrate brings the schema up to date and makes the partitions of the days ahead. ownerURL is a direct
// connection (not through a pooler) of the role that owns the schema. Many instances may call it at once: an
// advisory lock lets one work while the others wait. progress, when not nil, is told each step done.
func Migrate(ctx context.Context, ownerURL string, progress func(string), options ...Option) error {
	config, err := pgx.ParseConfig(ownerURL)
	if err != nil {
		return errors.New("MIGRATIONS_DATABASE_URL is not a PostgreSQL connection string (postgres://user:password@host:port/database)")
	}
	open := []stdlib.OptionOpenDB{stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		// A step may take as long as it needs; it may not make the shop wait for its locks.
		_, err := conn.Exec(ctx, `SET statement_timeout = 0; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = 0`)
		return err
	})}
	if before := collect(options).before; before != nil {
		open = append(open, stdlib.OptionBeforeConnect(before))
	}
	db := stdlib.OpenDB(*config, open...)
	defer func() { _ = db.Close() }()

	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return fmt.Errorf("making the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, Migrations(), goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	pending, err := pendingMigrations(ctx, provider, db)
	if err != nil {
		return err
	}
	if pending {
		results, err := provider.Up(ctx)
		if err != nil {
			return fmt.Errorf("migrating the schema: %w", err)
		}
		for _, r := range results {
			if progress != nil {
				progress(fmt.Sprintf("%s (%s)", r.Source.Path, r.Duration))
			}
		}
	}
	if _, err := db.ExecContext(ctx, `/* Migrate.Partitions */ `+partitionsSQL); err != nil {
		return fmt.Errorf("making partitions: %w", err)
	}
	return nil
}

// pendingMigrations asks without the lock, so that the usual start (nothing to do) waits for nobody.
func pendingMigrations(ctx context.Context, provider *goose.Provider, db *sql.DB) (bool, error) {
	var exists bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&exists); err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !exists {
		return true, nil
	}
	pending, err := provider.HasPending(ctx)
	if err != nil {
		return false, fmt.Errorf("comparing the schema with the migrations: %w", err)
	}
	return pending, nil
}
