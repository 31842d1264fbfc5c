package host

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host/app"
)

// quick shortens the real host's patience where a test waits for it.
var quick = Limits{Grace: 100 * time.Millisecond, Resend: make([]time.Duration, 9)}

func (f *fixture) starts() (pids []int) {
	for _, n := range f.notes() {
		if pid, ok := strings.CutPrefix(n, "started "); ok {
			n, _ := strconv.Atoi(pid)
			pids = append(pids, n)
		}
	}
	return pids
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// ended returns what Wait says, without hanging when it never does.
func (f *fixture) ended() error {
	f.t.Helper()
	done := make(chan error, 1)
	go func() { done <- f.host.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		require.FailNow(f.t, "the host didn't end")
		return nil
	}
}

// Section 1: what the handler finds when it starts.
func TestHandlerEnvironment(t *testing.T) {
	t.Parallel()
	f := start(t, setup{env: []string{"MINE=1"}})
	s := f.get("/api").seen(t)
	root := filepath.Join(f.dir, "app")
	assert.Equal(t, "1", s.Env["MINE"])
	assert.NotContains(t, s.Env, "HOME", "the environment is the one given and no other")
	assert.Equal(t, s.Env["FUNCTIONS_CUSTOMHANDLER_PORT"], s.Env["FUNCTIONS_HTTPWORKER_PORT"])
	assert.Equal(t, s.Env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"], s.Env["FUNCTIONS_HTTPWORKER_ID"])
	assert.Len(t, s.Env["FUNCTIONS_HTTPWORKER_ID"], 36)
	assert.Equal(t, root, s.Env["FUNCTIONS_APP_ROOT_PATH"])
	assert.Equal(t, root, s.Dir)
	assert.Empty(t, s.Args)
	assert.Equal(t, s.PID, f.host.HandlerPID())

	require.NoError(t, syscall.Kill(s.PID, syscall.SIGKILL))
	var after seen
	eventually(t, func() bool { after = f.get("/api").seen(t); return after.PID != s.PID })
	assert.Equal(t, s.Env["FUNCTIONS_HTTPWORKER_PORT"], after.Env["FUNCTIONS_HTTPWORKER_PORT"], "the port stays")
	assert.NotEqual(t, s.Env["FUNCTIONS_HTTPWORKER_ID"], after.Env["FUNCTIONS_HTTPWORKER_ID"], "the id is new at each start")
}

func TestConsole(t *testing.T) {
	t.Parallel()
	f := start(t, setup{hostJSON: map[string]any{"logging": map[string]any{"logLevel": map[string]any{
		"default": "Warning", "Host.Function.Console": "Information",
	}}}})
	long := strings.Repeat("x", 5_000)
	f.get("/print?out=plain%0A%0ALanguageWorkerConsoleLog%20hidden%0A" + long + "%0Aheld&err=bad%0Ano+WARNing%0A")
	for text, level := range map[string]slog.Level{"plain": slog.LevelInfo, long: slog.LevelInfo, "bad": slog.LevelError, "no WARNing": slog.LevelWarn} {
		l := f.logs.wait(t, text)
		assert.Equal(t, line{level: level, message: text, category: "Host.Function.Console"}, l)
	}
	f.get("/print?out=+on%0A")
	assert.Equal(t, "held on", f.logs.wait(t, "held").message, "a line is held until it ends")
	var messages []string
	for _, l := range f.logs.all() {
		messages = append(messages, l.message)
	}
	assert.Contains(t, messages, "", "an empty line is a line")
	assert.NotContains(t, messages, "hidden", "goes to another category, which is at Warning")
}

func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	var got []int
	l := &lines{emit: func(line string) { got = append(got, len(line)) }}
	for range 40 {
		_, err := l.Write(make([]byte, 70_000))
		require.NoError(t, err)
	}
	l.flush()
	assert.Equal(t, []int{1_050_000, 1_050_000, 700_000}, got, "70,000 are kept whole, without end they are not")
}

// "3rd -> host stops": any code but 0 and 200 counts, a SIGKILL too.
func TestThirdCrashEndsTheHost(t *testing.T) {
	t.Parallel()
	f := start(t, setup{limits: quick})
	first := f.host.HandlerPID()
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	eventually(t, func() bool { return f.host.HandlerPID() != first && f.host.job.Load().handler.ready.Load() != nil })
	assert.Equal(t, http.StatusOK, f.get("/api").status, "started again at once")
	a := f.do(http.MethodPost, "/exit/1", strings.NewReader("x"))
	assert.Equal(t, http.StatusInternalServerError, a.status, "a request with a body is sent once")
	assert.Empty(t, a.body)
	eventually(t, func() bool { return len(f.starts()) == 3 && f.host.job.Load().handler.ready.Load() != nil })
	f.do(http.MethodPost, "/exit/7", strings.NewReader("x"))
	err := f.ended()
	require.ErrorIs(t, err, ErrCrashed)
	require.ErrorContains(t, err, "exit status 7: leaving with 7")
	assert.Equal(t, "Host.Worker", f.logs.wait(t, "Exceeded http worker restart retry count").category)
	assert.Zero(t, f.host.HandlerPID())
	require.Error(t, f.do(http.MethodGet, "/api", nil).err, "nothing listens any more")
}

// "Requests in between wait": also those that come when the handler has ended and nobody has seen it yet. A message that is
// tried ten times in that moment would be a dead letter.
func TestAnInvocationThatFindsNobodyListeningWaits(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{"fn": everyHour}})
	h := f.host.job.Load().handler
	first := h.ready.Load()
	require.NoError(t, syscall.Kill(f.host.HandlerPID(), syscall.SIGKILL))
	eventually(t, func() bool { return h.ready.Load() == nil })
	h.ready.Store(first) // as if nobody had seen it
	require.NoError(t, f.host.Invoke(t.Context(), "fn", map[string]any{"answer": map[string]any{"How": "echo"}}, nil))
	assert.NotSame(t, first, h.ready.Load())
}

// "One GET that crashes the handler is sent again to each restarted process: three crashes, the whole host stops".
func TestPoisonRequestEndsTheHost(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	f.do(http.MethodGet, "/exit/1", nil)
	require.ErrorIs(t, f.ended(), ErrCrashed)
	var ids []string
	for _, n := range f.notes() {
		if id, ok := strings.CutPrefix(n, "exit "); ok {
			ids = append(ids, id)
		}
	}
	assert.Len(t, ids, 3)
	assert.Len(t, slices.Compact(ids), 1, "all with one invocation id")
}

func TestExit200IsFree(t *testing.T) {
	t.Parallel()
	f := start(t, setup{limits: quick})
	for i := range 5 {
		f.do(http.MethodPost, "/exit/200", strings.NewReader("x"))
		eventually(t, func() bool { return len(f.starts()) == i+2 })
		assert.Equal(t, http.StatusOK, f.get("/api").status, "the request waits for the new process")
	}
}

func TestExit0StaysDead(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	began := time.Now()
	f.do(http.MethodPost, "/exit/0", strings.NewReader("x"))
	f.logs.wait(t, ErrHandlerGone.Error())
	for range 3 {
		assert.Equal(t, http.StatusInternalServerError, f.get("/api").status)
	}
	assert.Less(t, time.Since(began), patience/2)
	assert.Equal(t, http.StatusOK, f.get("/admin/host/ping").status, "ping knows nothing of it")
	assert.Len(t, f.starts(), 1)
	require.ErrorIs(t, f.host.Invoke(t.Context(), "all", nil, nil), ErrHandlerGone)
}

func TestCrashesFarApartDontAddUp(t *testing.T) {
	t.Parallel()
	c := crashes{window: 30 * time.Minute}
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	assert.Equal(t, 1, c.add(now))
	assert.Equal(t, 2, c.add(now.Add(30*time.Minute)))
	assert.Equal(t, 1, c.add(now.Add(61*time.Minute)))
	assert.Equal(t, 2, c.add(now.Add(80*time.Minute)))
	assert.Equal(t, 3, c.add(now.Add(100*time.Minute)))
}

// "A connection closed without an answer makes the host send a bodyless request up to 40 times; RST: 10 times; one
// with a body once".
func TestResending(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path, body string
		times              int
	}{
		{http.MethodGet, "/close", "", 40},
		{http.MethodDelete, "/close", "", 40},
		{http.MethodPost, "/close", "", 40},
		{http.MethodPost, "/close", "x", 1},
		{http.MethodGet, "/reset", "", 10},
	} {
		t.Run(fmt.Sprint(c.method, c.path, len(c.body)), func(t *testing.T) {
			t.Parallel()
			f := start(t, setup{limits: quick})
			// Connections that were used before must not make it more.
			var busy []<-chan answer
			for range 5 {
				busy = append(busy, f.going(http.MethodGet, "/until/go", nil))
			}
			for _, b := range busy {
				f.write("notes.go", "")
				eventually(t, func() bool { _, err := os.Stat(filepath.Join(f.dir, "notes.go")); return err != nil })
				defer func() { <-b }()
			}
			before := len(f.notes())
			a := f.do(c.method, c.path, strings.NewReader(c.body), "Idempotency-Keyless", "1")
			assert.Equal(t, http.StatusInternalServerError, a.status)
			assert.Empty(t, a.body)
			sent := f.notes()[before:]
			assert.Len(t, sent, c.times)
			assert.Len(t, slices.Compact(sent), 1, "all with one invocation id")
		})
	}
}

// functionTimeout: 500 after the grace, the process is killed with everything in flight, a new one starts; not counted.
func TestFunctionTimeout(t *testing.T) {
	t.Parallel()
	f := start(t, setup{limits: quick, hostJSON: map[string]any{"functionTimeout": "00:00:01"}})
	for i := range 4 {
		began := time.Now()
		a := f.get("/hang")
		assert.Equal(t, http.StatusInternalServerError, a.status)
		assert.Empty(t, a.body)
		assert.GreaterOrEqual(t, time.Since(began), time.Second+quick.Grace)
		eventually(t, func() bool { return len(f.starts()) >= i+2 })
	}
	f.logs.wait(t, "took longer than functionTimeout")
	assert.Equal(t, http.StatusOK, f.get("/api").status, "four timeouts, and the host lives")

	a := f.do(http.MethodGet, "/stream", nil)
	require.Error(t, a.err, "a live stream is cut")
	assert.Equal(t, "data: 1\n\n", a.body)
}

// Without a sign of an answer for too long the client gets a 504, and the handler lives.
func TestNoActivity(t *testing.T) {
	t.Parallel()
	f := start(t, setup{limits: Limits{Activity: 100 * time.Millisecond}})
	pid := f.host.HandlerPID()
	a := f.get("/hang")
	assert.Equal(t, http.StatusGatewayTimeout, a.status)
	assert.Empty(t, a.body)
	assert.Equal(t, pid, f.host.HandlerPID())
	assert.Equal(t, []string{"hang"}, slices.DeleteFunc(f.notes()[1:], func(n string) bool { return n == "gone" }), "it is not sent again")
}

// A request that was sent again takes the process with it that it is at now.
func TestFunctionTimeoutAfterResending(t *testing.T) {
	t.Parallel()
	f := start(t, setup{hostJSON: map[string]any{"functionTimeout": "00:00:01"}, limits: Limits{Grace: quick.Grace}})
	assert.Equal(t, http.StatusInternalServerError, f.get("/leave-then-hang").status)
	eventually(t, func() bool { return len(f.starts()) == 3 })
	assert.Equal(t, http.StatusOK, f.get("/api").status)
}

// The time a request waits for a slow start counts: when it is over, the process that is still starting is killed.
func TestWaitingForASlowStartCounts(t *testing.T) {
	t.Parallel()
	f, err := load(t, setup{limits: quick, hostJSON: map[string]any{"functionTimeout": "00:00:01", "initializationTimeout": "01:00:00"}, options: func(o *Options) {
		o.Env = append(o.Env, "LISTEN_WHEN="+filepath.Join(filepath.Dir(o.StateDir), "listen"))
	}})
	require.NoError(t, err)
	started := make(chan error, 1)
	go func() { started <- f.host.Start(t.Context()) }()
	t.Cleanup(f.stop)
	eventually(t, func() bool { return len(f.starts()) == 1 })
	assert.Equal(t, http.StatusInternalServerError, f.get("/api").status)
	eventually(t, func() bool { return len(f.starts()) == 2 })
	assert.Equal(t, http.StatusOK, f.get("/admin/host/ping").status, "ping answers meanwhile")
	f.write("listen", "")
	require.NoError(t, <-started)
	assert.Equal(t, http.StatusOK, f.get("/api").status)
}

func TestNeverListening(t *testing.T) {
	t.Parallel()
	f, err := load(t, setup{env: []string{"NEVER_LISTEN=1"}, hostJSON: map[string]any{"initializationTimeout": "00:00:00.200"}})
	require.NoError(t, err)
	err = f.host.Start(t.Context())
	require.ErrorIs(t, err, ErrCrashed)
	require.ErrorContains(t, err, "within 200ms (initializationTimeout)")
	assert.Len(t, f.starts(), 3)
	for _, pid := range f.starts() {
		assert.False(t, alive(pid), "killed")
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	f, err := load(t, setup{env: []string{"EXIT_AT_START=0"}})
	require.NoError(t, err)
	require.ErrorIs(t, f.host.Start(t.Context()), ErrHandlerGone)

	f, err = load(t, setup{env: []string{"EXIT_AT_START=5"}})
	require.NoError(t, err)
	require.ErrorContains(t, f.host.Start(t.Context()), "exit status 5: leaving with 5")

	f, err = load(t, setup{env: []string{"NEVER_LISTEN=1"}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(f.starts()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	require.ErrorIs(t, f.host.Start(ctx), context.Canceled)
	assert.False(t, alive(f.starts()[0]), "nothing is left behind")

	taken := start(t, setup{})
	f, err = load(t, setup{options: func(o *Options) { o.Addr = taken.host.Addr() }})
	require.NoError(t, err)
	require.ErrorContains(t, f.host.Start(t.Context()), "address already in use")
	assert.Empty(t, f.starts())
}

// Ctrl-C: listener closed at once, what is in flight awaited, then SIGKILL.
func TestStopWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	pid := f.host.HandlerPID()
	done := f.going(http.MethodGet, "/until/go", nil)
	stopped := make(chan struct{})
	go func() { defer close(stopped); f.stop() }()
	<-f.host.stopping
	eventually(t, func() bool { return f.do(http.MethodGet, "/api", nil).err != nil }) // nobody new is let in
	assert.True(t, alive(pid))
	f.write("notes.go", "")
	assert.Equal(t, http.StatusOK, (<-done).status)
	<-stopped
	assert.False(t, alive(pid))
	require.NoError(t, f.ended())
	require.NoError(t, f.host.Stop(t.Context()), "twice is once")
}

func TestStopGivesUpWaiting(t *testing.T) {
	t.Parallel()
	f := start(t, setup{limits: Limits{Drain: 50 * time.Millisecond}})
	pid := f.host.HandlerPID()
	done := f.going(http.MethodGet, "/hang", nil)
	require.ErrorContains(t, f.host.Stop(t.Context()), "1 invocations were still in flight")
	require.Error(t, (<-done).err, "cut off without an answer")
	assert.False(t, alive(pid))
}

// A touched host.json: two handlers overlap, new requests all succeed, one in flight on the old handler is a 500.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := start(t, setup{})
	old := f.get("/api").seen(t)
	hanging := f.going(http.MethodGet, "/hang", nil)
	f.write("app/all/function.json", httpFunction("api/{*rest}"))

	stop, ok := make(chan struct{}), make(chan int)
	go func() {
		count := 0
		for {
			if a := f.do(http.MethodGet, "/api", nil); a.status != http.StatusOK {
				count = -1
			} else if count >= 0 {
				count++
			}
			select {
			case <-stop:
				ok <- count
				return
			default:
			}
		}
	}()
	require.NoError(t, f.host.Restart(t.Context()))
	close(stop)
	assert.Positive(t, <-ok, "no request fails meanwhile")
	assert.Equal(t, http.StatusInternalServerError, (<-hanging).status)
	assert.False(t, alive(old.PID))
	s := f.get("/api").seen(t)
	assert.NotEqual(t, old.PID, s.PID)
	assert.NotEqual(t, old.Env["FUNCTIONS_HTTPWORKER_PORT"], s.Env["FUNCTIONS_HTTPWORKER_PORT"], "a new port")
	assert.Equal(t, http.StatusNotFound, f.get("/elsewhere").status, "function.json was read again")

	f.write("app/host.json", "nope")
	require.ErrorContains(t, f.host.Restart(t.Context()), "not JSON")
	assert.Equal(t, s.PID, f.get("/api").seen(t).PID, "a failed restart changes nothing")
	f.stop()
	require.ErrorIs(t, f.host.Restart(t.Context()), errStopped)
}

// beHost runs a host in a process of its own, which the test below kills.
func beHost() {
	h, err := Load(Options{
		ScriptRoot: os.Getenv("ROOT"), Addr: "127.0.0.1:0", Env: []string{"BE=handler", "NOTES=" + os.Getenv("NOTES")}, Orphans: os.Getenv("ORPHANS") != "",
	})
	if err == nil {
		err = h.Start(context.Background())
	}
	fmt.Println(err)
	select {}
}

// Unlike under the real host, a SIGKILL of the host takes the handler along.
func TestHandlerDiesWithTheHost(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only Linux ties a child to its parent")
	}
	f, err := load(t, setup{})
	require.NoError(t, err)
	pid := killedHost(t, f)
	eventually(t, func() bool { return !alive(pid) || zombie(pid) })
}

// killedHost runs a host in a process of its own, kills it when its handler is ready, and returns the handler.
func killedHost(t *testing.T, f *fixture, env ...string) (handler int) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	host := exec.CommandContext(t.Context(), binary)
	host.Env = append([]string{"BE=host", "ROOT=" + filepath.Join(f.dir, "app"), "NOTES=" + filepath.Join(f.dir, "notes")}, env...)
	require.NoError(t, host.Start())
	eventually(t, func() bool { _, err := os.Stat(filepath.Join(f.dir, "notes.probe")); return err == nil })
	handler = f.starts()[0]
	require.True(t, alive(handler))
	require.NoError(t, host.Process.Kill())
	require.Error(t, host.Wait())
	return handler
}

// zombie tells a process that is dead and that nobody has buried yet (a container's init may not bother).
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestLoadNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := load(t, setup{
		hostJSON:  map[string]any{"extra": 1},
		functions: map[string]string{"a": httpFunction("/x")},
		options:   func(o *Options) { o.Addr = "nowhere" },
	})
	require.ErrorContains(t, err, `host address "nowhere"`)
	require.ErrorContains(t, err, "extra is not known")
	require.ErrorContains(t, err, "begins with a slash")

	_, err = load(t, setup{
		functions: map[string]string{
			"bus":  `{"bindings": [{"type": "serviceBusTrigger", "name": "m", "queueName": "q", "connection": "MINE"}]}`,
			"tick": everyHour,
		},
		env:     []string{"MINE=x"},
		options: func(o *Options) { o.StateDir = "" },
	})
	require.ErrorContains(t, err, "function bus: has a Service Bus trigger, but this host was started with nothing that receives messages")
	require.ErrorContains(t, err, "function tick: its timer keeps a status")
}

func TestPump(t *testing.T) {
	t.Parallel()
	asked, ended := make(chan app.ServiceBusTrigger, 1), make(chan struct{})
	results := make(chan error, 2)
	f := start(t, setup{
		functions: map[string]string{"fn": `{"bindings": [{"type": "serviceBusTrigger", "name": "answer", "queueName": "q", "connection": "MINE", "dataType": "binary"}]}`},
		env:       []string{"MINE=x"},
		options: func(o *Options) {
			o.Pump = func(ctx context.Context, trigger app.ServiceBusTrigger, invoke func(context.Context, map[string]any, map[string]any) error) error {
				asked <- trigger
				results <- invoke(ctx, map[string]any{"answer": []byte("hi")}, map[string]any{"DeliveryCount": 1, "Subject": nil})
				results <- invoke(ctx, map[string]any{"answer": map[string]any{"Status": 500}}, nil)
				<-ctx.Done()
				close(ended)
				return nil
			}
		},
	})
	assert.Equal(t, app.ServiceBusTrigger{Binding: "answer", Queue: "q", Connection: "MINE", Binary: true, MaxCalls: 16, MaxBatch: 1000, MaxRenew: 5 * time.Minute}, <-asked)
	require.NoError(t, <-results)
	require.ErrorContains(t, <-results, "status 500")
	assert.Contains(t, f.notes()[1], `call {"Data":{"answer":"aGk="},"Metadata":{"DeliveryCount":"1","sys":{"MethodName":"fn"`)
	f.stop()
	select {
	case <-ended:
	default:
		assert.Fail(t, "the host ended before its pump")
	}
}
