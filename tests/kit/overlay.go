package kit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Patch is a change of one source file: From must be in it exactly once.
type Patch struct{ File, From, To string }

// Overlay writes patched copies of source files of the repository at root, and new files by their path in it, and returns
// the file that tells the compiler of them (stage.BuildOptions).
func Overlay(t testing.TB, root string, patches []Patch, added map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	place := func(file, text string) {
		if _, known := replace[file]; !known {
			replace[file] = filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		}
		require.NoError(t, os.WriteFile(replace[file], []byte(text), 0o600)) //nolint:gosec // in the test's own folder
	}
	for name, text := range added {
		file, err := filepath.Abs(filepath.Join(root, name))
		require.NoError(t, err)
		place(file, text)
	}
	for _, p := range patches {
		file, err := filepath.Abs(filepath.Join(root, p.File))
		require.NoError(t, err)
		from := file
		if done, ok := replace[file]; ok {
			from = done
		}
		raw, err := os.ReadFile(from) //nolint:gosec // a source of this repository
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(raw), p.From), "%s has changed: mend the patch of %q", p.File, p.From)
		place(file, strings.Replace(string(raw), p.From, p.To, 1))
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	name := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	return name
}
