package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/demo"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/redisserver"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/shared/postgres"
)

// ports are the stack's addresses on 127.0.0.1.
type ports struct {
	HostPort   int `env:"HOST_PORT" default:"7071" help:"HTTP through the host."`
	IssuerPort int `env:"ISSUER_PORT" default:"7072" help:"Token issuer."`
	PGPort     int `env:"PG_PORT" name:"pg-port" default:"7432" help:"PostgreSQL."`
	RedisPort  int `env:"REDIS_PORT" default:"7379" help:"Redis."`
}

// runCommand is `make run`.
type runCommand struct {
	ports
	LogLevel string `env:"LOG_LEVEL" default:"INFO" help:"The handler's log level."`
}

// stack is what has been started so far, to be stopped in reverse.
type stack struct {
	root  checkout
	ports ports
	stops []func()
	step  time.Time
}

// Run starts what the environment does not name (DATABASE_URL, REDIS_URL, AUTH_ISSUER), migrates, seeds an empty
// database, and runs the handler behind the host until Ctrl-C.
func (c *runCommand) Run(root checkout) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	lock, err := root.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if err := c.checkPorts(); err != nil {
		return err
	}
	s := &stack{root: root, ports: c.ports, step: time.Now()}
	defer s.stop()
	h, err := s.start(ctx, c.LogLevel)
	if ctx.Err() != nil {
		return nil // Ctrl-C while starting
	}
	if err != nil {
		return err
	}
	s.welcome()
	ended := make(chan error, 1)
	go func() { ended <- h.Wait() }()
	select {
	case <-ctx.Done():
		fmt.Println("\nstopping")
		return nil
	case err := <-ended:
		return errors.Join(errors.New("the host ended by itself"), err)
	}
}

// checkPorts reports every port that is in use before anything is started.
func (c *runCommand) checkPorts() error {
	wanted := []struct {
		port     int
		variable string
		given    string
	}{
		{c.HostPort, "HOST_PORT", ""}, {c.IssuerPort, "ISSUER_PORT", os.Getenv("AUTH_ISSUER")},
		{c.PGPort, "PG_PORT", os.Getenv("DATABASE_URL")}, {c.RedisPort, "REDIS_PORT", os.Getenv("REDIS_URL")},
	}
	var busy []error
	for _, w := range wanted {
		if w.given != "" {
			continue
		}
		err := child.PortFree(w.port, w.variable)
		for range 40 { // what a killed stack leaves is just going
			if err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
			err = child.PortFree(w.port, w.variable)
		}
		if err != nil {
			busy = append(busy, err)
		}
	}
	return errors.Join(busy...)
}

// done prints a step with the time it took.
func (s *stack) done(text string) {
	fmt.Printf("  %-44s %6.2f s\n", text, time.Since(s.step).Seconds())
	s.step = time.Now()
}

func (s *stack) stop() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
}

func (s *stack) start(ctx context.Context, level string) (*host.Host, error) {
	fmt.Println("Starting the local stack")
	say := func(text string) { fmt.Println("  " + text) }
	binary := s.root.local("bin", "handler")
	if err := stage.Build(ctx, string(s.root), binary, stage.BuildOptions{Version: "local"}); err != nil {
		return nil, err
	}
	s.done("handler built")
	script, err := stage.Stage(stage.Options{Repo: string(s.root), Binary: binary, Out: s.root.local("app")})
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"FUNCTIONS_WORKER_RUNTIME": "custom", "AUTH_AUDIENCE": issuer.Audience, "LOG_LEVEL": level,
		"AzureWebJobsDisableHomepage": "true",
	}
	if env["JWT_SIGNING_KEY"], err = s.root.secret("signing-key"); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context, map[string]string, func(string)) error{s.postgres, s.redis, s.issuer, s.schema} {
		if err := part(ctx, env, say); err != nil {
			return nil, err
		}
	}
	return s.host(ctx, script, env)
}

func (s *stack) postgres(ctx context.Context, env map[string]string, say func(string)) error {
	if url := os.Getenv("DATABASE_URL"); url != "" {
		env["DATABASE_URL"], env["MIGRATIONS_DATABASE_URL"] = url, url
		if owner := os.Getenv("MIGRATIONS_DATABASE_URL"); owner != "" {
			env["MIGRATIONS_DATABASE_URL"] = owner
		}
		return nil
	}
	pg, err := pgserver.Start(ctx, pgserver.Options{
		Dir: s.root.local("postgres"), Port: s.ports.PGPort, Settings: pgserver.DurableSettings, Statistics: true, Log: say,
	})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, pg.Stop)
	env["DATABASE_URL"] = pg.URL(pgserver.App, pgserver.Database)
	env["MIGRATIONS_DATABASE_URL"] = pg.URL(pgserver.Owner, pgserver.Database)
	s.done("PostgreSQL on port " + strconv.Itoa(s.ports.PGPort))
	return nil
}

func (s *stack) redis(ctx context.Context, env map[string]string, _ func(string)) error {
	if url := os.Getenv("REDIS_URL"); url != "" {
		env["REDIS_URL"] = url
		return nil
	}
	server, err := redisserver.Start(ctx, s.root.local("redis"), s.ports.RedisPort)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, server.Stop)
	env["REDIS_URL"] = server.URL()
	s.done(server.Kind + " on port " + strconv.Itoa(s.ports.RedisPort))
	return nil
}

func (s *stack) issuer(_ context.Context, env map[string]string, _ func(string)) error {
	if url := os.Getenv("AUTH_ISSUER"); url != "" {
		env["AUTH_ISSUER"] = url
		return nil
	}
	i, stop, err := issuer.Serve("127.0.0.1:"+strconv.Itoa(s.ports.IssuerPort), s.root.local("issuer.pem"))
	if err != nil {
		return err
	}
	s.stops = append(s.stops, stop)
	env["AUTH_ISSUER"] = i.URL()
	s.done("token issuer on port " + strconv.Itoa(s.ports.IssuerPort))
	return nil
}

// schema migrates, and fills an empty database with the demo catalog.
func (s *stack) schema(ctx context.Context, env map[string]string, _ func(string)) error {
	if err := postgres.Migrate(ctx, env["MIGRATIONS_DATABASE_URL"], nil); err != nil {
		return err
	}
	s.done("schema is up to date")
	pools, err := postgres.Open(ctx, env["DATABASE_URL"], postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: 10 * time.Second})
	if err != nil {
		return err
	}
	defer pools.Close()
	empty, err := catalog.Empty(ctx, pools.Reads)
	if err != nil || !empty {
		return err
	}
	rows, err := demo.Products()
	if err != nil {
		return err
	}
	if err := catalog.Import(ctx, pools.Orders, rows, func(int, int) {}); err != nil {
		return err
	}
	s.done(fmt.Sprintf("demo catalog of %d products", len(rows)))
	return nil
}

func (s *stack) host(ctx context.Context, script string, env map[string]string) (*host.Host, error) {
	all := os.Environ()
	for name, value := range env {
		all = append(all, name+"="+value)
	}
	h, err := host.Load(host.Options{
		ScriptRoot: script, Addr: "127.0.0.1:" + strconv.Itoa(s.ports.HostPort), Env: all,
		StateDir: s.root.local("timers"),
		Logger:   slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		return nil, err
	}
	if err := h.Start(ctx); err != nil {
		return nil, err
	}
	s.stops = append(s.stops, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 35*time.Second)
		defer cancel()
		_ = h.Stop(ctx)
	})
	s.done("host and handler on port " + strconv.Itoa(s.ports.HostPort))
	return h, nil
}

// welcome prints what to paste first.
func (s *stack) welcome() {
	api := fmt.Sprintf("http://127.0.0.1:%d", s.ports.HostPort)
	fmt.Printf(`
Ready. API reference: %[1]s/docs/ · probes: %[1]s/health/ready · Ctrl-C stops.
Paste this into another shell, twice: the second answer is a replay and takes no stock.

%[2]s
curl -i %[1]s/api/v1/products/%[3]s -H "Authorization: Bearer $TOKEN"

`, api, firstOrder(api, s.ports.IssuerPort), demo.FirstID)
}

// firstOrder is a token and an order, for a shell without jq.
func firstOrder(api string, issuerPort int) string {
	return fmt.Sprintf(`TOKEN=$(curl -s 127.0.0.1:%[2]d/token -d grant_type=client_credentials -d sub=customer-1 \
  -d scope='catalog:read order:read order:write order:cancel' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -i %[1]s/api/v1/orders -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: my-first-order' \
  -H 'Content-Type: application/json' -d '{"customerId": "customer-1",
  "shippingAddress": {"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
  "lines": [{"productId": "%[3]s", "quantity": 2}]}'`, api, issuerPort, demo.FirstID)
}
