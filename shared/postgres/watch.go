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
	// look is how often statements are looked at that wait for a server which says nothing: their callers would tell only at
	// the end of their patience.
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
	lines     *lines
	observer  *observer
	probe     func(context.Context) error
	suspicion chan struct{}

	busy    bool   // whether somebody waited at the latest look
	answers uint64 // and how many had been given until then

	stop func()
	done chan struct{}
}

// begin starts the watch. config is one of the pools'.
func begin(pools *Pools, all *lines, o *observer, config *pgx.ConnConfig, before func(context.Context, *pgx.ConnConfig) error) (*watch, error) {
	breaker := dependency.NewBreaker(dependency.PostgreSQL)
	unwatch, err := breaker.Watch()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		breaker: breaker, pools: pools, lines: all, observer: o, probe: prober(config, before), suspicion: make(chan struct{}, 1), done: make(chan struct{}),
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

// stuck tells whether somebody waited at the last look and waits now, and nobody got an answer in between.
func (w *watch) stuck() bool {
	busy, answers := w.observer.underWay.Load() > 0, w.observer.answers.Load()
	stuck := busy && w.busy && answers == w.answers
	w.busy, w.answers = busy, answers
	return stuck
}

// ascertain probes until there is an answer.
func (w *watch) ascertain(ctx context.Context) {
	for ctx.Err() == nil {
		if wait := w.breaker.Wait(); wait > 0 {
			pause(ctx, wait)
			continue
		}
		before := w.breaker.State()
		outcome := w.try(ctx)
		closed := w.breaker.State() == dependency.Closed
		switch {
		case closed && outcome == dependency.Failed:
			pause(ctx, between)
		case closed:
			return
		case before == dependency.Closed:
			w.hangUp()
		case outcome == dependency.Undecided:
			pause(ctx, dependency.PostgreSQL.Pause)
		}
	}
}

// try makes one probe.
func (w *watch) try(ctx context.Context) (outcome dependency.Outcome) {
	permit, err := w.breaker.Acquire()
	if err != nil {
		return dependency.Undecided
	}
	defer func() { w.breaker.Settle(permit, outcome) }() // also after a panic in the driver
	answers := w.observer.answers.Load()
	err = w.probe(ctx)
	switch {
	case err == nil || w.observer.answers.Load() != answers:
		if w.breaker.State() != dependency.Closed {
			w.hangUp() // once more: connections that were begun meanwhile, if only to cancel something, may hang for ever
		}
		return dependency.Answered
	case ctx.Err() != nil || errors.Is(err, errNoLogin):
		return dependency.Undecided
	}
	return dependency.Failed
}

// hangUp ends all connections to a server that does not answer. Who waits on one would wait in vain, for as long as its
// caller's time, and keep a place in the pool that long after the server is back; and those to a former primary are of no
// use. What became of a statement that was under way is not known then, as with any connection that breaks: its caller
// hears ErrUnavailable, and never that nothing was done.
func (w *watch) hangUp() {
	for _, p := range w.pools.all() {
		p.pool.Reset()
	}
	w.lines.cut()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
