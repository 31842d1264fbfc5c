package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// handler keeps the handler's process running by the real host's rules:
//
//	starting --answers GET /--> ready --ends--> code 0:    gone for good, every invocation fails
//	   |                                        code 200:  starting again, not counted
//	   | initializationTimeout: killed, counted           functionTimeout: killed, starting again, not counted
//	   +----------------------------------------other:     counted; starting again, the third time the host ends
type handler struct {
	job     *job
	port    int
	crashes crashes
	ended   chan struct{} // closed when run has returned

	ready   atomic.Pointer[process] // the process that takes invocations, or nil
	mu      sync.Mutex
	process *process      // the newest, ready or not
	gone    error         // set when there will be no other
	changed chan struct{} // closed and renewed at every change
}

func newHandler(j *job, port int) *handler {
	return &handler{
		job: j, port: port, ended: make(chan struct{}), changed: make(chan struct{}),
		crashes: crashes{window: j.host.options.Limits.CrashWindow},
	}
}

// run starts processes until ctx ends or the rules say stop; the error says why the host must end.
func (h *handler) run(ctx context.Context) error {
	defer close(h.ended)
	for ctx.Err() == nil {
		err := h.runOne(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errFree):
			h.log(slog.LevelWarn, "the handler is started again", err)
		case errors.Is(err, ErrHandlerGone):
			h.log(slog.LevelError, "every invocation fails from now on", err)
			h.set(nil, nil, err)
			<-ctx.Done()
		case h.crashes.add(time.Now()) >= maxCrashes:
			err = fmt.Errorf("%w; the last time: %w", ErrCrashed, err)
			h.log(slog.LevelError, "Exceeded http worker restart retry count. Shutting down Functions Host", err)
			h.set(nil, nil, err)
			return err
		default:
			h.log(slog.LevelError, "the handler is started again", err)
		}
	}
	h.set(nil, nil, errorOr(context.Cause(ctx), errStopped))
	return nil
}

// errFree marks an end that doesn't count as a crash.
var errFree = errors.New("not counted as a crash")

// runOne runs one process from its start to its end and says how it ended.
func (h *handler) runOne(ctx context.Context) error {
	p, err := startProcess(ctx, h)
	if err != nil {
		return err
	}
	defer p.transport.CloseIdleConnections()
	defer p.proxied.CloseIdleConnections()
	h.set(p, nil, nil)
	if h.awaitAnswer(ctx, p) {
		h.set(p, p, nil)
	}
	<-p.exited
	h.set(p, nil, nil)
	switch why := p.killedFor.Load(); {
	case why != nil:
		return *why
	case p.code == 0:
		return ErrHandlerGone
	case p.code == 200:
		return fmt.Errorf("%w: it ended with code 200", errFree)
	default:
		return p.failure()
	}
}

// awaitAnswer asks GET / every 25 ms; any answer will do. When none comes within initializationTimeout the process
// is killed.
func (h *handler) awaitAnswer(ctx context.Context, p *process) bool {
	limit := h.job.app.InitTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	every := time.NewTicker(25 * time.Millisecond)
	defer every.Stop()
	for {
		if answers(ctx, p, h.job.addr) {
			return true
		}
		select {
		case <-p.exited:
			return false
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				p.kill(fmt.Errorf("no answer to GET / on 127.0.0.1:%d within %s (initializationTimeout); listen first, connect to stores after", h.port, limit))
			}
			return false
		case <-every.C:
		}
	}
}

func answers(ctx context.Context, p *process, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", "") // the real host sends Host and nothing else
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	return errors.Join(err, res.Body.Close()) == nil
}

// set publishes a change and wakes who waits for one.
func (h *handler) set(newest, ready *process, gone error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.process, h.gone = newest, gone
	h.ready.Store(ready)
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *handler) newest() *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.process
}

// await returns the process that is ready, waiting for it if need be, and notes it in the invocation.
func (h *handler) await(ctx context.Context, in *invocation) (*process, error) {
	for {
		p := h.ready.Load()
		if p != nil {
			in.sentTo(p)
			return p, nil
		}
		h.mu.Lock()
		gone, changed, newest, ready := h.gone, h.changed, h.process, h.ready.Load()
		h.mu.Unlock()
		if gone != nil {
			return nil, gone
		}
		if ready != nil {
			continue
		}
		in.sentTo(newest)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the handler: %w", context.Cause(ctx))
		}
	}
}

// lost waits until a process for which nothing listens is known to have ended, and tells whether it has.
func (h *handler) lost(ctx context.Context, p *process) bool {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	select {
	case <-p.exited:
		h.ready.CompareAndSwap(p, nil) // run will say so too
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// over says why no process will come any more, or nil.
func (h *handler) over() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

// timeOut kills the process that an invocation was sent to or waited for, unless another has taken its place.
func (h *handler) timeOut(p *process, function string) {
	newest := h.newest()
	if newest != nil && (p == nil || p == newest) {
		newest.kill(fmt.Errorf("%w: killed because function %s took longer than functionTimeout (%s) and %s",
			errFree, function, h.job.app.FunctionTimeout, h.job.host.options.Limits.Grace))
	}
}

func (h *handler) log(level slog.Level, message string, err error) {
	h.job.log("Host.Worker", level, message, slog.Any("error", err))
}

// maxCrashes within the window end the host.
const maxCrashes = 3

// crashes counts errors that lie close together: after a quiet window the count begins anew.
type crashes struct {
	window time.Duration
	newest time.Time
	count  int
}

func (c *crashes) add(now time.Time) int {
	if now.Sub(c.newest) > c.window {
		c.count = 0
	}
	c.newest = now
	c.count++
	return c.count
}
