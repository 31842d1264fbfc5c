package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// pack runs `make package` in a copy of the repository, and returns the zip. tool is infra/local, built as make does it.
func pack(t *testing.T, repo, tool string) string {
	t.Helper()
	to := copied(t, repo)
	cmd := exec.CommandContext(t.Context(), tool, "package", "--version", "packed")
	cmd.Dir = to
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	file := filepath.Join(to, "bin", "order-catalog.zip")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	assert.Contains(t, string(out), hex.EncodeToString(sum[:]), "the command says another digest")
	t.Logf("%d bytes, sha256 %x", len(content), sum)
	return file
}

// TestThePackageRunsOnABareMachine unpacks the zip and runs it behind the host with nothing but its settings, after
// looking at what is in it. The same commit in another folder gives the same bytes.
func TestThePackageRunsOnABareMachine(t *testing.T) {
	t.Parallel()
	repo, err := filepath.Abs("../..")
	require.NoError(t, err)
	tool := filepath.Join(t.TempDir(), "local")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", tool, "./infra/local")
	build.Dir, build.Env = repo, append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	file := pack(t, repo, tool)
	one, err := os.ReadFile(file)
	require.NoError(t, err)
	other, err := os.ReadFile(pack(t, repo, tool))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(one, other), "another folder, the same files, other bytes")
	assert.Less(t, len(one), 30<<20)

	archive, err := zip.OpenReader(file)
	require.NoError(t, err)
	defer func() { _ = archive.Close() }()
	root := t.TempDir()
	names := map[string]bool{}
	for _, f := range archive.File {
		names[f.Name] = true
		want := fs.FileMode(0o644)
		if f.Name == "handler" {
			want = 0o755
		}
		assert.Equal(t, want, f.Mode(), f.Name)
		to := filepath.Join(root, filepath.FromSlash(f.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o700))
		in, err := f.Open()
		require.NoError(t, err)
		content, err := io.ReadAll(in)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, content, f.Mode()))
		require.NoError(t, os.Chmod(to, f.Mode()))
	}
	assert.True(t, names["host.json"] && names["orders/function.json"] && names["webhooks-fanout/function.json"], "%v", names)
	assert.False(t, names["local.settings.json"], "a developer's settings are not for Azure")

	binary, err := elf.Open(filepath.Join(root, "handler"))
	require.NoError(t, err)
	defer func() { _ = binary.Close() }()
	assert.Equal(t, elf.EM_X86_64, binary.Machine)
	for _, segment := range binary.Progs {
		assert.NotEqual(t, elf.PT_INTERP, segment.Type, "it needs a loader, and libraries that may not be there")
	}
	if goruntime.GOOS != "linux" || goruntime.GOARCH != "amd64" {
		return // it was built for a machine that this isn't
	}
	w := newWorld(t)
	s := w.startAt(t, root, w.AppURL, host.Limits{})
	customer := "customer-" + kit.Unique(t)
	got, err := s.send(t.Context(), call{
		method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, customer), key: uuid.NewString(),
		body: draft(customer, map[string]int{w.Product(t, 1).String(): 1}),
	})
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, got.status, "%s", got.body)
}

// copied is the repository as git has it, with what is not committed yet, in another folder.
func copied(t *testing.T, repo string) string {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), "git", "-C", repo, "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("git ls-files: %v", err)
		}
		t.Skipf("not a git checkout: %v", err)
	}
	to := t.TempDir()
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		content, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			continue // deleted, and not committed yet
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(to, name), content, 0o600))
	}
	return to
}
