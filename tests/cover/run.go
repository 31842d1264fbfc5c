package main

import (
	"bytes"
	"context"
	_ "embed" // what is added to programs
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// roots are what counts: all that is shipped, and the stack that people run on their own machine. Kits, programs and tests
// below tests/ are not counted. None of it is generated.
var roots = []string{"functions", "handler", "shared", "infra/local"}

// flush is added to the package of the standard library with which every instrumented program is linked, and no other.
// It can't be a file of ours: the instrumentation reads those from where they are, whatever an overlay says.
//
//go:embed testdata/flush.go
var flush string

// run is one measurement.
type run struct {
	options
	module string
	flags  string // GOFLAGS as the caller has them

	data string // the folder that all processes write into
}

func newRun(ctx context.Context, o options) (*run, error) {
	r := &run{options: o, data: filepath.Join(o.out, "data")}
	var err error
	if r.module, err = r.ask(ctx, "list", "-m"); err != nil {
		return nil, err
	}
	if r.flags, err = r.ask(ctx, "env", "GOFLAGS"); err != nil {
		return nil, err
	}
	root, err := r.ask(ctx, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(r.data); err != nil {
		return nil, fmt.Errorf("removing the last run's data: %w", err)
	}
	if err := os.MkdirAll(r.data, 0o750); err != nil {
		return nil, fmt.Errorf("making a folder for what is counted: %w", err)
	}
	added := r.file("flush.txt") // no source of a package here
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "src/internal/coverage/cfile/zz_flush.go"): added}})
	if err != nil {
		return nil, err
	}
	return r, errors.Join(os.WriteFile(added, []byte(strings.ReplaceAll(flush, "PLACE", r.data)), 0o600), os.WriteFile(r.file("overlay.json"), overlay, 0o600))
}

func (r *run) file(name string) string { return filepath.Join(r.data, name) }

// test runs the tests as `make test` does, but without -race, which would cost much and count the same.
func (r *run) test(ctx context.Context, out io.Writer) error {
	patterns := make([]string, len(roots))
	for i, root := range roots {
		patterns[i] = r.module + "/" + root + "/..."
	}
	args := append([]string{"test", "-p", "1", "-count=1", "-vet=off", "-timeout", "20m"}, r.packages...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-args", "-test.gocoverdir="+r.data)...) //nolint:gosec // what the caller asked for
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.repo, out, out
	// In GOFLAGS, so that every build below inherits them. Only in atomic mode can a running program be asked for its counters.
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+r.data,
		fmt.Sprintf("GOFLAGS=%s -cover -covermode=atomic -coverpkg=%s '-overlay=%s'", r.flags, strings.Join(patterns, ","), r.file("overlay.json")))
	// The test that is running ends with the go command, which does not see to that.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the tests: %w", err)
	}
	return nil
}

// merged is what all processes executed.
func (r *run) merged(ctx context.Context) (*profile, error) {
	if _, err := r.ask(ctx, "tool", "covdata", "textfmt", "-i="+r.data, "-o="+r.file("profile.txt")); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(r.file("profile.txt")) //nolint:gosec // in the folder that the caller named
	if err != nil {
		return nil, fmt.Errorf("reading what was executed: %w", err)
	}
	p, err := parseProfile(text)
	if err != nil {
		return nil, err
	}
	missing, err := r.missing(ctx, p)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("in none of the tests that were run are: %s", strings.Join(missing, ", "))
	}
	return p, err
}

// missing are the packages with code that no test was linked with, and whose statements are therefore in no count.
func (r *run) missing(ctx context.Context, p *profile) (list []string, err error) {
	args := []string{"list", "-f", "{{$p := .}}{{range .GoFiles}}{{$p.ImportPath}}/{{.}}\t{{$p.Dir}}/{{.}}\n{{end}}"}
	for _, root := range roots {
		args = append(args, "./"+root+"/...")
	}
	files, err := r.ask(ctx, args...)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for name := range p.blocks {
		known[packageOf(name)] = true
	}
	for line := range strings.Lines(files) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if name == "" || known[packageOf(name)] {
			continue
		}
		text, err := os.ReadFile(file) //nolint:gosec // a source of ours
		if err != nil {
			return nil, fmt.Errorf("reading a source: %w", err)
		}
		if bytes.Contains(text, []byte("\nfunc ")) {
			known[packageOf(name)], list = true, append(list, packageOf(name))
		}
	}
	return list, nil
}

// ask runs the go command and returns what it printed.
func (r *run) ask(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // arguments of ours
	cmd.Dir = r.repo
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}
