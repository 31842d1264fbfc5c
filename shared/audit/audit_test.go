package audit_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

func write(t *testing.T, d *kit.Database, e audit.Entry) {
	t.Helper()
	require.NoError(t, d.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error { return audit.Write(t.Context(), tx, e) }))
}

// exec runs SQL as a role and returns its SQLSTATE.
func exec(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	_, err = conn.Exec(t.Context(), sql)
	return postgres.Code(err)
}

const insufficientPrivilege = "42501"

// Neither the role that serves requests nor the owner of the schema changes a row, by the table or by a partition.
func TestTheLogIsAppendOnly(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	write(t, d, audit.Entry{Who: auth.Identity{Subject: "ada"}, Action: audit.OrderCancelled, Target: "o"})
	partition := kit.One[string](t, d, `SELECT tableoid::regclass::text FROM audit_log`)
	for who, url := range map[string]string{"app": d.AppURL, "owner": d.OwnerURL} {
		for _, table := range []string{"audit_log", partition} {
			for _, sql := range []string{"UPDATE " + table + " SET subject = 'eve'", "DELETE FROM " + table} {
				assert.Equal(t, insufficientPrivilege, exec(t, url, sql), "%s: %s", who, sql)
			}
		}
		assert.Equal(t, insufficientPrivilege, exec(t, url, "TRUNCATE audit_log"), who)
	}
	for _, sql := range []string{
		"TRUNCATE " + partition, "DROP TABLE " + partition, "ALTER TABLE audit_log DISABLE TRIGGER ALL", "INSERT INTO " + partition + " DEFAULT VALUES",
		"SET session_replication_role = replica", "SELECT revoke_audit_rights('audit_log', 'ALL')",
	} {
		assert.Equal(t, insufficientPrivilege, exec(t, d.AppURL, sql), sql)
	}
	// Were its rights to come back by mistake, the trigger still refuses.
	d.Exec(t, "GRANT UPDATE, DELETE ON audit_log, "+partition+" TO orders_app")
	for _, table := range []string{"audit_log", partition} {
		assert.Equal(t, insufficientPrivilege, exec(t, d.AppURL, "DELETE FROM "+table), table)
	}
	assert.Equal(t, "ada", kit.One[string](t, d, `SELECT subject FROM audit_log`))
}

// Housekeeping's calls: missing months are made, a month is dropped 400 days after its end and not a day earlier, and
// who may call that can't move the day.
func TestMonthsComeAndGo(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	next := kit.One[string](t, d, `SELECT 'audit_log_' || to_char((now() + interval '1 month') AT TIME ZONE 'UTC', 'YYYYMM')`)
	d.Exec(t, "DROP TABLE "+next)
	made, err := postgres.EnsurePartitions(t.Context(), d.Pools.Background)
	require.NoError(t, err)
	assert.Equal(t, []string{next}, made)
	assert.False(t, kit.One[bool](t, d, `SELECT has_table_privilege('orders_app', $1, 'SELECT, INSERT, UPDATE, DELETE')`, next))

	month := func(age string) (name string) {
		name = kit.One[string](t, d, `SELECT to_char((now() - $1::interval) AT TIME ZONE 'UTC', 'YYYYMM')`, age)
		d.Exec(t, `SELECT ensure_partition('audit_log', date_trunc('month', now() - $1::interval, 'UTC'), date_trunc('month', now() - $1::interval, 'UTC') + interval '1 month', $2)`, age, name)
		return "audit_log_" + name
	}
	young, old, older := month("400 days"), month("440 days"), month("500 days")
	var dropped []string
	for range 3 {
		names, err := postgres.DropPublished(t.Context(), d.Pools.Background)
		require.NoError(t, err)
		dropped = append(dropped, names...)
	}
	assert.Equal(t, []string{older, old}, dropped)
	assert.True(t, kit.One[bool](t, d, `SELECT to_regclass($1) IS NOT NULL`, young))
}

// A log that stands still at the turn of a month would stop every act: the partition is made on the way.
func TestAMissingMonthIsMadeOnTheWay(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	d.Exec(t, "DROP TABLE audit_log_"+time.Now().UTC().Format("200601"))
	write(t, d, audit.Entry{Who: auth.Identity{Subject: "ada"}, Action: audit.OrderCancelled, Target: "o"})
	assert.Equal(t, 1, kit.One[int](t, d, `SELECT count(*) FROM audit_log`))
}

func TestAnEntryCarriesTheTrace(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	require.NoError(t, d.Pools.Orders.Tx(ctx, func(tx pgx.Tx) error {
		return audit.Write(ctx, tx, audit.Entry{Who: auth.Identity{Issuer: "partner", Subject: "ada"}, Action: audit.OrderCancelled, Target: "o"})
	}))
	assert.Equal(t, "01000000000000000000000000000000 partner ada", kit.One[string](t, d, `SELECT concat_ws(' ', trace, issuer, subject) FROM audit_log`))
}

// Nobody's act is refused rather than written down as nobody's.
func TestAnEntryNeedsAnActor(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	err := d.Pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
		return audit.Write(t.Context(), tx, audit.Entry{Action: audit.OrderCancelled, Target: "o"})
	})
	assert.Equal(t, "23514", postgres.Code(err), "%v", err)
}

// Where people put tokens is left out.
func TestHostOfAURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://user:hush@example.com:8443/hush?token=hush#hush": "example.com:8443", "https://example.com": "example.com", "::": "",
	} {
		assert.Equal(t, want, audit.Host(url), url)
	}
}
