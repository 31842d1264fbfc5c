package kit

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// passwords is the role whose members the test server asks for a password. All others it believes.
const passwords = "kit_passwords"

// Login makes a role that must log in with a password and may do what App may. It returns the database's URL for it,
// without the password.
func (d *Database) Login(t testing.TB, password string) string {
	t.Helper()
	name := "login_" + strings.ReplaceAll(Unique(t), "-", "_")
	d.asSuperuser(t, func(conn *pgx.Conn) {
		ctx := context.Background()
		_, err := conn.Exec(ctx, "SELECT pg_advisory_lock(7071, 3)")
		require.NoError(t, err)
		_, err = conn.Exec(ctx, fmt.Sprintf(`DO $$ DECLARE
				file text := current_setting('hba_file');
				-- Read first: COPY empties the file before its query runs.
				lines text := E'host all +%[1]s all scram-sha-256\n' || pg_read_file(file);
			BEGIN
				IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') THEN
					CREATE ROLE %[1]s;
					EXECUTE format('COPY (SELECT line FROM regexp_split_to_table(%%L, E''\n'') WITH ORDINALITY AS file (line, n) ORDER BY n) TO %%L', lines, file);
				END IF;
			END $$`, passwords))
		require.NoError(t, err)
		for _, sql := range []string{"SELECT pg_reload_conf()", "CREATE ROLE " + name + " LOGIN IN ROLE orders_app, " + passwords} {
			_, err = conn.Exec(ctx, sql)
			require.NoError(t, err)
		}
		t.Cleanup(func() { d.asSuperuser(t, func(conn *pgx.Conn) { _, _ = conn.Exec(ctx, "DROP ROLE "+name) }) })
	})
	u, err := url.Parse(d.AppURL)
	require.NoError(t, err)
	u.User = url.User(name)
	d.SetPassword(t, u.String(), password)
	return u.String()
}

// SetPassword gives Login's role another password.
func (d *Database) SetPassword(t testing.TB, login, password string) {
	t.Helper()
	config, err := pgx.ParseConfig(login)
	require.NoError(t, err)
	d.asSuperuser(t, func(conn *pgx.Conn) {
		_, err := conn.Exec(context.Background(), fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", config.User, password))
		require.NoError(t, err)
	})
}

func (d *Database) asSuperuser(t testing.TB, do func(*pgx.Conn)) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	do(conn)
}
