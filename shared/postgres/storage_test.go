package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// asPostgreSQLComes are tables that are written so seldom that the server's own settings do.
var asPostgreSQLComes = []string{
	"products", "order_number_key", "feed_counter", "outbox_parked", "dead_letters", "webhook_endpoints", "webhook_replays", "goose_db_version",
	"ops_switches", "ops_checks",
}

// table is one that holds rows, with its settings as they are and, for a partition, as they should be.
type table struct {
	Name       string
	Partition  bool
	Is, Should string
}

func tables(t *testing.T, d *kit.Database) []table {
	t.Helper()
	conn, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT c.relname, p.relname IS NOT NULL, COALESCE(array_to_string(c.reloptions, ', '), ''),
			COALESCE(replace(storage_settings(p.relname), ' = ', '='), '')
		FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
		WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return list
}

// Those that the migration found are altered, those that housekeeping makes are born with their settings, and a table
// that somebody adds must say what it wants.
func TestEveryTableAndPartitionHasItsStorageSettings(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	for i, table := range tables(t, d) {
		if table.Partition && i%2 == 0 { // so that both kinds are there
			d.Exec(t, "DROP TABLE "+table.Name)
		}
	}
	made, err := postgres.EnsurePartitions(ctx, d.Pools.Background)
	require.NoError(t, err)
	require.Greater(t, len(made), 5, "of every kind of partition")

	for _, table := range tables(t, d) {
		switch {
		case table.Partition:
			assert.NotEmpty(t, table.Is, table.Name)
			assert.Equal(t, table.Should, table.Is, "%s (made just now: %t)", table.Name, slices.Contains(made, table.Name))
		case slices.Contains(asPostgreSQLComes, table.Name):
			assert.Empty(t, table.Is, "%s has settings: take it from the list", table.Name)
		default:
			assert.NotEmpty(t, table.Is, "%s: give it settings in its migration, or put it on the list", table.Name)
		}
	}
}

// The migration that brings the settings can be taken back, and partitions are made as before it.
func TestStorageSettingsCanBeTakenBack(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	config, err := pgx.ParseConfig(d.OwnerURL)
	require.NoError(t, err)
	db := stdlib.OpenDB(*config)
	defer func() { require.NoError(t, db.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, postgres.Migrations())
	require.NoError(t, err)
	_, err = provider.DownTo(ctx, 10)
	require.NoError(t, err)
	assert.Zero(t, kit.One[int](t, d, `SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.reloptions IS NOT NULL`))
	d.Exec(t, "DROP TABLE feed_000003; DROP TABLE outbox_"+time.Now().UTC().Format("20060102"))
	// The partitions of that time: what came later has its own.
	made := kit.One[[]string](t, d, `SELECT array_agg(name) FROM (
		SELECT ensure_partitions() UNION ALL SELECT ensure_feed_partitions() UNION ALL SELECT ensure_webhook_partitions()) AS made (name)`)
	assert.Len(t, made, 2)
	_, err = provider.Up(ctx)
	require.NoError(t, err)
	for _, table := range tables(t, d) {
		assert.Equal(t, table.Partition, table.Should != "")
		assert.True(t, !table.Partition || table.Should == table.Is, table.Name)
	}
}

// An update that changes no indexed column leaves the indexes alone (a heap-only tuple). One index more on the wrong
// column, or one condition, would end that without anybody noticing.
func TestNoIndexIsInTheWayOfHeapOnlyUpdates(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	for table, columns := range map[string][]string{
		"inventory":          {"available", "initial", "sequence"},                      // every order
		"cart_items":         {"quantity"},                                              // every change of a cart
		"feed_counter":       {"last"},                                                  // every pass of the assigner
		"webhook_deliveries": {"lease", "leased_until", "attempts", "updated_at"},       // every lease
		"webhook_endpoints":  {"consecutive_failures", "failing_since", "paused_until"}, // every failed attempt
	} {
		inTheWay := kit.One[[]string](t, d, `SELECT COALESCE(array_agg(DISTINCT i.indexrelid::regclass || ' has ' || a.attname), '{}')
			FROM pg_index i
			JOIN pg_depend dep ON dep.classid = 'pg_class'::regclass AND dep.objid = i.indexrelid AND dep.refobjid = i.indrelid
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = dep.refobjsubid
			WHERE i.indrelid = $1::regclass AND a.attname = ANY ($2)`, table, columns)
		assert.Empty(t, inTheWay)
	}
}
