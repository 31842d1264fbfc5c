package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/pump"
)

// The host is as hard on the handler as the real one: it replaces it while it works, dies before it, and kills it when an
// invocation takes too long. Whatever it does, what clients insist on happens once.

// TestHostJSONIsTouchedUnderLoad: a second handler takes over and the first is killed with what it had in hand, among it
// a commit that it hasn't heard of.
func TestHostJSONIsTouchedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGate(t, w.AppURL)
	s := w.start(t, g.url, host.Limits{}, "REQUEST_TIMEOUT=2s")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients := s.shop(ctx, t)
	for range 3 {
		g.armed.Store(true)
		await(ctx, t, g.held)
		old := s.HandlerPID()
		require.NoError(t, s.Restart(ctx))
		assert.NotEqual(t, old, s.HandlerPID())
		clients.some(ctx, t)
	}
	assert.GreaterOrEqual(t, clients.leave(ctx, t), 3, "commits whose answer was lost")
}

// TestTheHandlerOutlivesAKilledHost: the host is killed under load. Its handler is an orphan now, with its port, its
// connections and its background work, and knows nothing of it. The next host starts another one beside it.
func TestTheHandlerOutlivesAKilledHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGate(t, w.AppURL)
	port, err := child.FreePort()
	require.NoError(t, err)
	w.addr = fmt.Sprintf("127.0.0.1:%d", port)
	first := w.hostAlone(t, g.url, "REQUEST_TIMEOUT=2s", "LOG_LEVEL=ERROR+4")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients := (&service{world: w, at: w.addr}).shop(ctx, t)
	clients.some(ctx, t)

	g.armed.Store(true)
	await(ctx, t, g.held)
	require.NoError(t, first.cmd.Process.Kill())
	require.Error(t, first.cmd.Wait())
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", first.handler.addr)
	require.NoError(t, err, "the orphan still listens")
	require.NoError(t, conn.Close())

	s := w.start(t, g.url, host.Limits{}, "REQUEST_TIMEOUT=2s")
	assert.NotEqual(t, first.handler.pid, s.HandlerPID())
	clients.some(ctx, t)
	assert.GreaterOrEqual(t, clients.leave(ctx, t), 1, "commits whose answer was lost")
	// It lives until it says something, which it is kept from here: nobody reads its standard output any more.
	t.Logf("asking for the orphan at the end: %v", syscall.Kill(first.handler.pid, 0))
}

// TestFunctionTimeoutUnderLoad: an invocation takes longer than the host allows, and the handler is killed with all that
// it is doing.
func TestFunctionTimeoutUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGate(t, w.AppURL)
	root := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.CopyFS(root, os.DirFS(scriptRoot)))
	settings, err := os.ReadFile(filepath.Join(root, "host.json"))
	require.NoError(t, err)
	const before = `"functionTimeout": "00:02:00"`
	require.Contains(t, string(settings), before)
	require.NoError(t, os.WriteFile(filepath.Join(root, "host.json"), []byte(strings.Replace(string(settings), before, `"functionTimeout": "00:00:03"`, 1)), 0o600))
	// The handler's own deadline would come before the host's: it is put off here, for the host's to be met at all.
	s := w.startAt(t, root, g.url, host.Limits{Grace: 200 * time.Millisecond}, "REQUEST_TIMEOUT=5s")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients := s.shop(ctx, t)
	clients.some(ctx, t)
	pid := s.HandlerPID()
	g.armed.Store(true)
	await(ctx, t, g.held)
	require.Eventually(t, func() bool { return s.HandlerPID() != pid && s.HandlerPID() != 0 }, 20*time.Second, 5*time.Millisecond, "it is killed, and another one started")
	clients.some(ctx, t)
	assert.GreaterOrEqual(t, clients.leave(ctx, t), 1, "commits whose answer was lost")
}

// beHost is the variable that makes this test's binary a host; its value is a lonely.
const beHost = "E2E_HOST"

// lonely is a host in a process of its own, which can be killed.
type lonely struct {
	ScriptRoot, Addr, StateDir, ServiceBus string
	Env                                    []string
	Ready                                  string // a file it writes its handler's process and address to
}

// alone is such a host from outside.
type alone struct {
	cmd     *exec.Cmd
	handler struct {
		pid  int
		addr string
	}
}

// hostAlone starts a host that leaves its handler behind when it is killed, and sees to the orphan's end.
func (w *world) hostAlone(t *testing.T, databaseURL string, settings ...string) *alone {
	t.Helper()
	dir := t.TempDir()
	options := lonely{
		ScriptRoot: scriptRoot, Addr: w.addr, StateDir: dir, ServiceBus: w.broker.Connection,
		Env: w.environment(t, databaseURL, settings...), Ready: filepath.Join(dir, "ready"),
	}
	text, err := json.Marshal(options)
	require.NoError(t, err)
	binary, err := os.Executable()
	require.NoError(t, err)
	a := &alone{cmd: exec.Command(binary)}
	a.cmd.Env, a.cmd.Stderr = append(os.Environ(), beHost+"="+string(text)), testLog{t}
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		if a.handler.pid != 0 {
			_ = syscall.Kill(a.handler.pid, syscall.SIGKILL)
		}
	})
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(options.Ready)
		if err != nil {
			return false
		}
		n, err := fmt.Sscan(string(text), &a.handler.pid, &a.handler.addr)
		return err == nil && n == 2
	}, time.Minute, 10*time.Millisecond, "the host doesn't start")
	return a
}

// hostAlone is the process.
func hostAlone(text string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "host alone:", err)
			os.Exit(1)
		}
	}
	var o lonely
	fail(json.Unmarshal([]byte(text), &o))
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	messages, err := pump.Open(o.ServiceBus, logger)
	fail(err)
	h, err := host.Load(host.Options{
		ScriptRoot: o.ScriptRoot, Addr: o.Addr, StateDir: o.StateDir, Env: o.Env, Logger: logger, Pump: messages.Receive, Orphans: true,
	})
	fail(err)
	fail(h.Start(context.Background()))
	fail(os.WriteFile(o.Ready+".new", fmt.Appendf(nil, "%d %s", h.HandlerPID(), h.HandlerAddr()), 0o600))
	fail(os.Rename(o.Ready+".new", o.Ready))
	fail(h.Wait())
	os.Exit(0)
}
