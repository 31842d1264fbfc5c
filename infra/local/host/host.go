package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/company/order-catalog-service/infra/local/host/app"
)

// Options say what to run and where. Zero values of Limits are the real host's.
type Options struct {
	ScriptRoot string       // the staged folder
	Addr       string       // "127.0.0.1:7071"; port 0 picks a free one
	Env        []string     // the handler's whole environment, as os.Environ gives it; the host adds its own variables
	StateDir   string       // where timers keep their status between runs
	Logger     *slog.Logger // the host's lines and the handler's; each carries its category
	Pump       Pump         // needed when a function has a Service Bus trigger
	Orphans    bool         // leave the handler behind when this process is killed, as the real host does
	Limits     Limits
}

// Pump receives the messages of one Service Bus trigger and hands each (or each batch) to invoke, until ctx ends.
// What invoke returns decides whether a message is completed (nil) or abandoned.
type Pump func(ctx context.Context, trigger app.ServiceBusTrigger, invoke func(ctx context.Context, data, metadata map[string]any) error) error

// Limits are the host's own patience, which tests shorten.
type Limits struct {
	Grace       time.Duration   // after functionTimeout, before the handler is killed: 2 s
	CrashWindow time.Duration   // crashes further apart than this don't add up: 30 min
	Drain       time.Duration   // how long Stop waits for what is in flight: 30 s
	Activity    time.Duration   // how long an answer's header may take: 240 s
	Overlap     time.Duration   // how long two handlers run side by side in Restart: 0.1 s
	Resend      []time.Duration // the pauses before a request without an answer is tried again: 50 ms to 250 ms, nine of them
}

func (l Limits) withDefaults() Limits {
	for value, standard := range map[*time.Duration]time.Duration{
		&l.Grace: 2 * time.Second, &l.CrashWindow: 30 * time.Minute, &l.Drain: 30 * time.Second,
		&l.Activity: 240 * time.Second, &l.Overlap: 100 * time.Millisecond,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	if l.Resend == nil {
		l.Resend = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}
		for len(l.Resend) < 9 {
			l.Resend = append(l.Resend, 250*time.Millisecond)
		}
	}
	return l
}

// Errors that end a host or an invocation for good.
var (
	// ErrCrashed ends the host: Wait returns it.
	ErrCrashed = errors.New("exceeded the handler's restart count: it ended with an error three times within the crash window")
	// ErrHandlerGone is every invocation's lot after the handler ended with code 0.
	ErrHandlerGone = errors.New("the handler ended with code 0, after which it is never started again")
	errStopped     = errors.New("the host is stopping")
)

// Host is one running host. Make it with Load.
type Host struct {
	options  Options
	loaded   *app.App // what Load read and Start uses
	server   *http.Server
	addr     atomic.Pointer[string] // nil until the host listens
	job      atomic.Pointer[job]    // nil until then too
	inFlight inFlight

	restarting sync.Mutex
	stopOnce   sync.Once
	stopping   chan struct{} // closed when the end begins
	done       chan struct{} // closed when nothing is left
	err        error         // why the host ended by itself; read after done
	cutOff     error         // that the stop didn't wait long enough for some invocations; read after done
}

// Load reads and checks everything, and names every mistake at once. It starts nothing.
func Load(options Options) (*Host, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.Limits = options.Limits.withDefaults()
	h := &Host{options: options, stopping: make(chan struct{}), done: make(chan struct{})}
	var bad []error
	if _, _, err := net.SplitHostPort(options.Addr); err != nil {
		bad = append(bad, fmt.Errorf("host address %q: %w; write it like 127.0.0.1:7071", options.Addr, err))
	}
	loaded, err := h.read()
	if err = errors.Join(append(bad, err)...); err != nil {
		return nil, err
	}
	h.loaded = loaded
	h.server = &http.Server{
		Handler:                      h,
		MaxHeaderBytes:               2 * maxHeaderBytes, // room for the exact check in serve.go
		ReadHeaderTimeout:            30 * time.Second,
		IdleTimeout:                  130 * time.Second,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(options.Logger.Handler(), slog.LevelDebug),
	}
	return h, nil
}

// read reads the script root and checks it against what this host was given.
func (h *Host) read() (*app.App, error) {
	a, err := app.Read(h.options.ScriptRoot, app.NewSettings(h.options.Env))
	if err != nil {
		return nil, err
	}
	var bad []error
	for _, f := range a.Functions {
		if f.ServiceBus != nil && h.options.Pump == nil {
			bad = append(bad, fmt.Errorf("function %s: has a Service Bus trigger, but this host was started with nothing that receives messages", f.Name))
		}
		if f.Timer != nil && f.Timer.Monitored && h.options.StateDir == "" {
			bad = append(bad, fmt.Errorf("function %s: its timer keeps a status between runs, but the host was given no folder for it (StateDir)", f.Name))
		}
	}
	return a, errors.Join(bad...)
}

// Start listens, starts the handler and returns when it is ready. Requests that come earlier wait. When the handler
// doesn't get ready, or ctx ends first, nothing is left behind. Later, ctx means nothing: Stop ends the host.
func (h *Host) Start(ctx context.Context) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", h.options.Addr)
	if err != nil {
		return fmt.Errorf("listening for requests: %w", err)
	}
	first, err := h.newJob(h.loaded)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	h.job.Store(first)
	addr := listener.Addr().String()
	h.addr.Store(&addr)
	go func() {
		if err := h.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			h.end(fmt.Errorf("serving requests: %w", err))
		}
	}()
	first.startHandler()
	if _, err := first.handler.await(ctx, nil); err != nil {
		h.end(nil)
		<-h.done
		return fmt.Errorf("starting the handler %s: %w", h.loaded.Executable, err)
	}
	first.startListeners()
	return nil
}

// Addr is where the host listens; nothing before it does.
func (h *Host) Addr() string {
	if addr := h.addr.Load(); addr != nil {
		return *addr
	}
	return ""
}

// HandlerPID is the process id of the handler that is running or starting, 0 when there is none.
func (h *Host) HandlerPID() int {
	j := h.job.Load()
	if j == nil {
		return 0
	}
	if p := j.handler.newest(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// HandlerAddr is where the handler is to listen, "" before the host has chosen.
func (h *Host) HandlerAddr() string {
	if j := h.job.Load(); j != nil {
		return j.addr
	}
	return ""
}

// Wait returns when nothing of the host is left: nil after Stop, else why it ended by itself.
func (h *Host) Wait() error {
	<-h.done
	return h.err
}

// Stop does what SIGINT does to the real host: the listener is closed at once, timers stop, what is in flight is
// awaited (30 s, or until ctx ends), then the handler is killed. It returns when nothing is left; the error only says
// that something in flight was cut off. A host that was never started has nothing to stop.
func (h *Host) Stop(ctx context.Context) error {
	if h.job.Load() == nil {
		return nil
	}
	h.stopOnce.Do(func() { h.shutDown(ctx, nil) })
	<-h.done
	return h.cutOff
}

// end ends the host by itself; requests that wait for the handler fail at once.
func (h *Host) end(why error) {
	go h.stopOnce.Do(func() {
		h.job.Load().cancel(errorOr(why, errStopped))
		h.shutDown(context.Background(), why)
	})
}

func errorOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (h *Host) shutDown(ctx context.Context, why error) {
	defer close(h.done)
	close(h.stopping)
	h.restarting.Lock() // a restart in progress sees stopping and gives up
	defer h.restarting.Unlock()
	current := h.job.Load()
	current.stopListeners()

	closed := make(chan struct{})
	ctx, cancel := context.WithTimeout(ctx, h.options.Limits.Drain)
	defer cancel()
	go func() {
		defer close(closed)
		_ = h.server.Shutdown(ctx) // Close, below, ends what this couldn't
	}()
	if left := h.inFlight.wait(ctx); left > 0 {
		h.cutOff = fmt.Errorf("%d invocations were still in flight and were cut off", left)
	}
	// What is left are connections that never sent anything, which Shutdown would honour for seconds, and the last
	// bytes of the last answers.
	select {
	case <-closed:
	case <-time.After(250 * time.Millisecond):
	}
	if err := h.server.Close(); err != nil {
		current.log("Host.Shutdown", slog.LevelDebug, "closing connections", slog.Any("error", err))
	}
	current.cancel(errStopped)
	<-current.handler.ended
	current.background.Wait()
	h.err = why
}

// Restart does what a touched host.json does: the script root is read again and a second handler started on another
// port; when it is ready it gets all new requests, and a tenth of a second later the old one is killed, its requests
// in flight with it (500). Background work of the handler runs twice for that time.
func (h *Host) Restart(ctx context.Context) error {
	h.restarting.Lock()
	defer h.restarting.Unlock()
	select {
	case <-h.stopping:
		return errStopped
	default:
	}
	a, err := h.read()
	if err != nil {
		return fmt.Errorf("restarting: %w", err)
	}
	next, err := h.newJob(a)
	if err != nil {
		return fmt.Errorf("restarting: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-h.stopping:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	next.startHandler()
	if _, err := next.handler.await(ctx, nil); err != nil {
		next.cancel(errStopped)
		<-next.handler.ended
		return fmt.Errorf("restarting, the new handler: %w", err)
	}
	old := h.job.Swap(next)
	if err := next.handler.over(); err != nil {
		h.end(err)
	}
	old.stopListeners()
	next.startListeners()
	select {
	case <-time.After(h.options.Limits.Overlap):
	case <-h.stopping:
	}
	old.cancel(errStopped)
	<-old.handler.ended
	old.background.Wait()
	return nil
}

// inFlight counts invocations, so that a stop can wait for the last.
type inFlight struct {
	count atomic.Int64
}

func (f *inFlight) begin() { f.count.Add(1) }
func (f *inFlight) end()   { f.count.Add(-1) }

// wait returns how many are left when ctx ends. It looks again every few milliseconds, which is cheaper than a lock in
// every request for what happens once.
func (f *inFlight) wait(ctx context.Context) int64 {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for f.count.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return f.count.Load()
		}
	}
	return 0
}

func statusFile(dir, function string) string { return filepath.Join(dir, function+".json") }
