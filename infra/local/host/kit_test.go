package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is far more than anything here takes; only a failing test meets it.
const patience = 30 * time.Second

// TestMain makes the test binary its own custom handler: the hosts under test start it again with this variable.
func TestMain(m *testing.M) {
	switch os.Getenv("BE") {
	case "handler":
		beHandler()
	case "host":
		beHost()
	default:
		code := m.Run()
		client.CloseIdleConnections()
		if err := goleak.Find(); code == 0 && err != nil {
			fmt.Println("a host left goroutines behind:", err)
			code = 1
		}
		os.Exit(code)
	}
}

// options of a host under test, before it is loaded.
type setup struct {
	hostJSON  map[string]any
	functions map[string]string // name to function.json
	env       []string
	limits    Limits
	options   func(*Options)
}

const (
	out       = `{"type": "http", "direction": "out", "name": "res"}`
	everyHour = `{"bindings": [{"type": "timerTrigger", "name": "timer", "schedule": "0 0 * * * *"}]}`
)

func httpFunction(route string, more ...string) string {
	return `{"bindings": [{"type": "httpTrigger", "name": "req", "authLevel": "anonymous", "route": "` + route + `"` +
		strings.Join(more, "") + `}, ` + out + `]}`
}

// fixture is a host with its app, what it logged and what its handler noted.
type fixture struct {
	t       testing.TB
	host    *Host
	logs    *logs
	dir     string
	options Options
}

func load(t testing.TB, s setup) (*fixture, error) {
	t.Helper()
	f := &fixture{t: t, logs: newLogs(), dir: t.TempDir()}
	binary, err := os.Executable()
	require.NoError(t, err)
	root := filepath.Join(f.dir, "app")
	hostJSON := map[string]any{
		"version": "2.0",
		"customHandler": map[string]any{
			"description": map[string]any{"defaultExecutablePath": binary}, "enableProxyingHttpRequest": true,
		},
		"extensions": map[string]any{"http": map[string]any{"routePrefix": ""}},
	}
	for name, value := range s.hostJSON {
		if name == "initializationTimeout" {
			hostJSON["customHandler"].(map[string]any)[name] = value
			continue
		}
		hostJSON[name] = value
	}
	text, err := json.Marshal(hostJSON)
	require.NoError(t, err)
	f.write("app/host.json", string(text))
	if s.functions == nil {
		s.functions = map[string]string{"all": httpFunction("{*rest}")}
	}
	for name, text := range s.functions {
		f.write("app/"+name+"/function.json", text)
	}
	f.options = Options{
		ScriptRoot: root, Addr: "127.0.0.1:0", StateDir: filepath.Join(f.dir, "state"), Logger: slog.New(f.logs), Limits: s.limits,
		Env: append([]string{"BE=handler", "NOTES=" + filepath.Join(f.dir, "notes")}, s.env...),
	}
	if s.options != nil {
		s.options(&f.options)
	}
	f.host, err = Load(f.options)
	return f, err
}

// start loads and starts a host and sees to its end.
func start(t testing.TB, s setup) *fixture {
	t.Helper()
	f, err := load(t, s)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, f.host.Start(ctx))
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.host.Stop(ctx); err != nil {
		f.t.Log(err) // a test that minds asks Stop itself
	}
}

func (f *fixture) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o600))
}

// notes are the lines that the handler wrote about what reached it.
func (f *fixture) notes() []string {
	text, err := os.ReadFile(filepath.Join(f.dir, "notes"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(f.t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

func (f *fixture) do(method, target string, body io.Reader, headers ...string) answer {
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.host.Addr()+target, body)
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: string(text), err: err}
}

func (f *fixture) get(target string, headers ...string) answer {
	f.t.Helper()
	a := f.do(http.MethodGet, target, nil, headers...)
	require.NoError(f.t, a.err)
	return a
}

// going starts a request and returns when the handler has it.
func (f *fixture) going(method, target string, body io.Reader) <-chan answer {
	f.t.Helper()
	before := len(f.notes())
	done := make(chan answer, 1)
	go func() { done <- f.do(method, target, body) }()
	eventually(f.t, func() bool { return len(f.notes()) > before })
	return done
}

// raw sends bytes as they are and returns what comes back until the connection is closed.
func (f *fixture) raw(text string) string {
	f.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", f.host.Addr())
	require.NoError(f.t, err)
	defer conn.Close()
	require.NoError(f.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, text)
	require.NoError(f.t, err)
	back, err := io.ReadAll(conn)
	require.NoError(f.t, err)
	return string(back)
}

// seen is what the handler says of a request.
type seen struct {
	Method, URI, Host, Body string
	Header                  http.Header
	Length                  int64
	Chunked                 bool
	PID                     int
	Env                     map[string]string
	Dir                     string
	Args                    []string
}

func (a answer) seen(t *testing.T) seen {
	t.Helper()
	require.NoError(t, a.err)
	require.Equal(t, http.StatusOK, a.status, a.body)
	var s seen
	require.NoError(t, json.Unmarshal([]byte(a.body), &s), a.body)
	return s
}

// eventually waits for what leaves its mark in a file or a process table, where nothing can be waited on.
func eventually(t testing.TB, what func() bool) {
	t.Helper()
	require.Eventually(t, what, patience, 2*time.Millisecond)
}

// line is one record of the log.
type line struct {
	level    slog.Level
	message  string
	category string
	attrs    string
}

// logs keep what the host logs and wake who waits for it.
type logs struct {
	mu    sync.Mutex
	lines []line
	more  chan struct{}
}

func newLogs() *logs { return &logs{more: make(chan struct{})} }

// Enabled implements slog.Handler.
func (l *logs) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (l *logs) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *logs) WithGroup(string) slog.Handler { return l }

// Handle implements slog.Handler.
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	added := line{level: r.Level, message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "category" {
			added.category = a.Value.String()
		} else {
			added.attrs += " " + a.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, added)
	close(l.more)
	l.more = make(chan struct{})
	return nil
}

// wait returns the first line with the text in its message or attributes, now or later.
func (l *logs) wait(t testing.TB, text string) line {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		lines, more := l.lines, l.more
		l.mu.Unlock()
		for _, candidate := range lines {
			if strings.Contains(candidate.message+candidate.attrs, text) {
				return candidate
			}
		}
		select {
		case <-more:
		case <-late:
			require.FailNow(t, "not logged", "%q in %+v", text, lines)
		}
	}
}

func (l *logs) all() []line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]line(nil), l.lines...)
}

// note appends a line to the notes; a handler that is killed at once has still written it.
func note(format string, args ...any) {
	file, err := os.OpenFile(os.Getenv("NOTES"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, format+"\n", args...); err != nil {
		panic(err)
	}
}

func firstLine(r *bufio.Reader) string {
	text, _ := r.ReadString('\n')
	return strings.TrimRight(text, "\r\n")
}
