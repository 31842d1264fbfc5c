package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/redisserver"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/infra/local/stage"
)

// hosts is how many there are, each with a handler.
const hosts = 2

// stack is the whole service in processes of its own, and a proxy between each handler and each store.
type stack struct {
	t      *testing.T
	dir    string
	data   string // where PostgreSQL's data lies
	issuer *issuer.Issuer
	ports  struct{ postgres, redis, broker int }
	binary string // the handler
	root   string // the staged script root

	mu       sync.Mutex // over the processes
	postgres *pgserver.Server
	redis    *redisserver.Server
	broker   *child.Process
	hosts    [hosts]*node
}

// node is one host with its handler and the ways from it to the stores.
type node struct {
	process *child.Process
	port    int
	proxies map[string]*toxiproxy.Proxy // by store
	state   string
}

// options say how a stack differs from the usual one.
type options struct {
	overlay  string   // replaces source files of the handler: a broken one
	settings []string // more of the handlers' environment
	sql      string   // run on the database before the service is used
	// data makes the folder in dir where PostgreSQL's data shall lie; nil: dir is it.
	data func(t *testing.T, dir string) string
}

// open starts a stack. Whatever the test does to it, nothing of it is left at the end.
func open(t *testing.T, o options) *stack {
	t.Helper()
	if redisserver.Installed() == "" {
		require.Empty(t, os.Getenv("CI"), "there must be a redis-server")
		t.Skip("redis-server is not installed: what can be killed must be a process")
	}
	dir, err := os.MkdirTemp("", "chaos-") //nolint:usetesting // PostgreSQL's user must be able to enter it
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &stack{t: t, dir: dir, data: dir, binary: filepath.Join(dir, "handler")}
	if o.data != nil {
		s.data = o.data(t, dir)
	}
	for _, port := range []*int{&s.ports.postgres, &s.ports.redis, &s.ports.broker} {
		*port, err = child.FreePort()
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	require.NoError(t, stage.Build(ctx, "../..", s.binary, stage.BuildOptions{Version: "chaos", Overlay: o.overlay}))
	s.root, err = stage.Stage(stage.Options{Repo: "../..", Binary: s.binary, Out: filepath.Join(dir, "app")})
	require.NoError(t, err)
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	require.NoError(t, err)
	t.Cleanup(stop)
	s.issuer = tokens

	t.Cleanup(s.stopAll)
	s.startPostgres()
	s.startRedis()
	s.startBroker()
	for i := range s.hosts {
		s.hosts[i] = s.newNode(i)
		s.startHost(i, o.settings)
	}
	for _, n := range s.hosts { // the first one migrates
		require.Eventually(t, func() bool { return n.ready() }, 2*time.Minute, 50*time.Millisecond, "a handler did not get ready")
	}
	if o.sql != "" {
		db, err := s.database(ctx)
		require.NoError(t, err)
		_, err = db.Exec(ctx, o.sql)
		require.NoError(t, err)
		require.NoError(t, db.Close(ctx))
	}
	return s
}

// postgresSettings are safe against the death of processes, which is what is tested here; a machine that loses its power
// is PostgreSQL's own business, and fsync would make a slow disk the subject.
func postgresSettings() map[string]string {
	settings := maps.Clone(pgserver.FastSettings)
	settings["synchronous_commit"], settings["full_page_writes"] = "on", "on"
	return settings
}

func (s *stack) startPostgres() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	settings := postgresSettings()
	if s.data != s.dir { // a small disk: the log shall not fill it by itself
		settings["max_wal_size"] = "128MB"
	}
	pg, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(s.data, "postgres"), Port: s.ports.postgres, Settings: settings, Log: func(string) {}})
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postgres = pg
}

func (s *stack) startRedis() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	redis, err := redisserver.Start(ctx, filepath.Join(s.dir, "redis"), s.ports.redis)
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redis = redis
}

func (s *stack) startBroker() {
	p := startSelf(s.t, "broker", brokerSettings{s.ports.broker, filepath.Join(s.dir, "journal")}, s.ports.broker)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broker = p
}

// stores are what handlers speak to.
var stores = []string{"postgres", "redis", "broker"}

// newNode makes the ways from a host that will be to the stores.
func (s *stack) newNode(i int) *node {
	n := &node{proxies: map[string]*toxiproxy.Proxy{}, state: filepath.Join(s.dir, "timers-"+strconv.Itoa(i))}
	require.NoError(s.t, os.MkdirAll(n.state, 0o700))
	var err error
	n.port, err = child.FreePort()
	require.NoError(s.t, err)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for store, port := range map[string]int{"postgres": s.ports.postgres, "redis": s.ports.redis, "broker": s.ports.broker} {
		p := toxiproxy.NewProxy(server, store, "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(s.t, p.Start())
		s.t.Cleanup(p.Stop)
		n.proxies[store] = p
	}
	return n
}

// through is a store's address behind the node's proxy.
func (n *node) through(t *testing.T, store, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = n.proxies[store].Listen
	return u.String()
}

func (s *stack) startHost(i int, settings []string) {
	n := s.hosts[i]
	_, port, _ := strings.Cut(n.proxies["broker"].Listen, ":")
	brokerPort, err := strconv.Atoi(port)
	require.NoError(s.t, err)
	env := append([]string{
		"FUNCTIONS_WORKER_RUNTIME=custom", "AzureWebJobsDisableHomepage=true",
		"DATABASE_URL=" + n.through(s.t, "postgres", s.postgres.URL(pgserver.App, pgserver.Database)),
		"MIGRATIONS_DATABASE_URL=" + s.postgres.URL(pgserver.Owner, pgserver.Database),
		"REDIS_URL=" + n.through(s.t, "redis", s.redis.URL()),
		"AUTH_ISSUER=" + s.issuer.URL(), "AUTH_AUDIENCE=" + issuer.Audience,
		"SERVICEBUS_CONNECTION=" + standin.ConnectionString(brokerPort),
		"WEBHOOK_SECRET=a secret for the chaos tests only", "WEBHOOK_ALLOW_LOOPBACK=true",
		"JWT_SIGNING_KEY=a key for the chaos tests only", "REQUEST_TIMEOUT=3s", "LOG_LEVEL=ERROR",
		// A few clients do the work of many customers.
		"RATE_LIMIT_CHECKOUT=1000000/1m", "RATE_LIMIT_BROWSE=1000000/1m", "RATE_LIMIT_REST=1000000/1m",
	}, settings...)
	p := startSelf(s.t, "host", hostSettings{n.port, s.root, n.state, env, standin.ConnectionString(s.ports.broker)}, n.port)
	s.mu.Lock()
	defer s.mu.Unlock()
	n.process = p
}

// ready tells whether a node's handler can work.
func (n *node) ready() bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/health/startup", n.port))
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// database is a connection to the database as its owner, past all proxies.
func (s *stack) database(ctx context.Context) (*pgx.Conn, error) {
	return connect(ctx, s.server().URL(pgserver.Owner, pgserver.Database))
}

// server is the PostgreSQL that there is now, for goroutines beside the one that kills and starts it.
func (s *stack) server() *pgserver.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.postgres
}

// superuser is one that may change the server's settings.
func (s *stack) superuser(ctx context.Context) (*pgx.Conn, error) {
	return connect(ctx, s.server().SuperuserURL())
}

func connect(ctx context.Context, address string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return pgx.Connect(ctx, address)
}

// stopAll ends what is left.
func (s *stack) stopAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.hosts {
		if n != nil && n.process != nil {
			for _, pid := range family(n.process.PID()) {
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
			n.process.Stop(syscall.SIGKILL, time.Second)
		}
	}
	if s.broker != nil {
		s.broker.Stop(syscall.SIGKILL, time.Second)
	}
	if s.redis != nil {
		s.redis.Stop()
	}
	if s.postgres != nil {
		s.postgres.Stop()
	}
}

// family are a process and all its descendants.
func family(pid int) []int {
	list := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well formed
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		for _, field := range strings.Fields(string(raw)) {
			if child, err := strconv.Atoi(field); err == nil {
				list = append(list, family(child)...)
			}
		}
	}
	return list
}

// poison puts a toxic between a node and a store.
func (n *node) poison(store, kind, direction string, attributes map[string]any) error {
	raw, err := json.Marshal(map[string]any{"type": kind, "name": kind + "-" + direction, "stream": direction, "attributes": attributes})
	if err != nil {
		return err
	}
	_, err = n.proxies[store].Toxics.AddToxicJson(strings.NewReader(string(raw)))
	return err
}

// heal takes all toxics away.
func (n *node) heal(store string) {
	n.proxies[store].Toxics.ResetToxics(context.Background())
}
