package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/infra/local/demo"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/receiver"
	"github.com/company/order-catalog-service/infra/local/redisserver"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/shared/postgres"
)

// stack is what runs, to be stopped in reverse.
type stack struct {
	root  checkout
	ports ports
	given given
	steps *steps
	env   map[string]string // what the handler needs to know of it
	parts []part
	died  chan string // names of servers that ended by themselves
}

type part struct {
	name string
	stop func()
}

func newStack(root checkout, p ports, g given) *stack {
	return &stack{
		root: root, ports: p, given: g, died: make(chan string, 4),
		steps: &steps{out: os.Stdout, now: time.Now},
		env: map[string]string{
			"FUNCTIONS_WORKER_RUNTIME": "custom", "AzureWebJobsDisableHomepage": "true",
			"AUTH_AUDIENCE": issuer.Audience, "LOG_LEVEL": "INFO", "WEBHOOK_ALLOW_LOOPBACK": "true",
		},
	}
}

// add notes a running part. ended, when not nil, is closed should it end by itself.
func (s *stack) add(name string, stop func(), ended <-chan struct{}) {
	stopping := make(chan struct{})
	s.parts = append(s.parts, part{name, func() { close(stopping); stop() }})
	if ended == nil {
		return
	}
	go func() {
		select {
		case <-stopping:
		case <-ended:
			s.died <- name // one entry per part at most: there is room
		}
	}()
}

// stop ends everything, last started first, and says so.
func (s *stack) stop() {
	for _, p := range slices.Backward(s.parts) {
		_ = s.steps.do("stopping", func(func(string)) (string, error) {
			p.stop()
			return p.name, nil
		})
	}
	s.parts = nil
	fmt.Println("Nothing is left running. The data stays in", s.root.local(), "(make reset deletes it).")
}

// environment is what a handler of this stack runs with: the caller's environment and, where that says nothing,
// the stack's.
func (s *stack) environment() []string {
	all := os.Environ()
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		if os.Getenv(name) == "" {
			all = append(all, name+"="+s.env[name])
		}
	}
	return all
}

// build compiles the handler for this machine and stages it in out.
func (s *stack) build(ctx context.Context, out string, localSettings bool) error {
	return s.steps.do("handler", func(func(string)) (string, error) {
		binary := s.root.local("bin", "handler")
		if err := stage.Build(ctx, string(s.root), binary, stage.BuildOptions{Version: "local"}); err != nil {
			return "", err
		}
		_, err := stage.Stage(stage.Options{Repo: string(s.root), Binary: binary, Out: out, LocalSettings: localSettings})
		return "built", err
	})
}

// startServices starts what is not given, and brings the database up to date.
func (s *stack) startServices(ctx context.Context) error {
	for variable, name := range map[string]string{"JWT_SIGNING_KEY": "signing-key", "WEBHOOK_SECRET": "webhook-secret"} {
		secret, err := s.root.secret(name)
		if err != nil {
			return err
		}
		s.env[variable] = secret
	}
	for _, step := range []struct {
		name string
		work func(context.Context, func(string)) (string, error)
	}{
		{"PostgreSQL", s.startPostgres},
		{"Redis", s.startRedis},
		{"Service Bus", s.startBus},
		{"token issuer", s.startIssuer},
		{"webhook receiver", s.startReceiver},
		{"schema", s.migrate},
		{"catalog", s.seed},
	} {
		if err := s.steps.do(step.name, func(say func(string)) (string, error) { return step.work(ctx, say) }); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (s *stack) startPostgres(ctx context.Context, say func(string)) (string, error) {
	if s.given.database != "" {
		s.env["DATABASE_URL"], s.env["MIGRATIONS_DATABASE_URL"] = s.given.database, s.given.migrations
		return "the one of DATABASE_URL", nil
	}
	pg, err := pgserver.Start(ctx, pgserver.Options{
		Dir: s.root.local("postgres"), Port: s.ports.PGPort, Settings: pgserver.DurableSettings, Statistics: true, Log: say,
	})
	if err != nil {
		return "", err
	}
	s.add("PostgreSQL", pg.Stop, pg.Done())
	s.env["DATABASE_URL"] = pg.URL(pgserver.App, pgserver.Database)
	s.env["MIGRATIONS_DATABASE_URL"] = pg.URL(pgserver.Owner, pgserver.Database)
	return s.env["DATABASE_URL"], nil
}

func (s *stack) startRedis(ctx context.Context, _ func(string)) (string, error) {
	if s.given.redis != "" {
		s.env["REDIS_URL"] = s.given.redis
		return "the one of REDIS_URL", nil
	}
	server, err := redisserver.Start(ctx, s.root.local("redis"), s.ports.RedisPort)
	if err != nil {
		return "", err
	}
	s.add(server.Kind, server.Stop, server.Done())
	s.env["REDIS_URL"] = server.URL()
	return s.env["REDIS_URL"] + " (" + server.Kind + ")", nil
}

func (s *stack) startIssuer(context.Context, func(string)) (string, error) {
	if s.given.issuer != "" {
		s.env["AUTH_ISSUER"] = s.given.issuer
		return "the one of AUTH_ISSUER", nil
	}
	audience, _, _ := strings.Cut(os.Getenv("AUTH_AUDIENCE"), ",") // any of those that the handler accepts
	i, stop, err := issuer.Serve("127.0.0.1:"+strconv.Itoa(s.ports.IssuerPort),
		issuer.Options{KeyFile: s.root.local("issuer.pem"), Audience: audience})
	if err != nil {
		return "", err
	}
	s.add("token issuer", stop, nil)
	s.env["AUTH_ISSUER"] = i.URL()
	s.env["GRAPHQL_IDE_TOKEN_URL"] = i.URL() + "/token"
	return i.URL(), nil
}

// startReceiver starts what webhooks can be sent to.
func (s *stack) startReceiver(context.Context, func(string)) (string, error) {
	url, stop, err := receiver.New().Serve("127.0.0.1:" + strconv.Itoa(s.ports.ReceiverPort))
	if err != nil {
		return "", err
	}
	s.add("webhook receiver", stop, nil)
	return url, nil
}

func (s *stack) migrate(ctx context.Context, say func(string)) (string, error) {
	applied := 0
	err := postgres.Migrate(ctx, s.env["MIGRATIONS_DATABASE_URL"], func(step string) {
		applied++
		say(step)
	})
	if applied == 0 {
		return "up to date", err
	}
	return strconv.Itoa(applied) + " migrations applied", err
}

// seed fills an empty database with the demo catalog.
func (s *stack) seed(ctx context.Context, _ func(string)) (string, error) {
	empty, err := isEmpty(ctx, s.env["DATABASE_URL"])
	if err != nil || !empty {
		return "as it was", err
	}
	rows, err := demo.Products()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d demo products", len(rows)), importRows(ctx, s.env["DATABASE_URL"], rows, func(int, int) {})
}

func isEmpty(ctx context.Context, address string) (bool, error) {
	pools, err := postgres.Open(ctx, address, postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: 10 * time.Second})
	if err != nil {
		return false, err
	}
	defer pools.Close()
	return catalog.Empty(ctx, pools.Reads)
}

// begin takes the checkout for one stack and checks that nothing is in its way.
func begin(ctx context.Context, root checkout, p ports) (*stack, *stackLock, error) {
	g, err := givenBy(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	lock, err := root.lock()
	if err != nil {
		return nil, nil, err
	}
	patience := time.Duration(0)
	if lock.unclean { // its servers get their signal from the kernel, and PostgreSQL writes a checkpoint
		patience = 15 * time.Second
	}
	if err := check(ctx, p, g, patience); err != nil {
		return nil, nil, errors.Join(err, lock.release())
	}
	return newStack(root, p, g), lock, nil
}

// scriptRoot is where a local run is staged: not dist/, which is what is deployed.
func (c checkout) scriptRoot() string { return filepath.Join(c.local(), "app") }
