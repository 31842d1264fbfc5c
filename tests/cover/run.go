package main

import (
	"bytes"
	"context"
	_ "embed" // what is added to the handler
	"encoding/json"
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

//go:embed testdata/flush.go
var flush string

// place is a package of the handler or of the local stack that nearly all processes of a test are linked with. There the
// place for the counters is set before anything looks for it, in processes too that are started with a bare environment.
const place = `package %s

import "os"

func init() {
	if os.Getenv("GOCOVERDIR") == "" {
		os.Setenv("GOCOVERDIR", %q)
	}
}
`

// run is one measurement.
type run struct {
	options
	module string
	flags  string // GOFLAGS as the caller has them

	// The tests' own processes write into one folder, those that they start into the other.
	tests, children string
	overlay         string
}

func newRun(ctx context.Context, o options) (*run, error) {
	data := filepath.Join(o.out, "data")
	r := &run{options: o, tests: filepath.Join(data, "tests"), children: filepath.Join(data, "children"), overlay: filepath.Join(data, "overlay.json")}
	var err error
	if r.module, err = r.ask(ctx, "list", "-m"); err != nil {
		return nil, err
	}
	if r.flags, err = r.ask(ctx, "env", "GOFLAGS"); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(data); err != nil {
		return nil, fmt.Errorf("removing the last run's data: %w", err)
	}
	for _, dir := range []string{r.tests, r.children} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("making a folder for what is counted: %w", err)
		}
	}
	return r, r.addFiles(data)
}

// addFiles writes the sources that only these builds have, and the overlay that tells the compiler of them.
func (r *run) addFiles(dir string) error {
	replace := map[string]string{}
	for at, text := range map[string]string{
		"handler":           flush,
		"shared/background": fmt.Sprintf(place, "background", r.children),
		"infra/local/child": fmt.Sprintf(place, "child", r.children),
	} {
		file := filepath.Join(dir, strings.ReplaceAll(at, "/", "_")+".go")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return fmt.Errorf("adding to %s: %w", at, err)
		}
		replace[filepath.Join(r.repo, filepath.FromSlash(at), "zz_cover.go")] = file
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(r.overlay, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the overlay: %w", err)
	}
	return nil
}

// test runs the tests as `make test` does, but without -race, which would cost much and count the same.
func (r *run) test(ctx context.Context, out io.Writer) error {
	patterns := make([]string, len(roots))
	for i, root := range roots {
		patterns[i] = r.module + "/" + root + "/..."
	}
	args := append([]string{"test", "-p", "1", "-count=1", "-vet=off", "-timeout", "20m"}, r.packages...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-args", "-test.gocoverdir="+r.tests)...) //nolint:gosec // what the caller asked for
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.repo, out, out
	// In GOFLAGS, so that every build below inherits them. Only in atomic mode can a running program be asked for its counters.
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+r.children, "COVER_OVERLAY="+r.overlay,
		fmt.Sprintf("GOFLAGS=%s -cover -covermode=atomic -coverpkg=%s '-overlay=%s'", r.flags, strings.Join(patterns, ","), r.overlay))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // it ends the test that is running
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the tests: %w", err)
	}
	return nil
}

// merged is what all processes executed.
func (r *run) merged(ctx context.Context) (*profile, error) {
	ours, err := r.profile(ctx, r.tests)
	if err != nil {
		return nil, err
	}
	all, err := r.profile(ctx, r.tests, r.children)
	if err != nil {
		return nil, err
	}
	p := all.within(ours)
	missing, err := r.missing(ctx, p)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("in none of the tests that were run are: %s", strings.Join(missing, ", "))
	}
	return p, err
}

// profile merges what was written into folders.
func (r *run) profile(ctx context.Context, dirs ...string) (*profile, error) {
	file := filepath.Join(r.out, "data", "profile.txt")
	if _, err := r.ask(ctx, "tool", "covdata", "textfmt", "-i="+strings.Join(dirs, ","), "-o="+file); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file) //nolint:gosec // just written
	if err != nil {
		return nil, fmt.Errorf("reading what was executed: %w", err)
	}
	return parseProfile(text)
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
