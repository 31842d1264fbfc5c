package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

// limited is a database that gives out as many connections as a server with max_connections = 100 to ordinary roles.
func limited(t *testing.T) *kit.Database {
	t.Helper()
	d := kit.NewDatabase(t)
	d.Exec(t, fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT 97", kit.One[string](t, d, "SELECT current_database()")))
	return d
}

// process opens pools as one process has them.
func process(t *testing.T, url string, budget postgres.Budget) *postgres.Pools {
	t.Helper()
	budget.Acquire = time.Minute
	pools, err := postgres.Open(ctx, url, budget)
	require.NoError(t, err)
	t.Cleanup(pools.Close)
	return pools
}

var smallest = postgres.Budget{Orders: 1, Reads: 1, Background: 1, Drain: 1}

func all(p *postgres.Pools) []*postgres.Pool {
	return []*postgres.Pool{p.Orders, p.Reads, p.Background, p.Drain}
}

const connections = `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND usename = 'orders_app'`

// As many processes as the formula allows all use every connection that they may, and none is refused. One more is one
// too many, so the formula gives nothing away.
func TestAsManyInstancesAsFitGetTheirConnections(t *testing.T) {
	t.Parallel()
	d := limited(t)
	first := process(t, d.AppURL, smallest)
	fit, err := first.Fit(ctx)
	require.NoError(t, err)
	require.Equal(t, postgres.Fit{Own: 4, Server: 97, Named: true}, fit)
	const reserve = 1 // this test's own look
	n := fit.Instances(reserve)
	require.Equal(t, 24, n)

	release := make(chan struct{})
	held, ended := make(chan error, 4*n), sync.WaitGroup{}
	processes := []*postgres.Pools{first}
	for len(processes) < n {
		processes = append(processes, process(t, d.AppURL, smallest))
	}
	for _, p := range processes {
		for _, pool := range all(p) {
			ended.Go(func() {
				err := pool.Do(ctx, func(conn *pgx.Conn) error {
					held <- conn.Ping(ctx)
					<-release
					return nil
				})
				if err != nil {
					held <- err
				}
			})
		}
	}
	for range 4 * n {
		assert.NoError(t, <-held)
	}
	assert.Equal(t, 4*n, kit.One[int](t, d, connections))
	tooMany := process(t, d.AppURL, smallest)
	var refused error
	for _, pool := range all(tooMany) {
		if err := pool.Do(ctx, func(*pgx.Conn) error { return nil }); err != nil {
			refused = err
		}
	}
	require.ErrorIs(t, refused, postgres.ErrUnavailable)
	assert.Equal(t, "53300", postgres.Code(refused), "too many connections")
	close(release)
	ended.Wait()
}

// Forty processes with the default budget hold 880 connections of the pooler, and the server never sees more than 80.
func TestFortyInstancesFitBehindAPooler(t *testing.T) {
	t.Parallel()
	d := limited(t)
	pooled := kit.NewPooler(t, d.AppURL, 80) + "&default_query_exec_mode=cache_describe"
	var ended sync.WaitGroup
	errs := make(chan error, 40*22)
	for range 40 {
		budget := postgres.Budget{Orders: 8, Reads: 6, Background: 4, Drain: 4} // the defaults of DB_POOL_*
		p := process(t, pooled, budget)
		for i, size := range []int32{budget.Orders, budget.Reads, budget.Background, budget.Drain} {
			pool := all(p)[i]
			for range size {
				ended.Go(func() {
					errs <- pool.Tx(ctx, func(tx pgx.Tx) error {
						_, err := tx.Exec(ctx, `SELECT count(*) FROM inventory, pg_sleep(0.01) WHERE available > $1`, 0)
						return err
					})
				})
			}
		}
	}
	ended.Wait()
	for range 40 * 22 {
		require.NoError(t, <-errs)
	}
	// The pooler keeps what it opened for minutes, so this is the most there was.
	assert.LessOrEqual(t, kit.One[int](t, d, connections), 80)
	assert.Greater(t, kit.One[int](t, d, connections), 1)
}

func TestMisfitsAreNamedAtTheStart(t *testing.T) {
	t.Parallel()
	warnings := func(t *testing.T, url string, budget postgres.Budget) []string {
		t.Helper()
		fit, err := process(t, url, budget).Fit(ctx)
		require.NoError(t, err)
		return fit.Warnings()
	}
	d := limited(t)
	assert.Empty(t, warnings(t, d.AppURL, postgres.Budget{Orders: 12, Reads: 12, Background: 12, Drain: 12}), "two of 48 fit")
	big := postgres.Budget{Orders: 13, Reads: 12, Background: 12, Drain: 12}
	greedy := warnings(t, d.AppURL, big)
	require.Len(t, greedy, 1)
	assert.Contains(t, greedy[0], "49 of the server's 97 connections")

	pooled := kit.NewPooler(t, d.AppURL, 2)
	assert.Empty(t, warnings(t, pooled+"&default_query_exec_mode=cache_describe", big), "how many it may have is the pooler's to say")
	named := warnings(t, pooled, big)
	require.Len(t, named, 1)
	assert.Contains(t, named[0], "default_query_exec_mode=cache_describe")
}
