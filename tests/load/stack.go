package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/shared/postgres"
)

// products is how many products orders are spread over; the one after the last is the hot one.
const products = 200

// stack is the handler under load and what it stands on.
type stack struct {
	options
	db                        *pgx.Conn // as the owner of the database
	app                       string    // the database's URL for the handler and pgbench
	dir, base, bareURL, token string
	pgbench                   string // the program's path
	topic                     *topic
	accepted                  int // answers 201 and pgbench's transactions
	closers                   []func()
}

// stop undoes start, last first.
func (s *stack) stop() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// start makes a database, builds and starts the handler, and places a first order.
func start(ctx context.Context, o options) (*stack, error) {
	server, redis := os.Getenv("TEST_DATABASE_URL"), os.Getenv("TEST_REDIS_URL")
	if server == "" || redis == "" {
		return nil, errors.New("TEST_DATABASE_URL and TEST_REDIS_URL are not set: run `make bench`")
	}
	s := &stack{options: o}
	for _, step := range []func() error{
		func() (err error) { s.pgbench, err = findPgbench(); return err },
		func() error { return s.makeDir() },
		func() error { return s.makeDatabase(ctx, server) },
		func() error { return s.startTopic(ctx) },
		func() error { return s.startHandler(ctx, redis) },
		func() error { return s.firstOrder(ctx) },
		func() error { return prepareReference(ctx, s.db, s.dir) },
		func() error { return s.startBare(ctx) },
	} {
		if err := step(); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *stack) makeDir() (err error) {
	if s.dir, err = os.MkdirTemp("", "load-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	s.closers = append(s.closers, func() { _ = os.RemoveAll(s.dir) })
	return nil
}

// makeDatabase makes a database of its own, with the schema as it is in the source and products that don't run out.
func (s *stack) makeDatabase(ctx context.Context, server string) error {
	name := fmt.Sprintf("load_%d", os.Getpid())
	if err := execute(ctx, server, "CREATE DATABASE "+name+" OWNER "+pgserver.Owner); err != nil {
		return fmt.Errorf("making database %s: %w", name, err)
	}
	s.closers = append(s.closers, func() {
		_ = execute(context.Background(), server, "DROP DATABASE "+name+" WITH (FORCE)") // the whole server is thrown away
	})
	u, err := url.Parse(server)
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
	for _, sql := range []string{
		`INSERT INTO products (id, sku, name, category, price_minor, currency)
		SELECT ('018cc251-f400-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'load-' || n, 'Load', 'Load', 1999, 'USD' FROM generate_series(1, $1::int) n`,
		`INSERT INTO inventory (product_id, initial, available) SELECT id, 1000000000, 1000000000 FROM products LIMIT $1::int`,
	} {
		if _, err := s.db.Exec(ctx, sql, products+1); err != nil {
			return fmt.Errorf("making products: %w", err)
		}
	}
	return nil
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// startHandler builds the handler as it is shipped and waits until it is ready.
func (s *stack) startHandler(ctx context.Context, redis string) error {
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	if s.token, err = tokens.Token("customer", "catalog:read order:read order:write"); err != nil {
		return err
	}
	binary := filepath.Join(s.dir, "handler")
	if err := stage.Build(ctx, ".", binary, stage.BuildOptions{}); err != nil {
		return err
	}
	port, err := child.FreePort()
	if err != nil {
		return err
	}
	s.base = fmt.Sprintf("http://127.0.0.1:%d", port)
	owner := s.db.Config().ConnString()
	cmd := exec.Command(binary) //nolint:gosec,noctx // just built; ends with stop
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("FUNCTIONS_CUSTOMHANDLER_PORT=%d", port), "DATABASE_URL="+s.app, "MIGRATIONS_DATABASE_URL="+owner,
		"REDIS_URL="+redis, "AUTH_ISSUER="+tokens.URL(), "AUTH_AUDIENCE="+issuer.Audience, "SERVICEBUS_CONNECTION="+s.topic.connection, "WEBHOOK_SECRET="+rand.Text(), "JWT_SIGNING_KEY="+rand.Text(), "LOG_LEVEL=WARN",
		// One customer does the work of thousands: everything is counted and nothing refused.
		"RATE_LIMIT_CHECKOUT=16000000/1m", "RATE_LIMIT_BROWSE=16000000/1m")
	return s.startChild(cmd, port)
}

// startBare makes this program the reference of product reads, with the answer that the handler gives.
func (s *stack) startBare(ctx context.Context) error {
	req, err := s.read(ctx, s.base)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
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
	s.bareURL = fmt.Sprintf("http://127.0.0.1:%d", port)
	answer, err := json.Marshal(bareAnswer{Port: port, Header: res.Header, Body: body})
	if err != nil {
		return fmt.Errorf("starting the reference: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting the reference: %w", err)
	}
	cmd := exec.Command(self, bareCommand) //nolint:gosec,noctx // ourselves; ends with stop
	cmd.Stdin, cmd.Stderr = bytes.NewReader(answer), os.Stderr
	return s.startChild(cmd, port)
}

func (s *stack) startChild(cmd *exec.Cmd, port int) error {
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() { process.Stop(syscall.SIGTERM, 5*time.Second) })
	return process.WaitFor(port, 30*time.Second)
}
