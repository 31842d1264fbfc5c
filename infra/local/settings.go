package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/shared/redis"
)

// ports are the stack's addresses on 127.0.0.1.
type ports struct {
	HostPort   int `env:"HOST_PORT" default:"7071" help:"HTTP through the host."`
	IssuerPort int `env:"ISSUER_PORT" default:"7072" help:"Token issuer."`
	PGPort     int `env:"PG_PORT" name:"pg-port" default:"7432" help:"PostgreSQL."`
	RedisPort  int `env:"REDIS_PORT" default:"7379" help:"Redis."`
	BusPort    int `env:"SERVICEBUS_PORT" name:"servicebus-port" default:"7672" help:"Service Bus."`
	// A receiver of webhooks to try them with.
	ReceiverPort int `env:"RECEIVER_PORT" default:"7073" help:"Sample webhook receiver."`
}

// Validate is called by the parser.
func (p ports) Validate() error {
	var errs []error
	seen := map[int]string{}
	for _, w := range p.all(given{}) {
		if w.port < 1 || w.port > 65535 {
			errs = append(errs, fmt.Errorf("%s=%d is not a port (1 to 65535)", w.variable, w.port))
		}
		if other, ok := seen[w.port]; ok {
			errs = append(errs, fmt.Errorf("%s and %s are both %d: each needs a port of its own", other, w.variable, w.port))
		}
		seen[w.port] = w.variable
	}
	return errors.Join(errs...)
}

type portOf struct {
	port     int
	variable string
}

// all are the ports a stack listens on; who is given needs none.
func (p ports) all(g given) []portOf {
	wanted := []portOf{{p.HostPort, "HOST_PORT"}, {p.ReceiverPort, "RECEIVER_PORT"}}
	if g.issuer == "" {
		wanted = append(wanted, portOf{p.IssuerPort, "ISSUER_PORT"})
	}
	if g.database == "" {
		wanted = append(wanted, portOf{p.PGPort, "PG_PORT"})
	}
	if g.redis == "" {
		wanted = append(wanted, portOf{p.RedisPort, "REDIS_PORT"})
	}
	if g.bus == "" {
		wanted = append(wanted, portOf{p.BusPort, "SERVICEBUS_PORT"})
	}
	return wanted
}

// given is what the environment names and the stack therefore doesn't start.
type given struct {
	database, migrations, redis, issuer, bus string
}

func givenBy(getenv func(string) string) (given, error) {
	g := given{
		database: getenv("DATABASE_URL"), migrations: getenv("MIGRATIONS_DATABASE_URL"),
		redis: getenv("REDIS_URL"), issuer: strings.TrimSuffix(getenv("AUTH_ISSUER"), "/"),
		bus: getenv("SERVICEBUS_CONNECTION"),
	}
	if g.database == "" && g.migrations != "" {
		return g, errors.New("MIGRATIONS_DATABASE_URL is set and DATABASE_URL is not: set both, or neither for a PostgreSQL of the stack's own")
	}
	if g.migrations == "" {
		g.migrations = g.database
	}
	return g, nil
}

// check finds everything that is in the way of a start, before anything is started. patience is how long a port
// may still be held: by the servers of a stack that was killed a moment ago.
func check(ctx context.Context, p ports, g given, patience time.Duration) error {
	var errs []error
	deadline := time.Now().Add(patience)
	for _, w := range p.all(g) {
		errs = append(errs, waitForPort(ctx, w, deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	errs = append(errs, reachDatabase(ctx, "DATABASE_URL", g.database))
	if g.migrations != g.database {
		errs = append(errs, reachDatabase(ctx, "MIGRATIONS_DATABASE_URL", g.migrations))
	}
	return errors.Join(append(errs, reachRedis(ctx, g.redis), reachIssuer(ctx, g.issuer))...)
}

func waitForPort(ctx context.Context, w portOf, deadline time.Time) error {
	for {
		err := child.PortFree(w.port, w.variable)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The libraries' errors name host, user and database but never the password; a URL that can't be parsed might be
// quoted whole, so those errors are not shown.

func reachDatabase(ctx context.Context, variable, url string) error {
	if url == "" {
		return nil
	}
	if _, err := pgx.ParseConfig(url); err != nil {
		return fmt.Errorf("%s is not a PostgreSQL connection string (postgres://user:password@host:port/database)", variable)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("%s is set, but the server can't be used: %w", variable, err)
	}
	return conn.Close(ctx)
}

func reachRedis(ctx context.Context, url string) error {
	if url == "" {
		return nil
	}
	client, err := redis.Open(url)
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	defer func() { _ = client.Close() }()
	if err := redis.Ping(ctx, client); err != nil {
		return fmt.Errorf("REDIS_URL is set, but the server can't be used: %w", err)
	}
	return nil
}

func reachIssuer(ctx context.Context, url string) error {
	if url == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/.well-known/openid-configuration", nil)
	if err != nil {
		return fmt.Errorf("AUTH_ISSUER is not a URL: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("AUTH_ISSUER is set, but the issuer can't be used: %w", err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("AUTH_ISSUER is set, but %s answers %s", req.URL, res.Status), err)
	}
	return nil
}
