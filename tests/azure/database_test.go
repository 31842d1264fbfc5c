package azure

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
)

// TestTheRolesThatTheJobMakes runs the job's SQL on a server, where a function stands in for Azure's that makes a role of
// an identity. Then the schema is brought up as the handler does it, and the identity may use it and not change it.
func TestTheRolesThatTheJobMakes(t *testing.T) {
	t.Parallel()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("TEST_DATABASE_URL is not set: run `make test`, or `go run ./infra/local services -- go test ./...`")
	}
	ctx := context.Background()
	admin := connect(t, server, "")
	const database, identity = "azure_roles", "id-orders-test-eus"
	drop := func() {
		_, err := admin.Exec(ctx, "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
		require.NoError(t, err)
		_, err = admin.Exec(ctx, `DROP ROLE IF EXISTS "`+identity+`"`)
		require.NoError(t, err)
	}
	drop()
	t.Cleanup(drop)
	_, err := admin.Exec(ctx, `CREATE OR REPLACE FUNCTION pg_temp.pgaadauth_create_principal(who text, is_admin boolean, is_mfa boolean) RETURNS text
LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('CREATE ROLE %I LOGIN', who); RETURN who; END $$`)
	require.NoError(t, err)
	principals := strings.ReplaceAll(sqlFile(t, "principals.sql"), "PERFORM pgaadauth_", "PERFORM pg_temp.pgaadauth_")
	require.Contains(t, principals, "pg_temp.")
	grants := sqlFile(t, "grants.sql")
	_, err = admin.Exec(ctx, "SET orders.identities = '"+identity+"'")
	require.NoError(t, err)
	for range 2 { // as often as you like
		_, err = admin.Exec(ctx, principals)
		require.NoError(t, err)
	}
	_, err = admin.Exec(ctx, "CREATE DATABASE "+database+" OWNER orders_owner")
	require.NoError(t, err)
	inside := connect(t, server, database)
	_, err = inside.Exec(ctx, "SET orders.identities = '"+identity+"'")
	require.NoError(t, err)
	for range 2 {
		_, err = inside.Exec(ctx, grants)
		require.NoError(t, err)
	}

	// From here on as the handler, with the addresses that infra/main.bicep gives it.
	config, err := pgx.ParseConfig(server)
	require.NoError(t, err)
	address := "postgres://" + identity + "@" + config.Host + ":" + strconv.Itoa(int(config.Port)) + "/" + database + "?sslmode=disable"
	require.NoError(t, postgres.Migrate(ctx, address+"&options=-c%20role%3Dorders_owner", nil))
	service, err := pgx.Connect(ctx, address)
	require.NoError(t, err)
	defer func() { _ = service.Close(ctx) }()
	var owner string
	require.NoError(t, service.QueryRow(ctx, `SELECT tableowner FROM pg_tables WHERE tablename = 'orders'`).Scan(&owner))
	assert.Equal(t, "orders_owner", owner)
	_, err = service.Exec(ctx, `SELECT count(*) FROM orders; DELETE FROM inventory`)
	require.NoError(t, err)
	for _, forbidden := range []string{"DROP TABLE orders", "ALTER TABLE orders ADD COLUMN x int", "CREATE TABLE mine (x int)", "TRUNCATE orders"} {
		_, err = service.Exec(ctx, forbidden)
		assert.ErrorContains(t, err, "42501", forbidden)
	}
	pools, err := postgres.Open(ctx, address, postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: 1e9})
	require.NoError(t, err)
	defer pools.Close()
	missing, err := postgres.MissingLimits(ctx, pools.Background)
	require.NoError(t, err)
	assert.Empty(t, missing)
}

func sqlFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../../infra/database/" + name)
	require.NoError(t, err)
	return string(raw)
}

func connect(t *testing.T, server, database string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(server)
	require.NoError(t, err)
	if database != "" {
		config.Database = database
	}
	conn, err := pgx.ConnectConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
