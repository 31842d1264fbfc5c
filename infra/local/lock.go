package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

var errLocked = errors.New("held by another process")

// tryLock locks a file or folder until it is closed or the process ends, however it ends: the kernel keeps the
// lock, so a killed owner leaves none behind. Children don't inherit it.
func tryLock(path string) (io.Closer, error) {
	f, err := os.Open(path) //nolint:gosec // in our own folder
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return fileLock{f}, nil
}

// fileLock is a lock on a file that is open.
type fileLock struct{ *os.File }

// Close gives the lock back. To close the file is not enough: a child that is being started just now has it open until it
// executes its program.
func (l fileLock) Close() error {
	return errors.Join(syscall.Flock(int(l.Fd()), syscall.LOCK_UN), l.File.Close())
}

const lockFile = "stack.lock"

// stackLock is held by the one stack (or reset) of a checkout.
type stackLock struct {
	held io.Closer
	file string
	// unclean says that the last holder did not come to its end: its servers may be ending just now.
	unclean bool
}

// lock takes the checkout for a stack. The file says who holds it, for the message only.
func (c checkout) lock() (*stackLock, error) {
	if err := c.makeLocal(); err != nil {
		return nil, err
	}
	file := c.local(lockFile)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDONLY, 0o644) //nolint:gosec // a process id is no secret
	if err != nil {
		return nil, fmt.Errorf("making the stack's lock: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("making the stack's lock: %w", err)
	}
	held, err := tryLock(file)
	holder, readErr := os.ReadFile(file) //nolint:gosec // our own file
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("a stack of this checkout is running (process %s): stop it with Ctrl-C in its terminal, or `kill %s`",
			strings.TrimSpace(string(holder)), strings.TrimSpace(string(holder)))
	}
	if err := errors.Join(err, readErr); err != nil {
		return nil, err
	}
	l := &stackLock{held: held, file: file, unclean: len(holder) > 0}
	if err := os.WriteFile(file, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil { //nolint:gosec // as above
		return nil, errors.Join(fmt.Errorf("signing the stack's lock: %w", err), held.Close())
	}
	return l, nil
}

// release gives the checkout back. The file stays: deleting it would let two later stacks lock two files of one
// name.
func (l *stackLock) release() error {
	return errors.Join(os.Truncate(l.file, 0), l.held.Close())
}
