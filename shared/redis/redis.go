// Package redis opens the connection to Redis, which makes the service fast and must never make it wrong.
//
// Everything kept there can be lost at any moment: it is read as a hint or as a copy of what PostgreSQL holds.
// So the client is set up to fail fast: short timeouts, no retries, and after a failure one second in which
// every command fails at once, so that requests don't each wait for a server that is gone.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrDown is what commands return, without being sent, for a second after Redis failed.
var ErrDown = errors.New("redis is down: not asked")

const (
	coolDown  = time.Second
	loginTime = 2 * time.Second // to find out what to log in with
)

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
	options.DialTimeout = 250 * time.Millisecond
	options.ReadTimeout = 150 * time.Millisecond
	options.WriteTimeout = 150 * time.Millisecond
	options.PoolTimeout = 150 * time.Millisecond
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.PoolSize = 32
	options.MinIdleConns = 1
	options.ContextTimeoutEnabled = true
	if login != nil {
		options.StreamingCredentialsProvider = login
	}
	silence()
	client := redis.NewClient(options)
	client.AddHook(tracer{})
	f := &fuse{}
	client.AddHook(f)
	fuses.Store(client, f)
	return client, nil
}

// fuses are the clients' (*redis.Client to *fuse), for who shows them.
var fuses sync.Map

// Ping says whether Redis answers now. It asks even during the cool-down's second only if that is over.
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

// fuse is the cool-down, as a hook so that every user of the client is under it.
type fuse struct {
	downUntil atomic.Int64
}

// DialHook implements redis.Hook.
func (f *fuse) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return next(ctx, network, addr)
	}
}

// ProcessHook implements redis.Hook.
func (f *fuse) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f.blown() {
			cmd.SetErr(ErrDown)
			return ErrDown
		}
		err := next(ctx, cmd)
		f.note(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (f *fuse) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if f.blown() {
			for _, cmd := range cmds {
				cmd.SetErr(ErrDown)
			}
			return ErrDown
		}
		err := next(ctx, cmds)
		// err is the first command's; a connection that broke between two replies shows at a later one.
		for _, cmd := range cmds {
			f.note(ctx, cmd.Err())
		}
		return err
	}
}

func (f *fuse) blown() bool { return time.Now().UnixNano() < f.downUntil.Load() }

// note blows the fuse when err is the connection's; answers of Redis itself and callers that left don't count.
func (f *fuse) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	var answer redis.Error
	if errors.As(err, &answer) {
		return
	}
	f.downUntil.Store(time.Now().Add(coolDown).UnixNano())
}
