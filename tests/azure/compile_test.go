package azure

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// subscription is nobody's: unique names in the snapshots come of it.
const subscription = "00000000-0000-0000-0000-000000000001"

// unpacked is where the compiler puts its parts once for all runs of it.
var unpacked = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "bicep-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := unpacked(); err == nil {
		_ = os.RemoveAll(dir) // nothing is lost with it
	}
	os.Exit(code)
}

// bicep runs the compiler and returns what it printed and what it had to say.
func bicep(t *testing.T, args ...string) (out, said string) {
	t.Helper()
	compiler := os.Getenv("BICEP")
	for _, place := range []string{"bicep", "../../../shared/tools/bicep", filepath.Join(os.Getenv("HOME"), ".azure/bin/bicep")} {
		if compiler == "" {
			compiler, _ = exec.LookPath(filepath.FromSlash(place))
		}
	}
	if compiler == "" {
		if os.Getenv("CI") != "" && os.Getenv("WITHOUT_BICEP") == "" {
			t.Fatal("the Bicep compiler is not on PATH, and BICEP does not name it: az bicep install")
		}
		t.Skip("the Bicep compiler is not on PATH, and BICEP does not name it: az bicep install")
	}
	dir, err := unpacked()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), compiler, args...)
	cmd.Env = append(os.Environ(), "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1", "DOTNET_BUNDLE_EXTRACT_BASE_DIR="+dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		const enough = 8000 // a difference between snapshots can be as long as they are
		said := stdout.String() + stderr.String()
		t.Fatalf("bicep %s: %v\n%s", strings.Join(args, " "), err, said[:min(len(said), enough)])
	}
	return stdout.String(), stderr.String()
}

// TestBicepCompilesWithoutADiagnostic builds what is deployed. The compiler only warns of a misspelt property, so every
// diagnostic fails. It runs the linter too, over every module that main uses.
func TestBicepCompilesWithoutADiagnostic(t *testing.T) {
	t.Parallel()
	out, said := bicep(t, "build", "../../infra/main.bicep", "--stdout")
	assert.Empty(t, said)
	var template struct {
		Parameters map[string]struct {
			DefaultValue any  `json:"defaultValue"`
			Nullable     bool `json:"nullable"`
			Type         string
		}
		Outputs map[string]struct{ Type string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &template))
	for name, p := range template.Parameters {
		assert.True(t, name == "environment" || p.DefaultValue != nil || p.Nullable, "%s has no default: the one command names environment only", name)
		assert.NotContains(t, strings.ToLower(p.Type), "secure", "%s: no secret passes through a parameter", name)
	}
	for name, o := range template.Outputs {
		assert.NotContains(t, strings.ToLower(o.Type), "secure", "%s: no secret comes out", name)
	}
}

// TestEveryModuleIsUsedAndFormatted finds a module that main left behind, which nothing else would compile.
func TestEveryModuleIsUsedAndFormatted(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	var sources []string
	for _, root := range []string{"../../infra", "../../bicep"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && filepath.Ext(path) == ".bicep" {
				sources = append(sources, path)
			}
			return err
		}))
	}
	formatted := t.TempDir() // copies of all, which one run of the compiler formats
	for _, source := range sources {
		text, err := os.ReadFile(source)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(formatted, flat(source)), text, 0o600))
		for line := range strings.Lines(string(text)) {
			_, after, found := strings.Cut(line, "'")
			if named, _, _ := strings.Cut(after, "'"); found && strings.HasSuffix(named, ".bicep") {
				used[filepath.Clean(filepath.Join(filepath.Dir(source), named))] = true
			}
			if _, after, found := strings.Cut(line, " from '"); found {
				named, _, _ := strings.Cut(after, "'")
				used[filepath.Clean(filepath.Join(filepath.Dir(source), named))] = true
			}
		}
	}
	bicep(t, "format", "--pattern", filepath.Join(formatted, "*.bicep"))
	for _, source := range sources {
		if strings.Contains(source, "/modules/") || strings.Contains(source, "/types/") {
			assert.True(t, used[filepath.Clean(source)], "%s is used by nobody", source)
		}
		text, err := os.ReadFile(source)
		require.NoError(t, err)
		want, err := os.ReadFile(filepath.Join(formatted, flat(source)))
		require.NoError(t, err)
		assert.Equal(t, string(want), string(text), "bicep format %s", source)
	}
}

// flat is a path as one file's name.
func flat(path string) string {
	return strings.NewReplacer("../", "", "/", "--").Replace(filepath.ToSlash(path))
}

// TestSnapshotsAreWhatBicepWouldDeploy expands each environment and compares. UPDATE=1 writes the snapshots; read what
// changed in them before you commit it.
func TestSnapshotsAreWhatBicepWouldDeploy(t *testing.T) {
	t.Parallel()
	mode := "validate"
	if os.Getenv("UPDATE") != "" {
		mode = "overwrite"
	}
	for _, environment := range environments {
		_, said := bicep(t, "snapshot", "../../infra/params/"+environment+".bicepparam", "--mode", mode,
			"--subscription-id", subscription, "--location", "eastus")
		assert.Empty(t, said, environment)
	}
}

// expanded is the snapshot of a parameter file that none is committed of. The compiler writes it beside the file.
func expanded(t *testing.T, params string) []byte {
	t.Helper()
	bicep(t, "snapshot", params, "--mode", "overwrite", "--subscription-id", subscription, "--location", "eastus")
	written := strings.TrimSuffix(params, ".bicepparam") + ".snapshot.json"
	raw, err := os.ReadFile(written)
	require.NoError(t, err)
	require.NoError(t, os.Remove(written))
	return raw
}

// TestNamesFitWhatAzureTakes evaluates the naming functions for every region and environment that they know.
func TestNamesFitWhatAzureTakes(t *testing.T) {
	t.Parallel()
	var result struct {
		Outputs struct {
			Short, World, Pairs []string
		}
	}
	require.NoError(t, json.Unmarshal(expanded(t, "../../bicep/tests/names.bicepparam"), &result))
	require.Len(t, result.Outputs.Short, 3*9)
	for _, name := range result.Outputs.Short {
		assert.Regexp(t, `^[a-z][a-z0-9]{2,23}$`, name, "storage accounts and vaults")
	}
	for _, name := range result.Outputs.World {
		assert.Regexp(t, `^[a-z][a-z0-9-]{5,49}[a-z0-9]$`, name, "Service Bus, the strictest of the others")
	}
	assert.Len(t, unique(result.Outputs.Short), len(result.Outputs.Short))
	assert.Len(t, unique(result.Outputs.World), len(result.Outputs.World))
}

func unique(list []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range list {
		out[s] = true
	}
	return out
}
