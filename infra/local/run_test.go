package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/pgserver"
)

// clone is this repository once more, with a .local of its own: a second checkout on the machine.
func clone(t *testing.T) checkout {
	t.Helper()
	here, err := findCheckout()
	require.NoError(t, err)
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, name := range []string{"go.mod", "go.sum", "host.json", "local.settings.json", "Makefile"} {
		raw, err := os.ReadFile(filepath.Join(string(here), name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, name), raw, 0o600))
	}
	for _, name := range []string{"functions", "handler", "shared", "infra"} {
		require.NoError(t, os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(string(here), name))))
	}
	t.Cleanup(func() { require.NoError(t, pgserver.Wipe(checkout(root).local("postgres"))) })
	return checkout(root)
}

// program is the command, running.
type program struct {
	*exec.Cmd
	lines chan string // closed when it has ended
	mu    sync.Mutex
	said  strings.Builder
}

// start runs the command with the ports of env in root.
func start(t *testing.T, root checkout, env []string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.CommandContext(context.Background(), os.Args[0], args...), lines: make(chan string, 1000)}
	p.Dir, p.Env = string(root), append(append(os.Environ(), "LOCAL_TEST_COMMAND=1"), env...)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.Stderr = p.Stdout
	require.NoError(t, p.Start())
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.mu.Lock()
			p.said.WriteString(scanner.Text() + "\n")
			p.mu.Unlock()
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	return p
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// waitFor returns when a line with text was said.
func (p *program) waitFor(t *testing.T, text string) {
	t.Helper()
	for patience := time.After(10 * time.Minute); ; { // a first build on a busy machine
		select {
		case line, ok := <-p.lines:
			require.True(t, ok, "it ended without %q:\n%s", text, p.output())
			if strings.Contains(line, text) {
				return
			}
		case <-patience:
			require.Fail(t, "nothing said "+text, p.output())
		}
	}
}

// end waits for the program's end and returns its exit code and all it said.
func (p *program) end(t *testing.T) (int, string) {
	t.Helper()
	for range p.lines {
	}
	_ = p.Wait() // the exit code says it
	return p.ProcessState.ExitCode(), p.output()
}

// freePorts are four, as numbers and as environment.
func freePorts(t *testing.T) (numbers map[string]int, env []string) {
	t.Helper()
	numbers = map[string]int{}
	for _, name := range []string{"HOST_PORT", "ISSUER_PORT", "PG_PORT", "REDIS_PORT", "SERVICEBUS_PORT", "RECEIVER_PORT"} {
		numbers[name] = freePort(t)
		env = append(env, name+"="+strconv.Itoa(numbers[name]))
	}
	for _, name := range []string{"DATABASE_URL", "MIGRATIONS_DATABASE_URL", "REDIS_URL", "AUTH_ISSUER", "AUTH_AUDIENCE", "LOG_LEVEL"} {
		env = append(env, name+"=")
	}
	return numbers, env
}

func allClosed(t *testing.T, ports map[string]int) {
	t.Helper()
	for name, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		require.NoError(t, err, "%s is free again", name)
		require.NoError(t, l.Close())
	}
}

// paste runs in a shell, in the checkout, what the stack printed for that.
func paste(t *testing.T, root checkout, env []string, welcome string) string {
	t.Helper()
	_, script, found := strings.Cut(welcome, "TOKEN=")
	require.True(t, found, "%s", welcome)
	const last = "/secrets -d @-" // what follows are the service's own lines
	end := strings.LastIndex(script, last)
	require.Positive(t, end, "%s", welcome)
	script = script[:end+len(last)] + "\n"
	cmd := exec.CommandContext(t.Context(), "sh", "-s")
	// A stranger is not inside of `make test`, whose flags would have make say where it is.
	cmd.Dir, cmd.Env = string(root), append(append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL="), env...)
	cmd.Stdin = strings.NewReader("TOKEN=" + script)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

// TestAStrangersFirstTenMinutes is issue and README in one: start, paste, paste again, kill, start, stop, reset.
func TestAStrangersFirstTenMinutes(t *testing.T) {
	t.Parallel()
	root := clone(t)
	ports, env := freePorts(t)

	stack := start(t, root, env, "run")
	stack.waitFor(t, "/secrets") // the last line that it prints
	first := paste(t, root, env, stack.output())
	assert.Equal(t, 1, strings.Count(first, "HTTP/1.1 201 Created"), "%s", first)
	assert.Equal(t, 1, strings.Count(first, "HTTP/1.1 200 OK"), "%s", first)
	assert.NotContains(t, first, "Idempotent-Replayed: true")
	second := paste(t, root, env, stack.output())
	assert.Contains(t, second, "Idempotent-Replayed: true")
	number := func(answer string) string {
		_, rest, _ := strings.Cut(answer, `"orderNumber":"`)
		n, _, _ := strings.Cut(rest, `"`)
		return n
	}
	assert.NotEmpty(t, number(first))
	assert.Equal(t, number(first), number(second))

	third := paste(t, root, env, regexp.MustCompile(`(Idempotency-Key: )[0-9a-f]`).ReplaceAllString(stack.output(), "${1}z"))
	assert.NotEqual(t, number(first), number(third))
	receiver := "http://127.0.0.1:" + strconv.Itoa(ports["RECEIVER_PORT"]) + "/received"
	var came string
	assert.Eventually(t, func() bool {
		res, err := http.Get(receiver)
		if err != nil {
			return false
		}
		raw, err := io.ReadAll(res.Body)
		came = string(raw)
		return errors.Join(err, res.Body.Close()) == nil && strings.Contains(came, number(third))
	}, time.Minute, 50*time.Millisecond, "the receiver was not told of the order: %s", &came)

	code, said := start(t, root, env, "run").end(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "a stack of this checkout is running")
	code, said = start(t, root, env, "reset").end(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "a stack of this checkout is running")
	code, said = start(t, clone(t), env, "run").end(t)
	assert.Equal(t, 1, code)
	for name := range ports {
		assert.Contains(t, said, "set "+name+" to another port", "another clone is told of every port")
	}
	code, said = start(t, root, env, "token", "--sub", "customer-9").end(t)
	assert.Equal(t, 0, code)
	assert.Regexp(t, `^ey[^ ]+\.[^ ]+\.[^ ]+\n$`, said)

	require.NoError(t, stack.Process.Kill())
	stack.end(t)
	stack = start(t, root, env, "run") // at once
	stack.waitFor(t, "/secrets")
	assert.Contains(t, stack.output(), "as it was", "the data is still there")

	require.NoError(t, stack.Process.Signal(syscall.SIGINT))
	code, said = stack.end(t)
	assert.Equal(t, 0, code, "%s", said)
	assert.Contains(t, said, "Nothing is left running")
	allClosed(t, ports)

	code, said = start(t, root, env, "reset").end(t)
	assert.Equal(t, 0, code, "%s", said)
	assert.NoDirExists(t, root.local("postgres"))
}

func TestServicesPassOnWhatTheirCommandSays(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	code, said := start(t, root, nil, "services", "--", "sh", "-c", `echo "$TEST_DATABASE_URL $TEST_REDIS_URL"; exit 7`).end(t)
	assert.Equal(t, 7, code)
	assert.Contains(t, said, "postgres://postgres:")
	assert.Contains(t, said, "redis://127.0.0.1:")
	code, said = start(t, root, nil, "services", "--", "/no/such/program").end(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "/no/such/program")

	p := start(t, root, nil, "services", "--", "sh", "-c", "trap 'echo told; exit 3' TERM; echo running; while :; do sleep 0.01; done")
	p.waitFor(t, "running")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	code, said = p.end(t)
	assert.Equal(t, 3, code)
	assert.Contains(t, said, "told")

	left, err := filepath.Glob(root.local("services-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestAStackEndsWithWhoStartedIt: make and "go run" pass no signal on when they are killed.
func TestAStackEndsWithWhoStartedIt(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	parent := exec.CommandContext(t.Context(), "sh", "-c", `"$0" services -- sh -c 'echo running; exec sleep 90' & wait`, os.Args[0])
	parent.Dir, parent.Env = string(root), append(os.Environ(), "LOCAL_TEST_COMMAND=1")
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "running\n", line)
	require.NoError(t, parent.Process.Kill())
	closed := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, out) // until the last of them has ended
		closed <- err
	}()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "the services outlive who started them")
	}
	_ = parent.Wait()
}

func TestHelpIsEverywhere(t *testing.T) {
	t.Parallel()
	root := newCheckout(t)
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"services", "--help"}, {"start", "--help"}, {"seed", "--help"}} {
		code, said := start(t, root, nil, args...).end(t)
		assert.Equal(t, 0, code)
		assert.Contains(t, said, "Usage: local")
	}
	code, said := start(t, root, nil, "rnu").end(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "rnu")
}
