package host

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host/app"
)

// process is one run of the handler, with connections of its own: none outlives the process it leads to.
type process struct {
	cmd       *exec.Cmd
	transport *http.Transport // for envelopes and GET /
	proxied   *http.Transport // for HTTP handed through, which may not wait forever for an answer
	output    *output
	killedFor atomic.Pointer[error]
	exited    chan struct{}
	code      int // after exited
}

// startProcess starts the handler; when ctx ends it gets SIGKILL and nothing gentler, as from the real host.
func startProcess(ctx context.Context, h *handler) (*process, error) {
	a := h.job.app
	id := uuid.NewString()
	p := &process{exited: make(chan struct{}), output: &output{job: h.job, worker: id}}
	p.transport = &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
	}
	p.proxied = p.transport.Clone()
	p.proxied.ResponseHeaderTimeout = h.job.host.options.Limits.Activity
	port := strconv.Itoa(h.port)
	p.cmd = exec.CommandContext(ctx, a.Executable, a.Args...) //nolint:gosec // the app's own handler, from its host.json
	p.cmd.Dir = a.WorkingDirectory
	p.cmd.Env = append(p.cmd.Env, h.job.host.options.Env...)
	p.cmd.Env = append(p.cmd.Env,
		"FUNCTIONS_CUSTOMHANDLER_PORT="+port, "FUNCTIONS_HTTPWORKER_PORT="+port,
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID="+id, "FUNCTIONS_HTTPWORKER_ID="+id,
		"FUNCTIONS_APP_ROOT_PATH="+a.Dir)
	stdout, stderr := &lines{emit: p.output.stdout}, &lines{emit: p.output.stderr}
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	p.cmd.WaitDelay = time.Second // for grandchildren that hold the pipes open

	whenWeDie := syscall.SIGKILL
	if h.job.host.options.Orphans {
		whenWeDie = 0 // nothing
	}
	running, err := child.Start(p.cmd, whenWeDie)
	if err != nil {
		return nil, fmt.Errorf("the handler: %w", err)
	}
	go func() {
		<-running.Done()
		p.code = running.ExitCode()
		stdout.flush()
		stderr.flush()
		close(p.exited)
	}()
	return p, nil
}

// kill ends the process with SIGKILL; only the first reason counts.
func (p *process) kill(why error) {
	if p.killedFor.CompareAndSwap(nil, &why) {
		// The one error is that it is gone already.
		_ = p.cmd.Process.Kill()
	}
}

// failure describes a crash with the last lines of stderr, as the real host's log does.
func (p *process) failure() error {
	if last := p.output.lastErrors(); last != "" {
		return fmt.Errorf("the handler ended with %s: %s", p.cmd.ProcessState, last)
	}
	return fmt.Errorf("the handler ended with %s", p.cmd.ProcessState)
}

// output turns the handler's lines into log records: stdout is Information, stderr Error, or Warning where a line
// contains "warn".
type output struct {
	job    *job
	worker string

	mu   sync.Mutex
	last []string // of stderr, at most three
}

const (
	consoleCategory = "Host.Function.Console"
	systemPrefix    = "LanguageWorkerConsoleLog"
)

func (o *output) stdout(line string) { o.write(line, app.LevelInformation) }

func (o *output) stderr(line string) {
	level := slog.LevelError
	if strings.Contains(strings.ToLower(line), "warn") {
		level = slog.LevelWarn
	} else {
		o.mu.Lock()
		o.last = append(o.last, line)
		o.last = o.last[max(0, len(o.last)-3):]
		o.mu.Unlock()
	}
	o.write(line, level)
}

func (o *output) write(line string, level slog.Level) {
	if rest, ok := strings.CutPrefix(line, systemPrefix); ok {
		o.job.log("Worker.HttpWorkerProcess."+o.worker, level, strings.TrimPrefix(rest, " "))
		return
	}
	o.job.log(consoleCategory, level, line)
}

func (o *output) lastErrors() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.last, " | ")
}

// lines cuts a stream at its newlines. A line without an end is held back, up to a size no real line has.
type lines struct {
	emit func(line string)
	held []byte
}

const maxLine = 1 << 20

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.held = append(l.held, p...)
	for {
		end := bytes.IndexByte(l.held, '\n')
		if end < 0 {
			break
		}
		l.emit(string(bytes.TrimSuffix(l.held[:end], []byte("\r"))))
		l.held = l.held[end+1:]
	}
	if len(l.held) >= maxLine {
		l.flush()
	}
	return len(p), nil
}

// flush hands out what is held back.
func (l *lines) flush() {
	if len(l.held) > 0 {
		l.emit(string(l.held))
		l.held = nil
	}
}
