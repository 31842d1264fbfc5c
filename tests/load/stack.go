package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/load/proc"
)

// stack is one handler with a database, a broker and a listener of its own, and what is known of it.
type stack struct {
	*bench
	name     string
	db       *pgx.Conn // as the owner of the database
	app      string    // the database's URL for the handler and pgbench
	address  string    // of the API
	listener string    // its address
	parts    []part
	handler  int // its process; 0 while it is not known, because a host started it
	host     int // its process, if there is one
	books    books
	traced   []string // settings with which the handler pushes its traces
}

// settings say what stack to start.
type settings struct {
	name      string
	products  int
	redis     int       // the database's number
	hosted    bool      // through the stand-in for the Functions host
	collector collector // of its telemetry
}

// start makes a database and starts broker, listener and handler.
func (b *bench) start(ctx context.Context, c settings) (*stack, error) {
	s := &stack{bench: b, name: c.name}
	for _, step := range []func() error{
		func() error { return s.makeDatabase(ctx, c) },
		func() error { return s.countDatabase(ctx) },
		func() error { return s.startHandler(c) },
		func() error { return s.firstOrder(ctx) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("starting the %s stack: %w", c.name, err)
		}
	}
	return s, nil
}

// makeDatabase makes a database of its own, with the schema as it is in the source and products that don't run out.
func (s *stack) makeDatabase(ctx context.Context, c settings) error {
	name := fmt.Sprintf("load_%s_%d", c.name, os.Getpid())
	if err := execute(ctx, s.server, "CREATE DATABASE "+name+" OWNER "+pgserver.Owner); err != nil {
		return fmt.Errorf("making database %s: %w", name, err)
	}
	s.closers = append(s.closers, func() {
		_ = execute(context.Background(), s.server, "DROP DATABASE "+name+" WITH (FORCE)") // the whole server is thrown away
	})
	u, err := url.Parse(s.server)
	if err != nil {
		return errors.New("TEST_DATABASE_URL is not a URL")
	}
	u.Path, u.User = "/"+name, url.User(pgserver.App)
	s.app = u.String()
	u.User = url.User(pgserver.Owner)
	if s.db, err = pgx.Connect(ctx, u.String()); err != nil {
		return fmt.Errorf("connecting to database %s: %w", name, err)
	}
	s.closers = append(s.closers, func() { _ = s.db.Close(context.Background()) })
	if err := pgserver.GrantApp(ctx, s.db); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, u.String(), nil); err != nil {
		return err
	}
	if _, err := s.db.Exec(ctx, productsSQL, c.products); err != nil {
		return fmt.Errorf("making products: %w", err)
	}
	if _, err := s.db.Exec(ctx, `INSERT INTO inventory (product_id, initial, available) SELECT id, 1000000000, 1000000000 FROM products`); err != nil {
		return fmt.Errorf("making stock: %w", err)
	}
	return nil
}

// words are in the products' names, and what is searched for; categories is how many there are.
var words = []string{"red", "blue", "green", "small", "large", "light", "heavy", "round", "square", "soft", "warm", "plain"}

const categories = 12

var productsSQL = `INSERT INTO products (id, sku, name, description, category, price_minor, currency)
SELECT ('018cc251-f400-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'load-' || n,
	initcap(w[1 + n % 12]) || ' ' || w[1 + n / 12 % 12] || ' thing ' || n, 'A thing that is good for what it is made for.', 'Category ' || n % ` + strconv.Itoa(categories) + `, 1999, 'USD'
FROM generate_series(1, $1::int) n, (SELECT string_to_array('` + strings.Join(words, " ") + `', ' ') AS w) s`

// execute runs statements on a connection of its own, one after the other.
func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err = conn.Exec(ctx, sql); err != nil {
			break
		}
	}
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// superuser is the URL of the stack's database for the superuser.
func (s *stack) superuser() string {
	u, err := url.Parse(s.server)
	if err != nil {
		return s.server // makeDatabase has parsed it
	}
	u.Path = "/" + s.db.Config().Database
	return u.String()
}

// countDatabase finds the processes of PostgreSQL and Redis, whose times are told.
func (s *stack) countDatabase(ctx context.Context) error {
	if !proc.Available() {
		return nil
	}
	var backend int
	if err := s.db.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		return fmt.Errorf("asking PostgreSQL for its process: %w", err)
	}
	postmaster, err := proc.Parent(backend)
	if err != nil {
		return err
	}
	s.parts = append(s.parts, part{"PostgreSQL", func() (time.Duration, error) { return proc.UsedByAll(postmaster) }})
	o, err := redis.ParseURL(s.redis)
	if err != nil {
		return fmt.Errorf("TEST_REDIS_URL: %w", err)
	}
	client := redis.NewClient(o)
	defer client.Close() //nolint:errcheck // it has answered
	info, err := client.InfoMap(ctx, "server").Result()
	if err != nil {
		return nil // a stand-in in another process, whose time can't be told apart
	}
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	if err != nil {
		return nil // likewise
	}
	s.parts = append(s.parts, processPart("Redis", pid))
	return nil
}

// startHandler starts broker, listener and the handler as it is shipped, alone or behind a host.
func (s *stack) startHandler(c settings) error {
	var ports [3]int
	for i := range ports {
		port, err := child.FreePort()
		if err != nil {
			return err
		}
		ports[i] = port
	}
	brokerPort, listenerPort, handlerPort := ports[0], ports[1], ports[2]
	broker, err := s.startSelf("serve-broker", brokerSettings{Port: brokerPort, Journal: filepath.Join(s.dir, c.name+"-journal"), Hosted: c.hosted}, brokerPort)
	if err != nil {
		return err
	}
	connection := servicebus.ConnectionString(brokerPort)
	listener, err := s.startSelf("serve-listener", listenerSettings{listenerPort, connection}, listenerPort)
	if err != nil {
		return err
	}
	s.listener = fmt.Sprintf("127.0.0.1:%d", listenerPort)
	s.parts = append(s.parts, processPart("broker", broker.PID()), processPart("listener", listener.PID()))
	if err := s.startSink(c.collector); err != nil {
		return err
	}
	if c.hosted {
		return s.startHosted(c, connection)
	}
	s.address = fmt.Sprintf("127.0.0.1:%d", handlerPort)
	cmd := exec.Command(s.binary) //nolint:gosec,noctx // just built; ends with stop
	cmd.Stderr = os.Stderr
	cmd.Env = append(s.environment(c, connection), fmt.Sprintf("FUNCTIONS_CUSTOMHANDLER_PORT=%d", handlerPort))
	handler, err := s.startChild(cmd, handlerPort)
	if err != nil {
		return err
	}
	s.handler = handler.PID()
	s.parts = append([]part{processPart(handlerPart, s.handler)}, s.parts...)
	return nil
}

// environment is what a handler of this stack runs with. What --env says comes last, and so rules.
func (s *stack) environment(c settings, bus string) []string {
	return slices.Concat(os.Environ(), []string{
		"DATABASE_URL=" + s.app, "MIGRATIONS_DATABASE_URL=" + s.db.Config().ConnString(),
		"REDIS_URL=" + strings.TrimSuffix(s.redis, "/0") + "/" + strconv.Itoa(c.redis), "AUTH_ISSUER=" + s.customers.issuer.URL(), "AUTH_AUDIENCE=" + issuer.Audience,
		"SERVICEBUS_CONNECTION=" + bus, "WEBHOOK_SECRET=" + rand.Text(), "JWT_SIGNING_KEY=" + rand.Text(), "LOG_LEVEL=WARN",
		// Each request is counted against its customer's quota, and none is refused: a few thousand customers do the work of all.
		"RATE_LIMIT_CHECKOUT=100000/1m", "RATE_LIMIT_BROWSE=1000000/1m",
	}, s.traced, s.options.environment)
}

// target is this stack's API.
func (s *stack) target() target {
	return target{address: s.address, run: s.run, customers: s.customers, books: &s.books}
}

// firstOrder waits until the handler takes orders. Its rows are the reference's pattern.
func (s *stack) firstOrder(ctx context.Context) error {
	w, err := s.target().worker(ctx, 0)
	if err != nil {
		return err
	}
	defer w.close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // 503: it is still starting
		w.placeOrder(1, 1+products/2) // every stack has these
		r, err := w.conn.Do(time.Now(), w.request)
		if err != nil {
			return fmt.Errorf("placing the first order: %w", err)
		}
		if r.Status == http.StatusCreated {
			w.judge(r)
			return nil
		}
		if r.Status < http.StatusInternalServerError || time.Now().After(deadline) {
			return fmt.Errorf("placing the first order: %d %s", r.Status, r.Body)
		}
	}
}

// startBare starts the reference of product reads, with the answer that the handler gives.
func (b *bench) startBare(ctx context.Context, s *stack) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/api/v1/products/"+productID(1), nil) //nolint:gosec // an address we started
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(s.customers.token(0)))
	res, err := http.DefaultClient.Do(req) //nolint:gosec // an address we started
	if err != nil {
		return fmt.Errorf("reading a product: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading a product: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("reading a product: %s %s", res.Status, body)
	}
	port, err := child.FreePort()
	if err != nil {
		return err
	}
	process, err := b.startSelf("serve-bare", bareAnswer{Port: port, Header: res.Header, Body: body}, port)
	if err != nil {
		return err
	}
	b.bare = target{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), run: b.run, customers: b.customers}
	b.bareParts = []part{processPart("bare net/http", process.PID())}
	return nil
}
