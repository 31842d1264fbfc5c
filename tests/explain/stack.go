package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/pump"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/shared/postgres"
)

// stack is the service with a full database, and what looks at it.
type stack struct {
	options
	admin   *pgx.Conn // superuser, in the service's database
	tokens  *issuer.Issuer
	base    string // address of the host
	heard   string // address of the webhook receiver
	dir     string
	closers []func()
}

func (s *stack) stop() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// start fills a database of its own and runs the service on it.
func start(ctx context.Context, o options, out io.Writer) (*stack, error) {
	server, redis := os.Getenv("TEST_DATABASE_URL"), os.Getenv("TEST_REDIS_URL")
	if server == "" || redis == "" {
		return nil, errors.New("TEST_DATABASE_URL and TEST_REDIS_URL are not set: --help says how to run this")
	}
	s := &stack{options: o}
	var app, owner string
	for _, step := range []struct {
		says string
		do   func() error
	}{
		{"making a database", func() (err error) { app, owner, err = s.database(ctx, server); return err }},
		{fmt.Sprintf("filling it: %d products, %d orders", o.products, o.orders), func() error { return fill(ctx, s.admin, o) }},
		{"starting the service", func() error { return s.serve(ctx, app, owner, redis) }},
	} {
		fmt.Fprintln(out, step.says)
		if err := step.do(); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

// database makes a database with the schema as it is in the source; whoever serves requests on it can be explained.
func (s *stack) database(ctx context.Context, server string) (app, owner string, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", "", errors.New("TEST_DATABASE_URL is not a URL")
	}
	name := fmt.Sprintf("explain_%d", os.Getpid())
	first, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", "", fmt.Errorf("connecting to TEST_DATABASE_URL: %w", err)
	}
	_, err = first.Exec(ctx, "CREATE DATABASE "+name+" OWNER "+pgserver.Owner)
	if err = errors.Join(err, first.Close(ctx)); err != nil {
		return "", "", fmt.Errorf("making database %s: %w", name, err)
	}
	u.Path = "/" + name
	if s.admin, err = pgx.Connect(ctx, u.String()); err != nil {
		return "", "", fmt.Errorf("connecting to database %s: %w", name, err)
	}
	s.closers = append(s.closers, func() { _ = s.admin.Close(context.WithoutCancel(ctx)) })
	u.User = url.User(pgserver.Owner)
	owner = u.String()
	u.User = url.User(pgserver.App)
	u.RawQuery += "&default_query_exec_mode=" + s.mode
	app = u.String()
	for _, sql := range []string{
		"CREATE EXTENSION pg_stat_statements", "LOAD 'auto_explain'", "ALTER ROLE " + pgserver.App + " SET session_preload_libraries = 'auto_explain'",
		"ALTER SYSTEM SET auto_explain.log_min_duration = -1", "ALTER SYSTEM SET auto_explain.log_analyze = on",
		"ALTER SYSTEM SET auto_explain.log_buffers = on", "ALTER SYSTEM SET auto_explain.log_format = json",
	} {
		if _, err := s.admin.Exec(ctx, sql); err != nil {
			return "", "", fmt.Errorf("preparing the server, which must run with --observe: %w", err)
		}
	}
	conn, err := pgx.Connect(ctx, owner)
	if err != nil {
		return "", "", fmt.Errorf("connecting as the owner: %w", err)
	}
	if err := errors.Join(pgserver.GrantApp(ctx, conn), conn.Close(ctx)); err != nil {
		return "", "", err
	}
	return app, owner, postgres.Migrate(ctx, owner, nil)
}

// serve runs the handler behind the local host, with a broker, an issuer and a receiver of webhooks in this process.
func (s *stack) serve(ctx context.Context, app, owner, redis string) (err error) {
	if s.dir, err = os.MkdirTemp("", "explain-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	s.closers = append(s.closers, func() { _ = os.RemoveAll(s.dir) })
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	if err != nil {
		return err
	}
	s.tokens, s.closers = tokens, append(s.closers, stop)
	bus, err := s.broker(ctx)
	if err != nil {
		return err
	}
	if err := s.receiver(ctx); err != nil {
		return err
	}
	binary := filepath.Join(s.dir, "handler")
	if err := stage.Build(ctx, ".", binary, stage.BuildOptions{}); err != nil {
		return err
	}
	root, err := stage.Stage(stage.Options{Repo: ".", Binary: binary, Out: filepath.Join(s.dir, "app")})
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	messages, err := pump.Open(bus, logger)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = messages.Close(context.WithoutCancel(ctx)) })
	h, err := host.Load(host.Options{
		ScriptRoot: root, Addr: "127.0.0.1:0", StateDir: filepath.Join(s.dir, "timers"), Logger: logger, Pump: messages.Receive,
		Env: append(os.Environ(), "FUNCTIONS_WORKER_RUNTIME=custom", "DATABASE_URL="+app, "MIGRATIONS_DATABASE_URL="+owner, "REDIS_URL="+redis,
			"AUTH_ISSUER="+tokens.URL(), "AUTH_AUDIENCE="+issuer.Audience, "SERVICEBUS_CONNECTION="+bus, "WEBHOOK_ALLOW_LOOPBACK=true",
			"WEBHOOK_SECRET="+rand.Text(), "JWT_SIGNING_KEY="+rand.Text(), "ADMISSION_TARGET=5s", "ADMISSION_WAIT=5s",
			"RATE_LIMIT_CHECKOUT=off", "RATE_LIMIT_BROWSE=off", "RATE_LIMIT_REST=off"),
	})
	if err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	s.closers = append(s.closers, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = h.Stop(ctx) // the data is thrown away
	})
	s.base = "http://" + h.Addr()
	return nil
}

func (s *stack) broker(ctx context.Context) (connection string, err error) {
	broker, err := standin.New(standin.Options{})
	if err != nil {
		return "", err
	}
	s.closers = append(s.closers, func() { _ = broker.Close() })
	if err := broker.LoadConfig(standin.ServiceEntities()); err != nil {
		return "", err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("starting the broker: %w", err)
	}
	go func() { _ = broker.Serve(l) }()                                // a broker that ends is noticed by who uses it
	return standin.ConnectionString(l.Addr().(*net.TCPAddr).Port), nil //nolint:forcetypeassert // it listens on tcp
}

// receiver accepts every webhook.
func (s *stack) receiver(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the receiver: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = server.Serve(l) }()
	s.closers = append(s.closers, func() { _ = server.Close() })
	s.heard = "http://" + l.Addr().String()
	return nil
}
