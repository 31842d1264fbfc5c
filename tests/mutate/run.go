package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/child"
)

// fate is what became of a mutant.
type fate string

const (
	killed   fate = "killed"
	survived fate = "survived"
	dead     fate = "dead" // it doesn't compile, so nobody could commit it
)

// result is a mutant's fate, and the first test that failed.
type result struct {
	fate fate
	by   string
}

// suite is the tests of a package.
type suite struct {
	dir   string
	run   string   // which of them are asked (-test.run); "": all
	slow  []string // those for what the others let pass
	bound time.Duration
}

// bench is where mutants are compiled and tried.
type bench struct {
	scratch string
	run     string        // of every suite
	slow    time.Duration // what takes longer is asked last
	say     io.Writer
	suites  map[string]*suite // that were measured, by their folder
}

// try tries all chosen mutants of a package.
func (b *bench) try(ctx context.Context, p *pkg) error {
	fmt.Fprintf(b.say, "%s: %d of %d mutants\n", p.dir, len(p.chosen), len(p.all))
	for i, m := range p.chosen {
		started := time.Now()
		r, err := b.attempt(ctx, m, append([]string{p.dir}, witnesses[p.dir]...))
		if err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
		p.results = append(p.results, r)
		by := ""
		if r.by != "" {
			by = " by " + r.by
		}
		fmt.Fprintf(b.say, "%3d/%d %s: %s%s, %.1f s\n", i+1, len(p.chosen), m, r.fate, by, time.Since(started).Seconds())
	}
	return nil
}

// passed is a test's line when it has passed, and its time.
var passed = regexp.MustCompile(`(?m)^--- PASS: (\S+) \((\d+\.\d+s)\)`)

// measure runs the tests of a package as it is. They must pass, or every mutant would seem to be found.
func (b *bench) measure(ctx context.Context, dir string) (*suite, error) {
	if s := b.suites[dir]; s != nil {
		return s, nil
	}
	s := &suite{dir: dir, run: b.run, bound: 10 * time.Minute}
	compiled, said, err := b.compile(ctx, dir)
	if err != nil {
		return nil, err
	}
	if !compiled {
		return nil, fmt.Errorf("the package doesn't compile as it is:\n%s", said)
	}
	started := time.Now()
	failed, said, err := b.test(ctx, s, "-test.run", s.run)
	if err != nil {
		return nil, err
	}
	if failed != "" {
		return nil, fmt.Errorf("%s fails without a mutant:\n%s", failed, said)
	}
	took := time.Since(started)
	tests := passed.FindAllStringSubmatch(said, -1)
	for _, test := range tests {
		if d, err := time.ParseDuration(test[2]); err == nil && d > b.slow {
			s.slow = append(s.slow, test[1])
		}
	}
	if len(s.slow) == len(tests) {
		s.slow = nil
	}
	s.bound = 3*took + 20*time.Second
	fmt.Fprintf(b.say, "%s: %d tests pass as it is, in %.0f s; slow ones: %s\n", dir, len(tests), took.Seconds(), strings.Join(s.slow, " "))
	b.suites[dir] = s
	return s, nil
}

// attempt compiles one mutant and asks the tests about it, those of one package after the other.
func (b *bench) attempt(ctx context.Context, m mutant, dirs []string) (result, error) {
	if err := b.overlay(m); err != nil {
		return result{}, err
	}
	for _, dir := range dirs {
		s, err := b.measure(ctx, dir)
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", dir, err)
		}
		compiled, _, err := b.compile(ctx, s.dir, "-overlay", filepath.Join(b.scratch, "overlay.json"))
		switch {
		case err != nil:
			return result{}, err
		case !compiled:
			return result{fate: dead}, nil
		}
		for _, only := range s.rounds() {
			failed, _, err := b.test(ctx, s, only...)
			if err != nil || failed != "" {
				return result{fate: killed, by: failed}, err
			}
		}
	}
	return result{fate: survived}, nil
}

// rounds are the flags that run the quick tests first, and then the slow ones.
func (s *suite) rounds() [][]string {
	if len(s.slow) == 0 {
		return [][]string{{"-test.run", s.run}}
	}
	names := "^(" + strings.Join(s.slow, "|") + ")$"
	return [][]string{{"-test.run", s.run, "-test.skip", names}, {"-test.run", names}}
}

// overlay writes the broken file and what tells the compiler of it.
func (b *bench) overlay(m mutant) error {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return err
	}
	broken := filepath.Join(b.scratch, "broken.go")
	if err := os.WriteFile(broken, m.apply(text), 0o600); err != nil { //nolint:gosec // in a folder of our own
		return err
	}
	raw, err := json.Marshal(map[string]any{"Replace": map[string]string{original: broken}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.scratch, "overlay.json"), raw, 0o600)
}

func (b *bench) binary() string { return filepath.Join(b.scratch, "package.test") }

// compile makes the package's tests. That they don't compile is no error.
func (b *bench) compile(ctx context.Context, dir string, flags ...string) (ok bool, said string, err error) {
	args := append([]string{"test", "-c", "-o", b.binary()}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+dir)...) //nolint:gosec // a package that the caller named
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return false, string(out), nil
	}
	return err == nil, string(out), err
}

// test runs the compiled tests until one fails, and names it; "" when all pass. What does not end in time has failed as well.
func (b *bench) test(ctx context.Context, s *suite, only ...string) (failed, said string, err error) {
	cmd := exec.Command(b.binary(), append([]string{"-test.v", "-test.count=1", "-test.timeout=0"}, only...)...) //nolint:gosec,noctx // ended below, with its children
	watch := &watcher{failed: make(chan string, 1)}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = s.dir, watch, watch, 5*time.Second
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return "", "", err
	}
	timeout := time.NewTimer(s.bound)
	defer timeout.Stop()
	select {
	case <-process.Done():
		select {
		case failed = <-watch.failed:
		default:
			if process.Err() != nil {
				failed = "the process that ended: " + process.Err().Error()
			}
		}
		return failed, watch.String(), nil
	case failed = <-watch.failed:
	case <-timeout.C:
		failed = "the clock: no end in " + s.bound.Round(time.Second).String()
	case <-ctx.Done():
		err = ctx.Err()
	}
	process.Stop(syscall.SIGKILL, 0)
	return failed, watch.String(), errors.Join(err, dropDatabases(process.PID()))
}

// dropDatabases drops those of a process that could not do it (tests/kit names them after it).
func dropDatabases(pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin, err := pgx.Connect(ctx, os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("dropping the databases of a killed test: %w", err)
	}
	defer func() { _ = admin.Close(ctx) }() // nothing is lost with it
	rows, err := admin.Query(ctx, "SELECT datname FROM pg_database WHERE datname ~ $1", fmt.Sprintf("^t_%d_[0-9]+$", pid))
	if err != nil {
		return fmt.Errorf("looking for the databases of a killed test: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		if err == nil {
			_, err = admin.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
		}
	}
	if err != nil {
		return fmt.Errorf("dropping the databases of a killed test: %w", err)
	}
	return nil
}

// watcher keeps what tests say and names the first that fails, as soon as it says so.
type watcher struct {
	failed chan string

	mu  sync.Mutex
	all bytes.Buffer
	end int // of the last whole line
}

var failing = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*|fatal error: .*)$`)

// Write implements io.Writer.
func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(p)
	fresh := w.all.Bytes()[w.end:]
	whole := bytes.LastIndexByte(fresh, '\n') + 1
	if found := failing.FindSubmatch(fresh[:whole]); found != nil {
		select {
		case w.failed <- string(slices.Concat(found[1], found[2])):
		default:
		}
	}
	w.end += whole
	return len(p), nil
}

// String is all that was said.
func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}
