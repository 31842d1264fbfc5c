// Package stage makes a script root out of the repository: the folder that the Functions host, the real one or the
// local stand-in, runs, and that is zipped for a deployment.
//
// The repository keeps each function.json beside its slice's code, however deep; the host looks one level deep only.
// So functions/orders/queued/function.json becomes orders-queued/function.json, beside host.json and the handler
// that host.json names. Read Stage, then Build, then Zip.
package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Options say what is staged and where.
type Options struct {
	Repo          string // the repository's root
	Binary        string // the handler, as Build made it
	Out           string // the folder to make; whatever it held before is gone afterwards
	LocalSettings bool   // copy local.settings.json too, for Core Tools; never into what is deployed
}

// Stage makes the script root and returns its absolute path. It is made beside its place and swapped in when it is
// complete, so that nobody sees half of it and a function that is gone from the repository is gone from it too.
func Stage(options Options) (string, error) {
	out, err := filepath.Abs(options.Out)
	if err != nil {
		return "", fmt.Errorf("staging: %w", err)
	}
	if err := replaceable(out); err != nil {
		return "", fmt.Errorf("staging: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil { //nolint:gosec // read by whoever runs the app
		return "", fmt.Errorf("staging: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(out), filepath.Base(out)+".new-")
	if err != nil {
		return "", fmt.Errorf("staging: %w", err)
	}
	defer os.RemoveAll(fresh) //nolint:errcheck // what is left of a failure is a folder that nothing reads
	if err := fill(fresh, options); err != nil {
		return "", fmt.Errorf("staging: %w", err)
	}
	if err := swap(fresh, out); err != nil {
		return "", fmt.Errorf("staging: %w", err)
	}
	return out, nil
}

// replaceable refuses to replace a folder that was not staged, such as the repository itself.
func replaceable(out string) error {
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	_, noHost := os.Stat(filepath.Join(out, "host.json"))
	_, noModule := os.Stat(filepath.Join(out, "go.mod"))
	if noHost != nil || noModule == nil {
		return fmt.Errorf("%s is in the way: it holds something that was not staged; remove it or stage elsewhere", out)
	}
	return nil
}

func fill(dir string, options Options) error {
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // read by whoever runs the app
		return err
	}
	host := filepath.Join(options.Repo, "host.json")
	executable, err := executableName(host)
	if err != nil {
		return err
	}
	functions, err := find(filepath.Join(options.Repo, "functions"))
	if err != nil {
		return err
	}
	files := map[string]string{"host.json": host}
	for name, file := range functions {
		files[filepath.Join(name, "function.json")] = file
	}
	if options.LocalSettings {
		files["local.settings.json"] = filepath.Join(options.Repo, "local.settings.json")
	}
	for to, from := range files {
		if err := copyFile(from, filepath.Join(dir, to), 0o644); err != nil {
			return err
		}
	}
	return copyFile(options.Binary, filepath.Join(dir, executable), 0o755)
}

// executableName is the file that host.json calls the handler.
func executableName(host string) (string, error) {
	text, err := os.ReadFile(host) //nolint:gosec // a file of the repository
	if err != nil {
		return "", err
	}
	var parsed struct {
		CustomHandler struct {
			Description struct{ DefaultExecutablePath string }
		}
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		return "", fmt.Errorf("%s: %w", host, err)
	}
	name := parsed.CustomHandler.Description.DefaultExecutablePath
	if name == "" || !filepath.IsLocal(name) {
		return "", fmt.Errorf("%s: customHandler.description.defaultExecutablePath must name a file below the app's folder, is %q", host, name)
	}
	return name, nil
}

// find returns the function.json files below root by the names under which they are staged.
func find(root string) (map[string]string, error) {
	found := map[string]string{}
	var bad []error
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case entry.IsDir() || entry.Name() != "function.json":
			return nil
		}
		below, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(filepath.ToSlash(below), "/", "-")
		other, taken := found[strings.ToLower(name)]
		switch {
		case below == ".":
			bad = append(bad, fmt.Errorf("%s: a function needs a folder of its own below functions", path))
		case taken:
			bad = append(bad, fmt.Errorf("%s and %s would both be staged as %s; rename one folder", other, path, name))
		default:
			found[strings.ToLower(name)] = path
		}
		return nil
	})
	if err = errors.Join(append(bad, err)...); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no function.json in any folder below it", root)
	}
	return found, nil
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // read by whoever runs the app
		return err
	}
	source, err := os.Open(from) //nolint:gosec // a file of the repository
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) //nolint:gosec // a file of the repository
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	// Chmod, because the mode above passes through the umask and the host must be able to execute.
	return errors.Join(err, target.Chmod(mode), target.Close())
}

// swap puts fresh in out's place. Between its two steps out is missing for a moment; it is never half there.
func swap(fresh, out string) error {
	old := fresh + ".old"
	err := os.Rename(out, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, out); err != nil {
		// The old one is better than none.
		return errors.Join(err, os.Rename(old, out))
	}
	return os.RemoveAll(old)
}

// BuildOptions say for what machine the handler is built; zero values mean this one.
type BuildOptions struct {
	GOOS, GOARCH string
	Version      string   // what the handler calls itself
	Tags         []string // build tags, for tests that need a handler with fault points
	Overlay      string   // a file that replaces sources (go help build), for tests that need a broken handler
	Toolchain    string   // which Go, as GOTOOLCHAIN names it
}

// Go is what releases are built with: a patch version, as what is wrong with the standard library is wrong with us. It need
// not be what developers have, and is fetched like a module.
const Go = "go1.26.10"

// Toolchain is Go where it can be had, or what is installed when that is newer, as GOTOOLCHAIN names it.
func Toolchain(ctx context.Context) (string, error) {
	installed, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("asking for Go's version: %w", err)
	}
	if version.Compare(strings.TrimSpace(string(installed)), Go) >= 0 {
		return "local", nil
	}
	try := exec.CommandContext(ctx, "go", "version")
	try.Env = append(os.Environ(), "GOTOOLCHAIN="+Go)
	if said, err := try.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching %s: %w: %s", Go, err, bytes.TrimSpace(said))
	}
	return Go, nil
}

// Build compiles the handler in repo into the file out: static, without paths of this machine in it.
func Build(ctx context.Context, repo, out string, options BuildOptions) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("building the handler: %w", err)
	}
	flags := "-s -w"
	if options.Version != "" {
		if strings.ContainsAny(options.Version, " '\"") {
			return fmt.Errorf("building the handler: version %q holds a blank or a quote", options.Version)
		}
		flags += " -X main.version=" + options.Version
	}
	// What git knows is not in the binary, so a commit built in another checkout has the same bytes; the version says it.
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", out}
	if len(options.Tags) > 0 {
		args = append(args, "-tags", strings.Join(options.Tags, ","))
	}
	if options.Overlay != "" {
		// Instrumentation reads the sources from where they are, so a build for coverage would lose what was replaced.
		args = append(args, "-overlay", options.Overlay, "-cover=false")
	}
	build := exec.CommandContext(ctx, "go", append(args, "./handler")...) //nolint:gosec // our own tree and options
	build.Dir = repo
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if options.GOOS != "" {
		build.Env = append(build.Env, "GOOS="+options.GOOS)
	}
	if options.Toolchain != "" {
		build.Env = append(build.Env, "GOTOOLCHAIN="+options.Toolchain)
	}
	if options.GOARCH != "" {
		build.Env = append(build.Env, "GOARCH="+options.GOARCH)
	}
	var said bytes.Buffer
	build.Stdout, build.Stderr = &said, &said
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the handler: %w\n%s", err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
