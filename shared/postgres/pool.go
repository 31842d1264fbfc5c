package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// ErrUnavailable says that PostgreSQL could not be asked, or not in time: the caller may try again later.
// It wraps the cause.
var ErrUnavailable = errors.New("database unavailable")

// Budget is how many connections each kind of work may hold in one process. They are separate, so that slow
// reads or a stuck background job can't take the connections that orders need. The sum times the number of
// instances must stay below the server's max_connections (see Fit).
type Budget struct {
	Orders     int32         // writes that a customer waits for
	Reads      int32         // lists and single reads
	Background int32         // housekeeping, probes, webhook deliveries
	Drain      int32         // the outbox's drain, which holds a connection while it sends; 0 makes no such pool
	Acquire    time.Duration // how long to wait for a free connection before ErrUnavailable
}

// Pools are the connection pools of one process. They connect when first used, never when made.
type Pools struct {
	Orders     *Pool
	Reads      *Pool
	Background *Pool
	Drain      *Pool

	size     int // connections of all pools
	timeline atomic.Pointer[string]
	watch    *watch
	unwatch  func() // ends the metrics of retries
}

// Open makes the pools for url (a postgres:// URL or a key=value DSN). It does not connect, so it fails only for
// a URL that cannot be read. Behind a pooler in transaction mode the URL must say
// default_query_exec_mode=cache_describe: statements then have no names, which would stay behind on a connection that
// the next transaction doesn't get. Nothing else here needs a session: locks are those of transactions, settings the role's.
func Open(ctx context.Context, url string, budget Budget, options ...Option) (*Pools, error) {
	pools := &Pools{}
	login := collect(options)
	observe, err := newObserver()
	if err != nil {
		return nil, err
	}
	again := dependency.NewRetrier(dependency.PostgreSQL)
	all := &lines{open: make(map[*line]struct{})}
	var dial *pgx.ConnConfig
	for _, p := range []struct {
		name string
		size int32
		to   **Pool
	}{
		{"orders", budget.Orders, &pools.Orders},
		{"reads", budget.Reads, &pools.Reads},
		{"background", budget.Background, &pools.Background},
		{"drain", budget.Drain, &pools.Drain},
	} {
		if p.size == 0 {
			continue
		}
		config, err := pgxpool.ParseConfig(url)
		if err != nil {
			// The parser's message quotes the URL, password and all.
			return nil, errors.New("DATABASE_URL is not a PostgreSQL connection string (postgres://user:password@host:port/database)")
		}
		config.MaxConns = p.size
		config.MaxConnLifetime = 5 * time.Minute
		config.MaxConnLifetimeJitter = time.Minute
		config.MaxConnIdleTime = time.Minute
		config.HealthCheckPeriod = 15 * time.Second
		config.ConnConfig.ConnectTimeout = dependency.PostgreSQL.Connect
		config.ConnConfig.RuntimeParams["application_name"] = "order-catalog-" + p.name
		config.ConnConfig.Tracer = observe
		config.ConnConfig.DialFunc = all.through(config.ConnConfig.DialFunc)
		config.AfterConnect = pools.prepare
		config.BeforeConnect = login.before
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			return nil, fmt.Errorf("making the %s pool: %w", p.name, err)
		}
		*p.to = &Pool{pool: pool, acquire: budget.Acquire, refused: login.refused, again: again}
		pools.size += int(p.size)
		dial = config.ConnConfig
	}
	if err := observe.watch(pools); err != nil {
		return nil, err
	}
	if pools.unwatch, err = again.Watch(); err != nil {
		return nil, err
	}
	if pools.watch, err = begin(pools, all, observe, dial, login.before); err != nil {
		return nil, err
	}
	for _, pool := range pools.all() {
		pool.watch = pools.watch
	}
	return pools, nil
}

// Close closes all connections, waiting for those in use.
func (p *Pools) Close() {
	p.watch.end()
	p.unwatch()
	for _, pool := range p.all() {
		pool.pool.Close()
	}
}

// all are the pools that there are.
func (p *Pools) all() (list []*Pool) {
	for _, pool := range []*Pool{p.Orders, p.Reads, p.Background, p.Drain} {
		if pool != nil {
			list = append(list, pool)
		}
	}
	return list
}

// Timeline is the server's timeline as last seen by a new connection, "" before the first. It changes when a
// replica is promoted. What was cached of the old primary's answers may not exist on the new one, so cache keys
// of such answers carry it.
func (p *Pools) Timeline() string {
	if t := p.timeline.Load(); t != nil {
		return *t
	}
	return ""
}

// prepare readies each new connection, and reads the timeline on it: connections to the old primary die with it, so the
// first one to the new primary is where the change shows.
func (p *Pools) prepare(ctx context.Context, conn *pgx.Conn) error {
	// Ids go over the wire as their sixteen bytes; without this as text, by way of reflection.
	pgxuuid.Register(conn.TypeMap())
	const query = `/* Connect.Timeline */ SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END`
	var timeline string
	// Not under a name: with the wrong setting behind a pooler no connection would come up at all, and nobody be told why.
	if err := conn.QueryRow(ctx, query, pgx.QueryExecModeExec).Scan(&timeline); err != nil {
		return fmt.Errorf("reading the timeline: %w", err)
	}
	if timeline != "" {
		p.timeline.Store(&timeline)
	}
	return nil
}

// Pool is one budget of connections.
type Pool struct {
	pool    *pgxpool.Pool
	acquire time.Duration
	refused func()
	watch   *watch
	again   *dependency.Retrier
}

// Do runs fn with a connection of the pool. It waits for one no longer than the budget says and then fails with
// ErrUnavailable: a queue inside the process would only hide that the database is too slow. Failures of fn that
// mean the same (connection lost, server shutting down, timeouts) become ErrUnavailable too. While the server is known not
// to answer it fails at once, and fn is not run.
//
// fn runs again when its transaction failed for want of a partition, which is made first (see partitions.go): it
// must have no effect outside its transaction.
func (p *Pool) Do(ctx context.Context, fn func(*pgx.Conn) error) error {
	return p.fitting(ctx, func() error { return p.once(ctx, fn) })
}

// Read is Do for what only reads. It runs fn a second time when its connection broke under it, as all connections do when
// the server is restarted or fails over: fn must give the same then, and change nothing.
func (p *Pool) Read(ctx context.Context, fn func(*pgx.Conn) error) error {
	return p.again.Do(ctx, func() error { return p.once(ctx, fn) }, broke)
}

// errAway is ErrUnavailable for a server that is known not to answer. Made once: while it is away, refusing is the work.
var errAway = fmt.Errorf("%w: %w", ErrUnavailable, dependency.ErrOpen)

// Check says whether the server is known not to answer: ErrUnavailable then. It is for who would wait for something else
// before it came to a connection.
func (p *Pool) Check() error {
	if p.watch.breaker.Check() != nil {
		return errAway
	}
	return nil
}

// once runs fn once, unless the server is known not to answer.
func (p *Pool) once(ctx context.Context, fn func(*pgx.Conn) error) error {
	if err := p.Check(); err != nil {
		return err
	}
	return p.ask(ctx, fn)
}

// ask runs fn once, whatever is known.
func (p *Pool) ask(ctx context.Context, fn func(*pgx.Conn) error) error {
	wait, cancel := context.WithTimeout(ctx, p.acquire)
	conn, err := p.pool.Acquire(wait)
	cancel()
	if err != nil {
		if p.refused != nil && strings.HasPrefix(Code(err), "28") {
			p.refused()
		}
		p.judge(err)
		return fmt.Errorf("%w: acquiring a connection: %w", ErrUnavailable, err)
	}
	defer conn.Release()
	if err = fn(conn.Conn()); err != nil {
		p.judge(err)
	}
	return classify(err)
}

// judge raises a suspicion when a use of the pool ended without an answer, but for callers that left.
func (p *Pool) judge(err error) {
	if lost(err) && !errors.Is(err, context.Canceled) {
		p.watch.suspect()
	}
}

// Tx runs fn in a READ COMMITTED transaction that is committed when fn returns nil and rolled back otherwise.
func (p *Pool) Tx(ctx context.Context, fn func(pgx.Tx) error) error {
	return p.Do(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, fn)
	})
}

// PlanOnceSQL at the start of a transaction has it run on plans that each connection makes once. Left to itself the
// planner makes new ones for each call of a statement that takes an array, as it could count the items and prune
// partitions by them: that took longer than a batch of orders or a pass of the drain, and the executor prunes as well.
//
// A plan that is kept must suit what a table becomes. Made while the table, or tomorrow's partition, is still empty it
// would read all of it, and go on to do so when there are a million rows: so it goes by index from the start.
const PlanOnceSQL = `/* PlanOnce */ SELECT set_config('plan_cache_mode', 'force_generic_plan', true),
	set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`

// Ping asks the server for a sign of life, also while it is known to give none: a start waits for nothing else, and
// readiness tells how it is now.
func (p *Pool) Ping(ctx context.Context) error {
	return p.ask(ctx, func(conn *pgx.Conn) error { return conn.Ping(ctx) })
}

// Code is the SQLSTATE of err, "" when err did not come from the server.
func Code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// RolledBack tells whether the server undid a transaction for another one's sake (deadlock, serialisation): what it
// did may succeed when it is tried again.
func RolledBack(err error) bool { return strings.HasPrefix(Code(err), "40") }

// UniqueViolation is the SQLSTATE of an insert that met an existing key.
const UniqueViolation = "23505"

// classify marks failures that are the database's and may pass.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case pg.Code[:2] == "08", // connection exception
			pg.Code[:2] == "53", // insufficient resources: disk full, too many connections
			pg.Code[:2] == "57", // operator intervention: shutdown, failover, statement timeout
			pg.Code[:2] == "40", // rolled back: serialisation, deadlock
			pg.Code == "55P03",  // lock_timeout
			pg.Code == "25P03",  // idle_in_transaction_session_timeout: we were too slow between two statements
			pg.Code == "25006",  // read only: we are talking to a replica during a failover
			pg.Code == "42P01",  // no such table: the schema is not up yet
			lacksPartition(err): // and could not be made just now
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isConnectionLoss(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
