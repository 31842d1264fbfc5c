package child

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStopEndsWhatWillNotEnd(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" INT; echo ready; while :; do sleep 1; done`)
	cmd.Stdout = w
	p, err := Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	_, err = r.Read(make([]byte, 10)) // the trap is set
	require.NoError(t, err)
	p.Stop(syscall.SIGINT, 50*time.Millisecond)
	<-p.Done()
	assert.Equal(t, -1, p.ExitCode())
	assert.Error(t, p.Err())
}

func TestStopIsPoliteFirst(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "exit 7" INT; echo ready; while :; do sleep 0.01; done`)
	cmd.Stdout = w
	p, err := Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	_, err = r.Read(make([]byte, 10))
	require.NoError(t, err)
	p.Stop(syscall.SIGINT, time.Minute)
	assert.Equal(t, 7, p.ExitCode())
}

func TestWaitForSaysHowAChildEnded(t *testing.T) {
	t.Parallel()
	p, err := Start(exec.CommandContext(t.Context(), "sh", "-c", "exit 3"), syscall.SIGKILL)
	require.NoError(t, err)
	port, err := FreePort()
	require.NoError(t, err)
	require.ErrorContains(t, p.WaitFor(port, time.Minute), "exit status 3")
	_, err = Start(exec.CommandContext(t.Context(), "/no/such/program"), syscall.SIGKILL)
	require.ErrorContains(t, err, "/no/such/program")
}

func TestAPortInUseNamesItsVariable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	err = PortFree(port, "HOST_PORT")
	require.ErrorContains(t, err, strconv.Itoa(port))
	require.ErrorContains(t, err, "HOST_PORT")
	require.NoError(t, l.Close())
	require.Eventually(t, func() bool { // another program may take a free port in between
		free, err := FreePort()
		return err == nil && PortFree(free, "HOST_PORT") == nil
	}, 10*time.Second, time.Millisecond)
}

// TestMain plays the parent that is killed: it starts a child, says its number, and waits.
func TestMain(m *testing.M) {
	if os.Getenv("CHILD_TEST_PARENT") != "" {
		p, err := Start(exec.Command("sleep", "600"), syscall.SIGKILL)
		if err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestAChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only Linux ends a child with its parent")
	}
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), "CHILD_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line := make([]byte, 20)
	n, err := out.Read(line)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	require.NoError(t, err)
	command := "/proc/" + strconv.Itoa(pid) + "/cmdline"
	alive := func() bool {
		raw, err := os.ReadFile(command)
		return err == nil && strings.HasPrefix(string(raw), "sleep")
	}
	require.Eventually(t, alive, 10*time.Second, time.Millisecond)
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	require.Eventually(t, func() bool { return !alive() }, 10*time.Second, 5*time.Millisecond)
}
