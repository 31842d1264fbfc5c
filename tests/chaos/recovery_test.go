package chaos

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/tests/history"
)

// away is how long a store is gone. `make soak` takes a minute.
func away(t *testing.T) time.Duration {
	t.Helper()
	d := 4 * time.Second
	if text := os.Getenv("AWAY"); text != "" {
		var err error
		d, err = time.ParseDuration(text)
		require.NoError(t, err, "AWAY is a duration such as 60s")
	}
	return d
}

// scene is a stack with clients at work, whose history is kept in memory's place: a file that ends with the test.
type scene struct {
	*stack
	t       *testing.T
	log     *history.Log
	name    string
	file    *os.File
	hook    *hook
	stop    func()
	working sync.WaitGroup
	client  *client // another one, for what the test asks itself
}

func busy(t *testing.T, s *stack) *scene {
	t.Helper()
	sc := &scene{stack: s, t: t, name: filepath.Join(t.TempDir(), "history.jsonl")}
	var err error
	sc.file, err = os.Create(sc.name)
	require.NoError(t, err)
	sc.log = history.NewLog(sc.file, history.Run{Began: time.Now(), Clients: clients})
	sc.hook = listen(t)
	p := &shop{s: s, log: sc.log, shelf: shelf}
	sc.client = newClient(t, p, clients, 1)
	sc.hook.register(t, sc.client)
	ctx, cancel := context.WithCancel(context.Background())
	sc.stop = sync.OnceFunc(func() { cancel(); sc.working.Wait() })
	t.Cleanup(sc.stop)
	for i := range clients {
		c := newClient(t, p, i, 1)
		sc.working.Go(func() { c.use(ctx, t) })
	}
	return sc
}

// between are the attempts that began in a stretch of time.
func between(h history.History, from, to time.Duration) (list []history.Attempt) {
	for _, a := range h.Attempts {
		if a.Begin >= from && a.Begin < to {
			list = append(list, a)
		}
	}
	return list
}

// p99 is of the latencies of orders that were placed.
func p99(list []history.Attempt) time.Duration {
	var all []time.Duration
	for _, a := range list {
		if a.Op == history.Place && a.Final() {
			all = append(all, a.End-a.Begin)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// end stops the clients, lets the service come to rest, and proves the promises on what the database at address has.
func (sc *scene) end(database func(context.Context) (history.Truth, error)) history.History {
	t := sc.t
	t.Helper()
	sc.stop()
	require.NoError(t, sc.log.Close())
	require.NoError(t, sc.file.Close())
	file, err := os.Open(sc.name)
	require.NoError(t, err)
	defer file.Close()
	h, err := history.Read(file)
	require.NoError(t, err)
	truth, err := database(context.Background())
	require.NoError(t, err)
	for _, v := range history.Check(h, truth, history.Options{}) {
		if v.Promise == "P1" || v.Promise == "P2" || v.Promise == "carts" { // events are still on their way: the soak waits for them
			t.Error(v)
		}
	}
	return h
}

func (s *stack) truth(ctx context.Context) (history.Truth, error) {
	db, err := s.database(ctx)
	if err != nil {
		return history.Truth{}, err
	}
	defer db.Close(ctx) //nolint:errcheck // has answered
	return history.ReadDatabase(ctx, db)
}

// Without Redis no order fails: it costs speed.
func TestRedisIsKilledUnderLoad(t *testing.T) {
	s := open(t, options{})
	sc := busy(t, s)
	time.Sleep(4 * time.Second) // the usual
	gone := sc.log.Now()
	s.redis.Kill()
	time.Sleep(away(t))
	back := sc.log.Now()
	s.startRedis()
	time.Sleep(2 * time.Second) // and after
	h := sc.end(s.truth)
	during := between(h, gone, back-time.Second)
	placed := 0
	for _, a := range during {
		if a.Op != history.Place {
			continue
		}
		placed++
		assert.True(t, a.Final(), "without Redis an order was answered %d %s %s", a.Status, a.Problem, a.Error)
	}
	assert.Positive(t, placed)
	t.Logf("orders: p99 %s before, %s while Redis was gone for %s (%d orders), %s after", p99(between(h, 0, gone)).Round(time.Millisecond),
		p99(during).Round(time.Millisecond), (back - gone).Round(time.Second), placed, p99(between(h, back, back+time.Minute)).Round(time.Millisecond))
}

// Without PostgreSQL writes are refused at once and say when to come back; what is cached goes on; and soon after the database
// is back so is the service.
func TestPostgresIsKilledUnderLoad(t *testing.T) {
	s := open(t, options{})
	sc := busy(t, s)
	time.Sleep(3 * time.Second) // the usual
	read := sc.cached()
	gone := sc.log.Now()
	s.postgres.Kill()
	time.Sleep(time.Second)
	sc.refused(away(t), read)
	s.startPostgres()
	back := sc.log.Now()
	time.Sleep(6 * time.Second) // and after
	h := sc.end(s.truth)
	first := time.Duration(0)
	for _, a := range h.Attempts {
		if a.End > back && a.Op == history.Place && a.Status == http.StatusCreated && (first == 0 || a.End < first) {
			first = a.End
		}
	}
	require.NotZero(t, first, "no order was placed after the database came back")
	assert.Less(t, first-back, 30*time.Second)
	t.Logf("PostgreSQL was gone for %s; the first order was placed %s after it was back", (back - gone).Round(time.Second), (first - back).Round(time.Millisecond))
}

// Without the broker orders go on; what they tell comes later.
func TestBrokerIsKilledUnderLoad(t *testing.T) {
	s := open(t, options{})
	sc := busy(t, s)
	time.Sleep(2 * time.Second) // the usual
	gone := sc.log.Now()
	s.broker.Stop(9, time.Second)
	time.Sleep(away(t))
	back := sc.log.Now()
	s.startBroker()
	began := time.Now()
	require.Eventually(t, func() bool {
		db, err := s.database(t.Context())
		if err != nil {
			return false
		}
		defer db.Close(t.Context()) //nolint:errcheck // has answered
		var old int
		return db.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE processed_at IS NULL AND occurred_at < now() - interval '2 seconds'`).Scan(&old) == nil && old == 0
	}, time.Minute, 100*time.Millisecond, "the backlog was not drained")
	drained := time.Since(began)
	h := sc.end(s.truth)
	placed := 0
	for _, a := range between(h, gone, back) {
		if a.Op == history.Place {
			placed++
			assert.True(t, a.Final(), "without the broker an order was answered %d %s %s", a.Status, a.Problem, a.Error)
		}
	}
	assert.Positive(t, placed)
	t.Logf("%d orders while the broker was gone for %s; their events were sent within %s of its return", placed, (back - gone).Round(time.Second), drained.Round(100*time.Millisecond))
}

// A standby that has every commit takes over: no order that was acknowledged is lost, and the handlers find it by themselves.
func TestPostgresFailsOverToASynchronousReplica(t *testing.T) {
	s := open(t, options{})
	port, err := child.FreePort()
	require.NoError(t, err)
	replica, err := pgserver.StartReplica(t.Context(), s.postgres, pgserver.Options{
		Dir: filepath.Join(s.dir, "replica"), Port: port, Settings: postgresSettings(), Log: func(line string) { t.Log(line) },
	})
	require.NoError(t, err)
	t.Cleanup(replica.Stop)
	admin, err := s.superuser(t.Context())
	require.NoError(t, err)
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		_, err = admin.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		var state string
		return admin.QueryRow(t.Context(), `SELECT sync_state FROM pg_stat_replication`).Scan(&state) == nil && state == "sync"
	}, 30*time.Second, 100*time.Millisecond, "the standby does not follow")
	require.NoError(t, admin.Close(t.Context()))

	// The handlers know both servers and want the one that takes writes.
	both := twoServers(t, s.postgres.URL(pgserver.App, pgserver.Database), s.ports.postgres, port)
	owner := twoServers(t, s.postgres.URL(pgserver.Owner, pgserver.Database), s.ports.postgres, port)
	for i, n := range s.hosts {
		n.process.Stop(9, time.Second)
		s.startHost(i, []string{"DATABASE_URL=" + both, "MIGRATIONS_DATABASE_URL=" + owner})
		require.Eventually(t, n.ready, time.Minute, 50*time.Millisecond)
	}
	sc := busy(t, s)
	time.Sleep(4 * time.Second) // the usual
	gone := sc.log.Now()
	s.postgres.Kill()
	require.NoError(t, replica.Promote(t.Context()))
	promoted := sc.log.Now()
	time.Sleep(8 * time.Second) // and after
	h := sc.end(func(ctx context.Context) (history.Truth, error) {
		db, err := connect(ctx, replica.URL(pgserver.Owner, pgserver.Database))
		if err != nil {
			return history.Truth{}, err
		}
		defer db.Close(ctx) //nolint:errcheck // has answered
		return history.ReadDatabase(ctx, db)
	})
	first := time.Duration(0)
	for _, a := range h.Attempts {
		if a.Begin > gone && a.Op == history.Place && a.Status == http.StatusCreated && !a.Replayed && (first == 0 || a.End < first) {
			first = a.End
		}
	}
	require.NotZero(t, first, "no order was placed on the promoted standby")
	t.Logf("the standby was promoted %s after the primary's death; the first order was placed %s after it", (promoted - gone).Round(time.Millisecond), (first - gone).Round(time.Millisecond))
}

// twoServers is a connection string that names two servers and asks for the one that takes writes.
func twoServers(t *testing.T, address string, first, second int) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = "127.0.0.1:" + strconv.Itoa(first) + ",127.0.0.1:" + strconv.Itoa(second)
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	q.Set("connect_timeout", "2")
	u.RawQuery = q.Encode()
	return u.String()
}
