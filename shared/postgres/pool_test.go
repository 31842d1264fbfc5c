package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// small is pools of two connections each that wait for a free one only for a moment.
func small(t *testing.T, url string) *postgres.Pools {
	t.Helper()
	pools, err := postgres.Open(ctx, url, postgres.Budget{Orders: 2, Reads: 2, Background: 2, Acquire: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(pools.Close)
	return pools
}

// hold takes all connections of a pool, until release is called, and runs each with use first.
func hold(t *testing.T, pool *postgres.Pool, use func(*pgx.Conn) error) (release func()) {
	t.Helper()
	held, let, done := make(chan struct{}), make(chan struct{}), make(chan error)
	for range 2 {
		go func() {
			done <- pool.Do(ctx, func(conn *pgx.Conn) error {
				err := use(conn)
				held <- struct{}{}
				<-let
				return err
			})
		}()
	}
	for range 2 {
		select {
		case <-held:
		case err := <-done:
			require.NoError(t, err)
		}
	}
	return func() {
		close(let)
		for range 2 {
			require.NoError(t, <-done)
		}
	}
}

// Each kind of work has its own connections: one that has none left takes none of the others'.
func TestBudgetsAreSeparate(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	for name, exhausted := range map[string]func(*postgres.Pools) *postgres.Pool{
		"orders":     func(p *postgres.Pools) *postgres.Pool { return p.Orders },
		"reads":      func(p *postgres.Pools) *postgres.Pool { return p.Reads },
		"background": func(p *postgres.Pools) *postgres.Pool { return p.Background },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pools := small(t, d.AppURL)
			release := hold(t, exhausted(pools), func(*pgx.Conn) error { return nil })
			for _, pool := range []*postgres.Pool{pools.Orders, pools.Reads, pools.Background} {
				err := pool.Ping(ctx)
				if pool != exhausted(pools) {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, postgres.ErrUnavailable, "after the wait for a free one, not after the caller's patience")
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			release()
			require.NoError(t, exhausted(pools).Ping(ctx), "free again")
		})
	}
}

// The limits are settings of the role, so that they hold behind a pooler: every connection of every pool has them.
func TestEveryConnectionHasTheRolesTimeouts(t *testing.T) {
	t.Parallel()
	pools := small(t, kit.NewDatabase(t).AppURL)
	for _, pool := range []*postgres.Pool{pools.Orders, pools.Reads, pools.Background} {
		hold(t, pool, func(conn *pgx.Conn) error {
			var got [3]string
			err := conn.QueryRow(ctx, `SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
				current_setting('idle_in_transaction_session_timeout')`).Scan(&got[0], &got[1], &got[2])
			assert.Equal(t, [3]string{"5s", "2s", "10s"}, got)
			return err
		})()
	}
}

// What the database says when it can't now, and what it says when the statement is wrong, are different answers.
func TestWhichFailuresMeanTryAgain(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	locker, err := pgx.Connect(ctx, d.OwnerURL)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, locker.Close(ctx)) })
	_, err = locker.Exec(ctx, `BEGIN; LOCK TABLE carts`)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		sql         string
		code        string
		unavailable bool
	}{
		"statement_timeout": {`SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(10)`, "57014", true},
		"lock_timeout":      {`SET LOCAL lock_timeout = '20ms'; SELECT 1 FROM carts`, "55P03", true},
		"terminated":        {`SELECT pg_terminate_backend(pg_backend_pid())`, "57P01", true},
		"idle too long":     {`SET LOCAL idle_in_transaction_session_timeout = '20ms'`, "25P03", true},
		"read only":         {`SET TRANSACTION READ ONLY; DELETE FROM idempotency_keys`, "25006", true},
		"no schema yet":     {`SELECT 1 FROM not_there_yet`, "42P01", true},
		"serialisation":     {`DO $$ BEGIN RAISE serialization_failure; END $$`, "40001", true},
		"disk full":         {`DO $$ BEGIN RAISE disk_full; END $$`, "53100", true},
		"check":             {`DO $$ BEGIN RAISE check_violation; END $$`, "23514", false},
		"syntax":            {`SELEKT`, "42601", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pools := small(t, d.AppURL)
			err := pools.Orders.Tx(ctx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, c.sql)
				if c.code == "25P03" {
					_, err = tx.Conn().WaitForNotification(ctx) // the server says good-bye
				}
				return err
			})
			require.Error(t, err)
			assert.Equal(t, c.unavailable, errors.Is(err, postgres.ErrUnavailable), "%v", err)
			assert.Equal(t, c.code, postgres.Code(err))
			require.NoError(t, pools.Orders.Ping(ctx), "the next one gets a connection that works")
		})
	}
}

func TestServerThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	pools := small(t, "postgres://nobody@127.0.0.1:1/nothing")
	require.ErrorIs(t, pools.Orders.Ping(ctx), postgres.ErrUnavailable)
}
