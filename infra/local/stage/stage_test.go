package stage_test

import (
	"archive/zip"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/stage"
)

const hostJSON = `{"version": "2.0", "customHandler": {"description": {"defaultExecutablePath": "serve"}}}`

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
}

func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[name] = string(text)
		return err
	}))
	return found
}

func TestStage(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	write(t, repo, map[string]string{
		"host.json": hostJSON, "local.settings.json": "{}", "binary": "elf", "functions/orders/orders.go": "package orders",
		"functions/orders/function.json": "1", "functions/orders/queued/function.json": "2",
		"functions/docs/testdata/x/function.json": "no", "functions/gone/function.json": "3",
	})
	options := stage.Options{Repo: repo, Binary: filepath.Join(repo, "binary"), Out: filepath.Join(repo, "dist"), LocalSettings: true}
	dir, err := stage.Stage(options)
	require.NoError(t, err)
	assert.Equal(t, options.Out, dir)
	assert.Equal(t, map[string]string{
		"host.json": hostJSON, "local.settings.json": "{}", "serve": "elf",
		"orders/function.json": "1", "orders-queued/function.json": "2", "gone/function.json": "3",
	}, list(t, dir))
	for name, mode := range map[string]fs.FileMode{"serve": 0o755, "host.json": 0o644, ".": 0o755} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}

	require.NoError(t, os.RemoveAll(filepath.Join(repo, "functions/gone")))
	options.LocalSettings = false
	dir, err = stage.Stage(options)
	require.NoError(t, err)
	after := list(t, dir)
	assert.NotContains(t, after, "gone/function.json", "a function that is gone must not run on")
	assert.NotContains(t, after, "local.settings.json")
	left, err := filepath.Glob(filepath.Join(repo, "dist*"))
	require.NoError(t, err)
	assert.Equal(t, []string{dir}, left, "nothing is left of the old one")
}

func TestStageRefuses(t *testing.T) {
	t.Parallel()
	for says, files := range map[string]map[string]string{
		"host.json: no such file":            {"host.json": ""},
		"must name a file below":             {"host.json": `{"customHandler": {"description": {"defaultExecutablePath": "/bin/sh"}}}`},
		"invalid character":                  {"host.json": "x"},
		"would both be staged as orders-new": {"functions/orders-new/function.json": "{}", "functions/orders/new/function.json": "{}"},
		"needs a folder of its own":          {"functions/function.json": "{}"},
		"no function.json in any folder":     {"functions/fine/function.json": ""},
		"binary: no such file":               {"binary": ""},
		"was not staged":                     {"dist/precious.txt": "x"},
		"holds something":                    {"dist/host.json": "x", "dist/go.mod": "x"},
	} {
		repo := t.TempDir()
		all := map[string]string{"host.json": hostJSON, "binary": "elf", "functions/fine/function.json": "{}"}
		for name, text := range files {
			if all[name] = text; text == "" {
				delete(all, name)
			}
		}
		write(t, repo, all)
		require.NoError(t, os.MkdirAll(filepath.Join(repo, "functions"), 0o700))
		before := list(t, repo)
		_, err := stage.Stage(stage.Options{Repo: repo, Binary: filepath.Join(repo, "binary"), Out: filepath.Join(repo, "dist")})
		require.ErrorContains(t, err, says)
		assert.Equal(t, before, list(t, repo), "a failure leaves everything as it was")
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	write(t, repo, map[string]string{
		"go.mod":            "module example.com/x\n\ngo 1.26\n",
		"handler/main.go":   "package main\n\nvar version string\n\nfunc main() { println(version, extra) }\n",
		"handler/plain.go":  "//go:build !faults\n\npackage main\n\nconst extra = \"plain\"\n",
		"handler/faults.go": "//go:build faults\n\npackage main\n\nconst extra = \"faults\"\n",
	})
	out := filepath.Join(repo, "out")
	require.NoError(t, stage.Build(t.Context(), repo, out, stage.BuildOptions{Version: "v1.2.3", Tags: []string{"faults"}}))
	said, err := exec.CommandContext(t.Context(), out).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "v1.2.3 faults\n", string(said))

	require.NoError(t, stage.Build(t.Context(), repo, out, stage.BuildOptions{GOOS: "linux", GOARCH: "arm64"}))
	file, err := elf.Open(out)
	require.NoError(t, err)
	defer file.Close()
	assert.Equal(t, elf.EM_AARCH64, file.Machine)

	write(t, repo, map[string]string{"handler/plain.go": "package main\n\nconst extra = nothing\n"})
	require.ErrorContains(t, stage.Build(t.Context(), repo, out, stage.BuildOptions{}), "undefined: nothing")
	require.ErrorContains(t, stage.Build(t.Context(), repo, out, stage.BuildOptions{Version: "a b"}), "holds a blank")
}

// Tests that break the handler on purpose would else test the handler as it is, without a word, when coverage is measured.
func TestAnOverlayIsKeptUnderCoverage(t *testing.T) {
	t.Setenv("GOFLAGS", "-cover -coverpkg=example.com/...")
	repo := t.TempDir()
	write(t, repo, map[string]string{
		"go.mod":          "module example.com/x\n\ngo 1.26\n",
		"handler/main.go": "package main\n\nfunc main() { println(\"whole\") }\n",
		"broken.go":       "package main\n\nfunc main() { println(\"broken\") }\n",
	})
	overlay := fmt.Sprintf(`{"Replace": {%q: %q}}`, filepath.Join(repo, "handler/main.go"), filepath.Join(repo, "broken.go"))
	write(t, repo, map[string]string{"overlay.json": overlay})
	out := filepath.Join(repo, "out")
	require.NoError(t, stage.Build(t.Context(), repo, out, stage.BuildOptions{Overlay: filepath.Join(repo, "overlay.json")}))
	said, err := exec.CommandContext(t.Context(), out).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "broken\n", string(said))
}

// TestZip packs one folder twice, the second time with other dates and modes, and looks at what is in it.
func TestZip(t *testing.T) {
	t.Parallel()
	dist := t.TempDir()
	write(t, dist, map[string]string{"host.json": "{}", "a/function.json": "{}", "a-b/function.json": "{}", "handler": "elf", "local.settings.json": "mine"})
	require.NoError(t, os.Chmod(filepath.Join(dist, "handler"), 0o700))
	out := filepath.Join(t.TempDir(), "new", "app.zip")
	first, err := stage.Zip(dist, out)
	require.NoError(t, err)
	content, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256(content)), first.SHA256)
	assert.Equal(t, int64(len(content)), first.Size)

	require.NoError(t, os.Chtimes(filepath.Join(dist, "host.json"), time.Now(), time.Unix(1e9, 0)))
	require.NoError(t, os.Chmod(filepath.Join(dist, "handler"), 0o755))
	again, err := stage.Zip(dist, out)
	require.NoError(t, err)
	assert.Equal(t, first, again)

	archive, err := zip.OpenReader(out)
	require.NoError(t, err)
	defer func() { _ = archive.Close() }()
	modes := map[string]os.FileMode{}
	for _, f := range archive.File {
		modes[f.Name] = f.Mode()
	}
	assert.Equal(t, map[string]os.FileMode{"host.json": 0o644, "a/function.json": 0o644, "a-b/function.json": 0o644, "handler": 0o755}, modes)

	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dist, "link")))
	_, err = stage.Zip(dist, out)
	require.ErrorContains(t, err, "is no file")
	left, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, content, left, "a failure leaves the old one")
}
