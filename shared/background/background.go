// Package background starts goroutines that can't take the process down.
//
// A panic that nobody recovers ends a Go process, with every request in flight. Around requests net/http and the edge do
// recover; on a goroutine of its own nobody does, and three such ends within a short time make the Functions host stop as a
// whole. So every goroutine of the service is started here: a test of the layout refuses the others, and the ways of the
// standard library that hide one (WaitGroup.Go, time.AfterFunc, singleflight's DoChan).
package background

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Go runs f on a goroutine. A panic ends f alone, and is logged under the name.
func Go(name string, f func()) {
	go func() {
		defer contain(name, nil)
		f()
	}()
}

// Keep is Go for what is to run until ctx ends: after a panic it begins again, a second later.
func Keep(ctx context.Context, name string, f func(context.Context)) {
	Go(name, func() { Again(ctx, name, f) })
}

// Again runs f, again after each panic, until f returns or ctx ends.
func Again(ctx context.Context, name string, f func(context.Context)) {
	for ctx.Err() == nil {
		returned := false
		func() {
			defer contain(name, nil)
			f(ctx)
			returned = true
		}()
		if returned {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // what panics at once shall not fill the log
		}
	}
}

// After is Go, d later, unless the timer is stopped before.
func After(d time.Duration, name string, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		defer contain(name, nil)
		f()
	})
}

// Catch makes f a function whose panic is its error, for libraries that call it on a goroutine of theirs.
func Catch[T any](name string, f func() (T, error)) func() (T, error) {
	return func() (v T, err error) {
		defer contain(name, &err)
		return f()
	}
}

// Group is work that is waited for. The zero value is ready.
type Group struct {
	all  sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// Go runs f on a goroutine. A panic is its error.
func (g *Group) Go(name string, f func() error) {
	g.mu.Lock()
	at := len(g.errs)
	g.errs = append(g.errs, nil)
	g.mu.Unlock()
	g.all.Go(func() {
		var err error
		func() {
			defer contain(name, &err)
			err = f()
		}()
		g.mu.Lock()
		g.errs[at] = err
		g.mu.Unlock()
	})
}

// Wait waits for all of them and returns their errors, in the order in which they were started, nil for what went well.
func (g *Group) Wait() []error {
	g.all.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.errs
}

// contain is what every goroutine ends with.
func contain(name string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	slog.ErrorContext(context.Background(), "panic in the background", "name", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if err != nil {
		*err = fmt.Errorf("%s: panic: %v", name, p)
	}
}
