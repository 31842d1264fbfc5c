package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
	"github.com/company/order-catalog-service/tests/kit"
)

const (
	atOnce  = 250 * time.Millisecond // a refusal
	soon    = 2 * time.Second        // the way back: one on a machine that has nothing else to do
	in      = 20 * time.Second       // whatever must happen at some time
	acquire = 4 * time.Second
)

func wide(t *testing.T, address string) *postgres.Pools {
	t.Helper()
	pools, err := postgres.Open(ctx, address, postgres.Budget{Orders: 4, Reads: 4, Background: 2, Acquire: acquire})
	require.NoError(t, err)
	t.Cleanup(pools.Close)
	return pools
}

// once asks a pool for one value, with a request's time.
func once(pool *postgres.Pool, patience time.Duration) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT 1")
		return err
	})
	return time.Since(began), err
}

// A server that hangs answers nobody and ends no connection. It costs the callers of the first moments their wait and the
// others nothing; when it is back so are they, and not on connections that are dead and don't know it.
func TestAServerThatHangsIsNotWaitedForByEverybody(t *testing.T) {
	t.Parallel()
	wire := kit.NewWire(t, kit.NewDatabase(t).AppURL)
	pools := wide(t, wire.URL)
	those := []*postgres.Pool{pools.Orders, pools.Reads, pools.Background}
	var all sync.WaitGroup
	for _, pool := range those { // each has connections
		for range 4 {
			all.Go(func() { _, err := once(pool, in); assert.NoError(t, err) })
		}
	}
	all.Wait()
	const patience = 12 * time.Second // many times what it takes to find out
	defer wire.Cut()                  // or closing waits for good-byes
	wire.Mute()
	began := time.Now()
	var waited atomic.Int64
	var refused atomic.Bool
	for range 8 { // clients that come again
		all.Go(func() {
			for !refused.Load() {
				took, err := once(pools.Orders, patience)
				assert.ErrorIs(t, err, postgres.ErrUnavailable)
				assert.Less(t, took, patience+time.Second)
				if took > atOnce {
					waited.Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return pools.Orders.Check() != nil }, in, 5*time.Millisecond)
	refused.Store(true)
	known := time.Since(began)
	assert.Less(t, known, patience/2, "found out long before the callers' time was over")
	all.Wait()
	assert.Less(t, time.Since(began), patience*3/4, "and who waited then is told")
	for _, pool := range those { // one finds out for all
		for range 100 {
			took, err := once(pool, patience)
			require.ErrorIs(t, err, postgres.ErrUnavailable)
			require.ErrorIs(t, err, dependency.ErrOpen)
			require.Less(t, took, atOnce)
		}
	}
	wire.Mend()
	mended := time.Now()
	require.Eventually(t, func() bool { return pools.Orders.Check() == nil }, in, time.Millisecond)
	back := time.Since(mended)
	assert.Less(t, back, soon)
	for i, pool := range those {
		took, err := once(pool, patience)
		require.NoError(t, err, "no connection is left that hangs: pool %d after %s", i, took)
		assert.Less(t, took, acquire)
	}
	t.Logf("%d calls waited, for %s; it was found back within %s", waited.Load(), known.Round(time.Millisecond), back.Round(time.Millisecond))
}

// A single caller waits for an answer, with all the time in the world and a connection of its own: nothing else would tell.
func TestAStatementThatWaitsIsReasonEnough(t *testing.T) {
	t.Parallel()
	wire := kit.NewWire(t, kit.NewDatabase(t).AppURL)
	pools := wide(t, wire.URL)
	_, err := once(pools.Orders, in)
	require.NoError(t, err)
	defer wire.Cut()
	wire.Mute()
	took, err := once(pools.Orders, 2*in)
	require.ErrorIs(t, err, postgres.ErrUnavailable)
	assert.NotErrorIs(t, err, dependency.ErrOpen, "what became of it is not known")
	assert.Less(t, took, in/2)
	require.ErrorIs(t, pools.Reads.Check(), dependency.ErrOpen)
	t.Logf("found out after %s", took.Round(time.Millisecond))
}

func TestAServerThatIsGoneIsFoundBack(t *testing.T) {
	t.Parallel()
	wire := kit.NewWire(t, kit.NewDatabase(t).AppURL)
	pools := wide(t, wire.URL)
	_, err := once(pools.Orders, in)
	require.NoError(t, err)
	wire.Cut()
	require.Eventually(t, func() bool { _, err := once(pools.Orders, in); return errors.Is(err, dependency.ErrOpen) }, in, 5*time.Millisecond)
	require.ErrorIs(t, pools.Orders.Ping(ctx), postgres.ErrUnavailable)
	wire.Mend()
	mended := time.Now()
	assert.Eventually(t, func() bool { return pools.Background.Ping(ctx) == nil }, in, time.Millisecond, "start and readiness ask whatever is known")
	require.Eventually(t, func() bool { _, err := once(pools.Orders, in); return err == nil }, in, 5*time.Millisecond)
	assert.Less(t, time.Since(mended), soon)
}

// While a server does not answer, one connection at a time finds out whether it does again, with a pause in between:
// however many callers there are, they are no load for a server that tries to come back.
func TestHalfOpenOnlyProbesReachTheServer(t *testing.T) {
	t.Parallel()
	wire := kit.NewWire(t, kit.NewDatabase(t).AppURL)
	wire.Mute()
	pools := wide(t, wire.URL)
	defer wire.Cut()
	took, err := once(pools.Orders, in)
	require.ErrorIs(t, err, postgres.ErrUnavailable)
	assert.Less(t, took, 2*acquire)
	require.Eventually(t, func() bool { return pools.Orders.Check() != nil }, in, time.Millisecond)
	time.Sleep(dependency.PostgreSQL.Connect) // what the pools had begun themselves is over
	before, stop := wire.Came(), time.After(3*time.Second)
	for calls := 0; ; calls++ {
		select {
		case <-stop:
			probes := wire.Came() - before
			t.Logf("%d calls, %d probes", calls, probes)
			assert.Positive(t, probes)
			assert.LessOrEqual(t, probes, 2*7, "each takes half a second, with TLS and without, and is followed by a pause")
			assert.Greater(t, calls, 500)
			return
		default:
			_, err := once(pools.Reads, in)
			require.ErrorIs(t, err, dependency.ErrOpen)
			time.Sleep(time.Millisecond)
		}
	}
}

// What callers do to themselves, or to each other, is no reason to stop asking a server that answers.
func TestACallersOwnTroubleOpensNothing(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	exec := func(ctx context.Context, sql string, args ...any) func(*pgx.Conn) error {
		return func(conn *pgx.Conn) error { _, err := conn.Exec(ctx, sql, args...); return err }
	}
	for name, trouble := range map[string]func(t *testing.T, pools *postgres.Pools){
		"a full pool": func(t *testing.T, pools *postgres.Pools) {
			t.Helper()
			var all, taken sync.WaitGroup
			for range 4 {
				taken.Add(1)
				all.Go(func() {
					assert.NoError(t, pools.Orders.Do(ctx, func(conn *pgx.Conn) error {
						taken.Done()
						return exec(ctx, "SELECT pg_sleep(4.8)")(conn)
					}))
				})
			}
			for range 60 {
				all.Go(func() {
					taken.Wait()
					err := pools.Orders.Do(ctx, exec(ctx, "SELECT 1"))
					assert.ErrorIs(t, err, postgres.ErrUnavailable)
					assert.NotErrorIs(t, err, dependency.ErrOpen)
				})
			}
			all.Wait()
		},
		"clients that leave": func(t *testing.T, pools *postgres.Pools) {
			t.Helper()
			for range 20 {
				leaving, leave := context.WithCancel(ctx)
				time.AfterFunc(20*time.Millisecond, leave)
				require.Error(t, pools.Orders.Do(leaving, exec(leaving, "SELECT pg_sleep(10)")))
			}
		},
		"clients with no time": func(t *testing.T, pools *postgres.Pools) {
			t.Helper()
			for range 20 {
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				require.Error(t, pools.Orders.Do(short, exec(short, "SELECT pg_sleep(10)")))
				cancel()
			}
		},
		"a key that is there": func(t *testing.T, pools *postgres.Pools) {
			t.Helper()
			for range 50 {
				err := pools.Orders.Do(ctx, exec(ctx, `DO $$ BEGIN RAISE unique_violation; END $$`))
				require.Equal(t, postgres.UniqueViolation, postgres.Code(err))
			}
		},
		"statements that take too long": func(t *testing.T, pools *postgres.Pools) {
			t.Helper()
			for range 20 {
				err := pools.Orders.Tx(ctx, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(10)`)
					return err
				})
				require.Equal(t, "57014", postgres.Code(err))
			}
		},
		"connections that are ended": func(t *testing.T, pools *postgres.Pools) {
			t.Helper()
			for range 20 {
				require.Error(t, pools.Orders.Do(ctx, exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pools := wide(t, d.AppURL)
			require.NoError(t, pools.Orders.Ping(ctx))
			over, looked := make(chan struct{}), make(chan bool)
			go func() {
				open := false
				for {
					select {
					case <-over:
						looked <- open
						return
					case <-time.After(time.Millisecond):
						open = open || pools.Orders.Check() != nil
					}
				}
			}()
			trouble(t, pools)
			time.Sleep(1500 * time.Millisecond) // for what it made somebody suspect
			close(over)
			assert.False(t, <-looked, "the breaker opened")
			_, err := once(pools.Orders, in)
			require.NoError(t, err)
		})
	}
}

// The server commits and the answer is lost. Nobody may say then that nothing was done, and what was done is there.
func TestAnOutcomeThatIsNotKnownIsNotCalledNothing(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	wire := kit.NewWire(t, d.AppURL)
	pools := wide(t, wire.URL)
	defer wire.Cut()
	id := uuid.Must(uuid.NewV7())
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := pools.Orders.Do(short, func(conn *pgx.Conn) error {
		_, err := conn.Exec(short, `BEGIN; INSERT INTO carts (id, customer_key, session_id) VALUES ('`+id.String()+`', '`+id.String()+`', 's')`)
		if err != nil {
			return err
		}
		time.AfterFunc(500*time.Millisecond, wire.Mute)
		_, err = conn.Exec(short, "COMMIT; SELECT pg_sleep(1)") // the answers come together
		return err
	})
	require.ErrorIs(t, err, postgres.ErrUnavailable)
	assert.NotErrorIs(t, err, dependency.ErrOpen, "that one means that nothing was done")
	require.ErrorIs(t, pools.Orders.Check(), dependency.ErrOpen, "it opened meanwhile")
	assert.Equal(t, 1, kit.One[int](t, d, `SELECT count(*)::int FROM carts WHERE id = $1`, id))
}

// A connection that breaks under a read costs the reader nothing but a moment; a write is its client's to repeat. When all
// break they are not all repeated (D14).
func TestReadsThatBreakAreReadAgainAndWritesAreNot(t *testing.T) {
	t.Parallel()
	pools := wide(t, kit.NewDatabase(t).AppURL)
	tries := 0
	breaking := func(times int) func(*pgx.Conn) error {
		tries = 0
		return func(conn *pgx.Conn) error {
			if tries++; tries > times {
				_, err := conn.Exec(ctx, "SELECT 1")
				return err
			}
			_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
			return err
		}
	}
	require.NoError(t, pools.Reads.Read(ctx, breaking(1)))
	assert.Equal(t, 2, tries)
	require.ErrorIs(t, pools.Reads.Read(ctx, breaking(9)), postgres.ErrUnavailable)
	assert.Equal(t, 2, tries, "once is enough")
	require.ErrorIs(t, pools.Orders.Do(ctx, breaking(1)), postgres.ErrUnavailable)
	assert.Equal(t, 1, tries)
	wrong := 0
	require.Error(t, pools.Reads.Read(ctx, func(conn *pgx.Conn) error { wrong++; _, err := conn.Exec(ctx, `SELEKT`); return err }))
	assert.Equal(t, 1, wrong, "it would be as wrong again")

	pools = wide(t, kit.NewDatabase(t).AppURL)
	const calls = 100
	asked := 0
	for range calls {
		_ = pools.Reads.Read(ctx, func(conn *pgx.Conn) error {
			asked++
			_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
			return err
		})
	}
	assert.LessOrEqual(t, asked, calls*11/10+6, "a tenth, and the floor of two windows at most")
	assert.Greater(t, asked, calls)
}
