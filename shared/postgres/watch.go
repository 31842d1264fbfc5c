package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

const (
	// look is how often the pools are looked at for callers who wait for a server that says nothing: they would tell only
	// at the end of their patience.
	look = 500 * time.Millisecond
	// calm is the pause after a verdict. Under load many pools are full, and suspicions must not become connections.
	calm = 500 * time.Millisecond
	// between is the pause between two failed probes before the breaker opens.
	between = 50 * time.Millisecond
)

// watch finds out when the server does not answer, and when it does again, and keeps callers from it meanwhile.
//
// A caller's failure proves nothing: its pool may be full because the shop is, its time may have been short, it may have
// left. So callers only raise a suspicion, and a probe decides: a connection of its own and an empty statement on it, in a
// short time. The failures of probes open the breaker; any answer closes it, be it to somebody else. Only the probe is let
// through an open breaker: no customer has to wait to find out.
type watch struct {
	breaker   *dependency.Breaker
	pools     *Pools
	probe     func(context.Context) error
	suspicion chan struct{}

	seen [customers]uint64 // answers, at the latest look
	busy [customers]bool   // whether somebody waited then

	stop func()
	done chan struct{}
}

// customers are the pools that are looked at: statements there are short. The drain holds its connections while the broker
// takes its time, and background work may be long.
const customers = 2

// begin starts the watch. config is one of the pools'.
func begin(pools *Pools, config *pgx.ConnConfig, before func(context.Context, *pgx.ConnConfig) error) (*watch, error) {
	breaker := dependency.NewBreaker(dependency.PostgreSQL)
	unwatch, err := breaker.Watch()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		breaker: breaker, pools: pools, probe: prober(config, before), suspicion: make(chan struct{}, 1), done: make(chan struct{}),
		stop: func() { cancel(); unwatch() },
	}
	background.Go("watch of the database", func() {
		defer close(w.done)
		background.Again(ctx, "watch of the database", w.run)
	})
	return w, nil
}

// end stops the watch and waits for it.
func (w *watch) end() {
	w.stop()
	<-w.done
}

// errNoLogin says that a probe was not made, for want of a password.
var errNoLogin = errors.New("nothing to log in with")

// prober makes probes. With several servers in the address each of them has its time, and shares it among the ways that
// it is tried in: with TLS and without, where the address leaves that open.
func prober(from *pgx.ConnConfig, before func(context.Context, *pgx.ConnConfig) error) func(context.Context) error {
	return func(ctx context.Context) error {
		config := from.Copy()
		config.Tracer = nil // it is nobody's statement
		config.RuntimeParams["application_name"] = "order-catalog-probe"
		if before != nil {
			if err := before(ctx, config); err != nil {
				return errors.Join(errNoLogin, err)
			}
		}
		servers := map[string]struct{}{address(config.Host, config.Port): {}}
		for _, other := range config.Fallbacks {
			servers[address(other.Host, other.Port)] = struct{}{}
		}
		patience := dependency.PostgreSQL.Call * time.Duration(len(servers))
		config.ConnectTimeout = patience / time.Duration(1+len(config.Fallbacks))
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return silence(err)
		}
		defer func() {
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), between) // it may not listen
			defer cancel()
			_ = conn.Close(leave)
		}()
		return silence(conn.Ping(ctx)) // a pooler lets in whom it likes, the server behind it has to say something
	}
}

func address(host string, port uint16) string { return host + ":" + strconv.Itoa(int(port)) }

// silence keeps err only when it means that the server can't be worked with. Whatever else it says, it is there.
func silence(err error) error {
	if code := Code(err); code != "" && !leaving(code) {
		return nil
	}
	return err
}

// leaving tells whether the server is on its way out or in: shutdown, crash, start.
func leaving(code string) bool { return strings.HasPrefix(code, "57P0") }

// lost tells whether err leaves open that there is a server.
func lost(err error) bool {
	if code := Code(err); code != "" {
		return leaving(code)
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isConnectionLoss(err)
}

// suspect has the server probed. It never waits.
func (w *watch) suspect() {
	select {
	case w.suspicion <- struct{}{}:
	default:
	}
}

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.suspicion:
		case <-tick.C:
			if !w.stuck() {
				continue
			}
		}
		w.ascertain(ctx)
		pause(ctx, calm)
	}
}

// stuck tells whether callers waited at the last look and wait now, and nobody got an answer in between.
func (w *watch) stuck() (stuck bool) {
	for i, p := range [customers]*Pool{w.pools.Orders, w.pools.Reads} {
		if p == nil {
			continue
		}
		stat, answers := p.pool.Stat(), p.answers.Load()
		busy := stat.AcquiredConns()+stat.ConstructingConns() > 0
		stuck = stuck || busy && w.busy[i] && answers == w.seen[i]
		w.busy[i], w.seen[i] = busy, answers
	}
	return stuck
}

// answers are those of all pools so far.
func (w *watch) answers() (n uint64) {
	for _, p := range w.pools.all() {
		n += p.answers.Load()
	}
	return n
}

// ascertain probes until there is an answer.
func (w *watch) ascertain(ctx context.Context) {
	for ctx.Err() == nil {
		permit, err := w.breaker.Acquire()
		if err != nil {
			pause(ctx, max(w.breaker.Wait(), time.Millisecond))
			continue
		}
		before := w.answers()
		err = w.probe(ctx)
		switch {
		case err == nil || w.answers() != before:
			w.breaker.Settle(permit, dependency.Answered)
			return
		case ctx.Err() != nil || errors.Is(err, errNoLogin):
			w.breaker.Settle(permit, dependency.Undecided)
			if w.breaker.State() == dependency.Closed {
				return
			}
			pause(ctx, dependency.PostgreSQL.Pause)
			continue
		}
		was := w.breaker.State()
		w.breaker.Settle(permit, dependency.Failed)
		switch {
		case w.breaker.State() == dependency.Closed:
			pause(ctx, between)
		case was == dependency.Closed:
			w.hangUp()
		}
	}
}

// hangUp gives up the connections to a server that does not answer: those of a black hole would each cost a caller its
// wait after the server is back, those to a former primary are of no use. One that is at work is closed when it comes
// back, and what it did is for its user to find out.
func (w *watch) hangUp() {
	for _, p := range w.pools.all() {
		p.pool.Reset()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
