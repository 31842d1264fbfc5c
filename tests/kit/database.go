// Package kit is what tests of several packages need: a database of their own, a Redis, an API with a token
// issuer behind it. Everything in it is real; nothing is faked but time.
//
// It needs a PostgreSQL server: `make test` starts one and names it in TEST_DATABASE_URL.
package kit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/shared/postgres"
)

// Database is a database of one test.
type Database struct {
	OwnerURL, AppURL string
	Pools            *postgres.Pools
}

var databases atomic.Int64

// server is the URL of the server's superuser.
func server(t testing.TB) string {
	t.Helper()
	url := os.Getenv("TEST_DATABASE_URL")
	if url == "" {
		t.Fatal("TEST_DATABASE_URL is not set: run `make test`, or `go run ./infra/local services -- go test ./...`")
	}
	return url
}

// NewDatabase clones a migrated template for the test and drops the clone after it.
func NewDatabase(t testing.TB) *Database {
	t.Helper()
	return create(t, func(admin *pgx.Conn, server string) string { return migrated(t, admin, server) })
}

// NewEmptyDatabase makes a database without a schema, as it is before the first start, and drops it after the test.
func NewEmptyDatabase(t testing.TB) *Database {
	t.Helper()
	d := create(t, func(*pgx.Conn, string) string { return "template1" })
	ctx := context.Background()
	owner, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	require.NoError(t, pgserver.GrantApp(ctx, owner))
	require.NoError(t, owner.Close(ctx))
	return d
}

// create makes a database from a template, which it asks for once it is connected.
func create(t testing.TB, template func(admin *pgx.Conn, server string) string) *Database {
	t.Helper()
	server := server(t)
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, server)
	require.NoError(t, err)
	defer func() { require.NoError(t, admin.Close(ctx)) }()

	name := fmt.Sprintf("t_%d_%d", os.Getpid(), databases.Add(1))
	_, err = admin.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s", name, template(admin, server), pgserver.Owner))
	require.NoError(t, err)
	d := &Database{OwnerURL: address(t, server, pgserver.Owner, name), AppURL: address(t, server, pgserver.App, name)}
	d.Pools = d.Open(t)
	t.Cleanup(func() {
		admin, err := pgx.Connect(ctx, server)
		require.NoError(t, err)
		defer func() { require.NoError(t, admin.Close(ctx)) }()
		_, err = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		require.NoError(t, err)
	})
	return d
}

// Open makes further pools on the database, as a second process would have.
func (d *Database) Open(t testing.TB) *postgres.Pools {
	t.Helper()
	pools, err := postgres.Open(context.Background(), d.AppURL,
		postgres.Budget{Orders: 8, Reads: 4, Background: 2, Drain: 4, Acquire: 10 * time.Second})
	require.NoError(t, err)
	t.Cleanup(pools.Close)
	return pools
}

// Exec runs SQL as the owner.
func (d *Database) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql, args...)
	require.NoError(t, err)
}

// One reads one value as the owner.
func One[T any](t testing.TB, d *Database, sql string, args ...any) (value T) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	require.NoError(t, conn.QueryRow(ctx, sql, args...).Scan(&value))
	return value
}

// migrated returns a template with the schema as it is in the source. The first test of all processes makes it;
// its name carries the migrations' digest, so a changed migration gets a new one.
func migrated(t testing.TB, admin *pgx.Conn, server string) string {
	t.Helper()
	ctx := context.Background()
	name := "template_" + digest(t)
	_, err := admin.Exec(ctx, "SELECT pg_advisory_lock(7071, 2)")
	require.NoError(t, err)
	defer func() {
		_, err := admin.Exec(ctx, "SELECT pg_advisory_unlock(7071, 2)")
		require.NoError(t, err)
	}()
	var exists bool
	require.NoError(t, admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists))
	if exists {
		return name
	}
	draft := name + "_draft" // a template that a killed test left half made must not be taken for whole
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + draft + " WITH (FORCE)", "CREATE DATABASE " + draft + " OWNER " + pgserver.Owner} {
		_, err = admin.Exec(ctx, sql)
		require.NoError(t, err)
	}
	owner := address(t, server, pgserver.Owner, draft)
	conn, err := pgx.Connect(ctx, owner)
	require.NoError(t, err)
	require.NoError(t, pgserver.GrantApp(ctx, conn))
	require.NoError(t, conn.Close(ctx))
	require.NoError(t, postgres.Migrate(ctx, owner, nil))
	_, err = admin.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
	require.NoError(t, err)
	return name
}

func digest(t testing.TB) string {
	t.Helper()
	h := sha256.New()
	err := fs.WalkDir(postgres.Migrations(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(postgres.Migrations(), path)
		h.Write(raw)
		return err
	})
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// address is the server's URL for another role and database.
func address(t testing.TB, server, role, database string) string {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.User, u.Path = url.User(role), "/"+database
	return u.String()
}

// Unique is a short text that no other test uses.
func Unique(t testing.TB) string {
	t.Helper()
	return strings.ToLower(fmt.Sprintf("%d-%d", os.Getpid(), databases.Add(1)))
}
