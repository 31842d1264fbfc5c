package tests

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBicepCompilesWithoutADiagnostic builds what is deployed. The compiler only warns of a misspelt property, so
// every diagnostic fails.
func TestBicepCompilesWithoutADiagnostic(t *testing.T) {
	t.Parallel()
	bicep, err := exec.LookPath("bicep")
	if err != nil {
		if bicep, err = exec.LookPath(filepath.FromSlash("../../shared/tools/bicep")); err != nil {
			t.Skip("the Bicep compiler is not on PATH: az bicep install")
		}
	}
	cmd := exec.CommandContext(t.Context(), bicep, "build", "../infra/main.bicep", "--stdout")
	cmd.Env = append(os.Environ(), "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1", "DOTNET_BUNDLE_EXTRACT_BASE_DIR="+t.TempDir())
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	require.NoError(t, cmd.Run(), "%s", &diagnostics)
	assert.Empty(t, diagnostics.String())
	var template struct {
		Parameters map[string]struct {
			DefaultValue any `json:"defaultValue"`
		} `json:"parameters"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &template))
	for name, p := range template.Parameters {
		assert.True(t, name == "environment" || p.DefaultValue != nil, "%s has no default: the one command names environment only", name)
	}
}
