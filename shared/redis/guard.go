package redis

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// connections is the client's pool. Besides the lane, which sends what orders ask, others may use all but a few of it:
// however many pages are read from a slow Redis, an order does not wait for its connection behind them.
const (
	connections = 32
	others      = 24
)

// ErrBusy is what a command returns, without being sent, when too many are under way.
var ErrBusy = errors.New("redis is asked by too many at once: not asked")

// inLane is the lane's context: no request's, as no one request's end may cut off the others' commands.
var inLane = context.WithValue(context.Background(), laneKey{}, true)

type laneKey struct{}

// guard is the breaker and the bulkhead as a hook, so that every user of the client is under them. While Redis is away one
// command after each pause goes through and finds out; the others fail at once.
type guard struct {
	breaker  *dependency.Breaker
	underWay atomic.Int64 // commands of others than the lane
}

// enter lets a command through. Who has entered leaves with what became of it.
func (g *guard) enter(ctx context.Context) (dependency.Permit, error) {
	lane := ctx.Value(laneKey{}) != nil
	if !lane && g.underWay.Add(1) > others {
		g.underWay.Add(-1)
		return dependency.Permit{}, ErrBusy
	}
	permit, err := g.breaker.Acquire()
	if err != nil {
		if !lane {
			g.underWay.Add(-1)
		}
		return permit, ErrDown
	}
	return permit, nil
}

func (g *guard) leave(ctx context.Context, permit dependency.Permit, outcome dependency.Outcome) {
	if ctx.Value(laneKey{}) == nil {
		g.underWay.Add(-1)
	}
	g.breaker.Settle(permit, outcome)
}

// DialHook implements redis.Hook.
func (*guard) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (g *guard) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if handshake(cmd) {
			return next(ctx, cmd)
		}
		permit, err := g.enter(ctx)
		if err != nil {
			cmd.SetErr(err)
			return err
		}
		outcome := dependency.Undecided // also of a panic in the client
		defer func() { g.leave(ctx, permit, outcome) }()
		err = next(ctx, cmd)
		outcome = judge(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (g *guard) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || handshake(cmds[0]) {
			return next(ctx, cmds)
		}
		permit, err := g.enter(ctx)
		if err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		outcome := dependency.Undecided
		defer func() { g.leave(ctx, permit, outcome) }()
		err = next(ctx, cmds)
		outcome = judge(ctx, err)
		// err is the first command's; a connection that broke between two replies shows at a later one.
		for _, cmd := range cmds {
			if judge(ctx, cmd.Err()) == dependency.Failed {
				outcome = dependency.Failed
				break
			}
		}
		return err
	}
}

// handshake tells what the client says by itself on a new connection, as a part of another command that has the permit.
func handshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "client":
		return true
	}
	return false
}

// judge says what a command's end means. Answers of Redis itself are answers, whatever they say; a caller that left and a
// pool that is full say nothing about Redis.
func judge(ctx context.Context, err error) dependency.Outcome {
	if err == nil {
		return dependency.Answered
	}
	var answer redis.Error
	switch {
	case errors.As(err, &answer):
		return dependency.Answered
	case ctx.Err() != nil, errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrClosed):
		return dependency.Undecided
	}
	return dependency.Failed
}
