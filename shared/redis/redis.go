// Package redis opens the connection to Redis, which makes the service fast and must never make it wrong.
//
// Everything kept there can be lost at any moment: it is read as a hint or as a copy of what PostgreSQL holds.
// So the client is set up to fail fast: short timeouts, no retries, and after a failure a breaker (guard.go) under which
// commands fail at once, so that requests don't each wait for a server that is gone. The numbers are dependency.Redis.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// ErrDown is what commands return, without being sent, after Redis failed and until one of them has found it back.
var ErrDown = errors.New("redis is down: not asked")

const loginTime = 2 * time.Second // to find out what to log in with

// Open makes a client for url (redis:// or rediss://). It does not connect, so it fails only for a URL that
// cannot be read.
func Open(url string) (*redis.Client, error) { return OpenAs(url, nil) }

// OpenAs is Open with a login that may change; nil is the URL's own.
func OpenAs(url string, login *Login) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		// The parser's message may quote the URL, password and all.
		return nil, errors.New("not a Redis URL (redis://user:password@host:port/0, or rediss:// with TLS)")
	}
	options.DialTimeout = dependency.Redis.Connect
	options.ReadTimeout = dependency.Redis.Call
	options.WriteTimeout = dependency.Redis.Call
	options.PoolTimeout = dependency.Redis.Call
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.PoolSize = connections
	options.MinIdleConns = 1
	options.ContextTimeoutEnabled = true
	if login != nil {
		options.StreamingCredentialsProvider = login
	}
	silence()
	client := redis.NewClient(options)
	client.AddHook(tracer{})
	g := &guard{breaker: dependency.NewBreaker(dependency.Redis)}
	client.AddHook(g)
	guards.Store(client, g)
	return client, nil
}

// guards are the clients' (*redis.Client to *guard), for the lane on each.
var guards sync.Map

// Ping says whether Redis answers now. While it is not asked it says so too.
func Ping(ctx context.Context, client *redis.Client) error {
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// quiet takes the library's own lines, which it would print to standard error at every failed dial: who uses the
// client gets the same as an error.
type quiet struct{}

// silence is done once: the library keeps its logger in a package variable.
var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

// Printf implements the library's logger.
func (quiet) Printf(ctx context.Context, format string, args ...any) {
	slog.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
}
