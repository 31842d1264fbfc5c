// Package jswebhooks verifies deliveries with the published Standard Webhooks library for JavaScript, in a process
// of its own: a receiver that shares no line with us.
//
// The library comes from npm, in the versions and with the digests of package-lock.json, once into .local/.
package jswebhooks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

//go:embed package.json package-lock.json verify.js
var files embed.FS

// Delivery is what a receiver has in its hands.
type Delivery struct {
	Key    string // whsec_ or whpk_
	Header http.Header
	Body   []byte
}

// Verify answers, for each delivery, "" where it is verified and else what the library says. Without node and npm
// the test is skipped, except in CI, which has both.
func Verify(t *testing.T, deliveries ...Delivery) []string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not on PATH: CI proves that JavaScript receivers verify our signatures", tool)
			}
			t.Skipf("NOT PROVEN HERE: %s is not on PATH, so nothing says that JavaScript receivers verify our signatures", tool)
		}
	}
	type one struct {
		Key     string            `json:"key"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
	}
	input := make([]one, 0, len(deliveries))
	for _, d := range deliveries {
		headers := map[string]string{}
		for name := range d.Header {
			headers[strings.ToLower(name)] = d.Header.Get(name) // as Node's http module has them
		}
		input = append(input, one{d.Key, headers, d.Body})
	}
	raw, err := json.Marshal(input)
	require.NoError(t, err)
	out := run(t, install(t), bytes.NewReader(raw), "node", "verify.js")
	var verdicts []string
	require.NoError(t, json.Unmarshal(out, &verdicts), "%s", out)
	require.Len(t, verdicts, len(deliveries))
	return verdicts
}

// install puts the library where it is found next time. The folder is made aside and moved: several test
// processes may do this at once, and whoever comes second uses what is there.
func install(t *testing.T) string {
	t.Helper()
	local := filepath.Join(root(t), ".local")
	sum := sha256.New()
	names := []string{"package.json", "package-lock.json", "verify.js"}
	for _, name := range names {
		raw, err := files.ReadFile(name)
		require.NoError(t, err)
		sum.Write(raw)
	}
	dir := filepath.Join(local, "jswebhooks-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	require.NoError(t, os.MkdirAll(local, 0o750))
	aside, err := os.MkdirTemp(local, "jswebhooks-new-") //nolint:usetesting // must be on the file system it is moved within
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(aside) }()
	for _, name := range names {
		raw, err := files.ReadFile(name)
		require.NoError(t, err)
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
