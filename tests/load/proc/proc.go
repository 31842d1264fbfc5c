// Package proc reads from Linux's /proc how much processor time processes have used, so that a benchmark can say where
// each microsecond of a request goes. On a machine that others use too, this says more than requests per second do.
// Elsewhere than on Linux there is nothing to read, and Available says so.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// Available says whether times can be read here.
func Available() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// process is what /proc/PID/stat says that matters here.
type process struct {
	parent    int
	own, dead time.Duration // its own, and its children's that have ended and were waited for
}

// read reads one process; the error is fs.ErrNotExist when it is gone.
func read(pid int) (process, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, fmt.Errorf("reading process %d: %w", pid, err)
	}
	p, err := parse(raw)
	if err != nil {
		return process{}, fmt.Errorf("reading process %d: %w", pid, err)
	}
	return p, nil
}

// parse reads a line of /proc/PID/stat. The name comes in brackets and may hold anything, brackets too.
func parse(raw []byte) (p process, err error) {
	end := bytes.LastIndexByte(raw, ')')
	if end < 0 {
		return p, errors.New("it has no name")
	}
	fields := strings.Fields(string(raw[end+1:])) // the third one first
	if len(fields) < 15 {
		return p, errors.New("it is too short")
	}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return p, err
	}
	var ticks [4]int64
	for i := range ticks { // utime, stime, cutime, cstime
		if ticks[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return p, err
		}
	}
	p.own, p.dead = time.Duration(ticks[0]+ticks[1])*tick, time.Duration(ticks[2]+ticks[3])*tick
	return p, nil
}

// Parent is the process that started pid.
func Parent(pid int) (int, error) {
	p, err := read(pid)
	return p.parent, err
}

// Children are the processes that pid has started and that still run.
func Children(pid int) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var list []int
	for _, dir := range dirs {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue // not a process
		}
		p, err := read(child)
		if errors.Is(err, fs.ErrNotExist) || err != nil && gone(child) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		if p.parent == pid {
			list = append(list, child)
		}
	}
	return list, nil
}

func gone(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err != nil
}

// Used is the processor time of a process alone, without its children.
func Used(pid int) (time.Duration, error) {
	p, err := read(pid)
	return p.own, err
}

// UsedByAll is the processor time of a process and its children, of those too that it has waited for.
func UsedByAll(pid int) (time.Duration, error) {
	own, err := Used(pid)
	if err != nil {
		return 0, err
	}
	children, err := UsedByChildren(pid)
	return own + children, err
}

// UsedByChildren is the processor time of a process's children, of those too that it has waited for.
func UsedByChildren(pid int) (time.Duration, error) {
	children, err := Children(pid)
	if err != nil {
		return 0, err
	}
	p, err := read(pid)
	if err != nil {
		return 0, err
	}
	all := p.dead
	for _, child := range children {
		if c, err := read(child); err == nil { // else it has just ended, and counts as dead the next time
			all += c.own
		}
	}
	return all, nil
}

// Machine is the processor time of all processes and the kernel, and what there was to use.
func Machine() (busy, all time.Duration, err error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("reading the machine's times: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat does not begin with the times of all processors")
	}
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal; guests are in user
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading the machine's times: %w", err)
		}
		all += time.Duration(n) * tick
		if i != 3 && i != 4 {
			busy += time.Duration(n) * tick
		}
	}
	return busy, all, nil
}
