package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httputil"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host/app"
)

// job is what the real host calls a job host: one reading of the app, one port, one handler at a time, its timers.
// Restart makes a new one beside the old.
type job struct {
	host    *Host
	app     *app.App
	addr    string // 127.0.0.1:port, the same for every process of this job
	handler *handler
	proxy   *httputil.ReverseProxy
	started time.Time

	ctx        context.Context // ends when the handler is to die
	cancel     context.CancelCauseFunc
	listening  context.Context // ends when timers and pumps are to start nothing new
	stopListen context.CancelFunc
	background sync.WaitGroup
}

func (h *Host) newJob(a *app.App) (*job, error) {
	// Another process may take the port before the handler listens on it; the handler then ends and is started again.
	port, err := child.FreePort()
	if err != nil {
		return nil, fmt.Errorf("for the handler: %w", err)
	}
	j := &job{host: h, app: a, addr: fmt.Sprintf("127.0.0.1:%d", port), started: time.Now()}
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	j.listening, j.stopListen = context.WithCancel(j.ctx)
	j.handler = newHandler(j, port)
	j.proxy = newProxy(j)
	for _, warning := range a.Warnings {
		j.log("Host.Startup", slog.LevelWarn, warning)
	}
	return j, nil
}

func (j *job) startHandler() {
	go func() {
		// A job that isn't the host's yet fails its Restart only.
		if err := j.handler.run(j.ctx); err != nil && j.host.job.Load() == j {
			j.host.end(err)
		}
	}()
}

// startListeners starts what invokes functions by itself.
func (j *job) startListeners() {
	for _, f := range j.app.Functions {
		switch {
		case f.Timer != nil:
			t := newTimer(j, f.Name, f.Timer)
			j.goInBackground("timer of "+f.Name, func() { t.loop(j.listening) })
		case f.ServiceBus != nil:
			j.goInBackground("messages of "+f.Name, func() {
				err := j.host.options.Pump(j.listening, *f.ServiceBus, func(ctx context.Context, data, metadata map[string]any) error {
					return j.invoke(ctx, f.Name, data, metadata)
				})
				if err != nil && j.listening.Err() == nil {
					j.log("Host.Triggers", slog.LevelError, "receiving messages ended", slog.String("function", f.Name), slog.Any("error", err))
				}
			})
		}
	}
}

func (j *job) stopListeners() { j.stopListen() }

// goInBackground runs work that the job's end waits for, and that can't take the host down.
func (j *job) goInBackground(what string, work func()) {
	j.background.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				j.log("Host.Triggers", slog.LevelError, what+" panicked", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			}
		}()
		work()
	})
}

// log writes a line if host.json's logLevel wants its category at its level.
func (j *job) log(category string, level slog.Level, message string, attrs ...slog.Attr) {
	if j.app.Levels.Enabled(category, level) {
		j.host.options.Logger.LogAttrs(context.Background(), level, message, append(attrs, slog.String("category", category))...) //nolint:sloglint // the one place through which all of them go
	}
}

// function finds one by its name, without regard to case as the real host does.
func (j *job) function(name string) (app.Function, error) {
	for _, f := range j.app.Functions {
		if strings.EqualFold(f.Name, name) {
			return f, nil
		}
	}
	return app.Function{}, fmt.Errorf("%w: %q", errNoFunction, name)
}

var errNoFunction = errors.New("no such function")
