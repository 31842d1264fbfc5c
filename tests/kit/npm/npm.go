// Package npm runs scripts of tests with published JavaScript packages, in a process of their own: clients and checks
// that share no line with us.
//
// The packages come from npm, in the versions and with the digests of a package-lock.json, once into .local/.
package npm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Project is a folder of scripts with their package.json and package-lock.json.
type Project struct {
	Name   string
	Files  fs.FS
	Proves string // what nobody knows where node and npm are missing
}

// Run gives a script its input as JSON and reads its output as JSON. Without node and npm the test is skipped, except
// in CI, which has both.
func (p Project) Run(t *testing.T, script string, input, output any) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not on PATH: CI proves that %s", tool, p.Proves)
			}
			t.Skipf("NOT PROVEN HERE: %s is not on PATH, so nothing says that %s", tool, p.Proves)
		}
	}
	raw, err := json.Marshal(input)
	require.NoError(t, err)
	out := run(t, p.install(t), bytes.NewReader(raw), "node", script)
	require.NoError(t, json.Unmarshal(out, output), "%s", out)
}

// install puts the packages where they are found next time. The folder is made aside and moved: several test processes
// may do this at once, and whoever comes second uses what is there.
func (p Project) install(t *testing.T) string {
	t.Helper()
	local := filepath.Join(root(t), ".local")
	sum, contents := sha256.New(), map[string][]byte{}
	entries, err := fs.ReadDir(p.Files, ".")
	require.NoError(t, err)
	for _, entry := range entries {
		raw, err := fs.ReadFile(p.Files, entry.Name())
		require.NoError(t, err)
		contents[entry.Name()] = raw
		sum.Write(raw)
	}
	dir := filepath.Join(local, p.Name+"-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	require.NoError(t, os.MkdirAll(local, 0o750))
	aside, err := os.MkdirTemp(local, p.Name+"-new-") //nolint:usetesting // must be on the file system it is moved within
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(aside) }()
	for name, raw := range contents {
		require.NoError(t, os.WriteFile(filepath.Join(aside, name), raw, 0o600))
	}
	run(t, aside, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	if err := os.Rename(aside, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		_, found := os.Stat(dir)
		require.NoError(t, found, "%v", err)
	}
	return dir
}

func run(t *testing.T, dir string, in *bytes.Reader, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // one of the two commands above
	cmd.Dir = dir
	if in != nil {
		cmd.Stdin = in
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", name, &stderr)
	return out
}

// root is the folder of go.mod, found from where the test runs: its package's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		require.NotEqual(t, parent, dir, "there is no go.mod above the test's folder")
		dir = parent
	}
}
