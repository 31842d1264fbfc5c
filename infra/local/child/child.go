// Package child starts the servers of the local stack so that they can't outlive it: a child is killed by the
// kernel when the process that started it dies, however that happened (on Linux; elsewhere it is best effort).
package child

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a running child.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts cmd in a process group of its own, so that a Ctrl-C in the terminal reaches only us and we end the
// children in order. dead is the signal the child gets when we die; 0 leaves it behind.
func Start(cmd *exec.Cmd, dead syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	dieWithParent(cmd.SysProcAttr, dead)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the child to this thread, not to the process: the thread must live as long as it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended, once Done is closed.
func (p *Process) Err() error { return p.err }

// ExitCode is the child's exit code once Done is closed, -1 when a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Signal sends sig to the child.
func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Stop sends sig, waits up to patience, and kills what is left.
func (p *Process) Stop(sig syscall.Signal, patience time.Duration) {
	p.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.Signal(syscall.SIGKILL)
		<-p.done
	}
}

// PortFree says whether 127.0.0.1:port can be listened on; the error names the variable that changes it.
func PortFree(port int, variable string) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // asks the kernel and nobody else
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is in use: end what listens there, or set %s to another port", port, variable)
	}
	if err != nil {
		return fmt.Errorf("port %d (%s): %w", port, variable, err)
	}
	return l.Close()
}

// FreePort is a port that nobody listened on a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // asks the kernel and nobody else
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// WaitFor waits until 127.0.0.1:port accepts a connection, the child ends, or patience is over.
func (p *Process) WaitFor(port int, patience time.Duration) error {
	deadline := time.After(patience)
	for {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second) //nolint:noctx // bounded
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w", p.cmd.Path, errors.Join(p.err, os.ErrProcessDone))
		case <-deadline:
			return fmt.Errorf("%s does not answer on port %d", p.cmd.Path, port)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
