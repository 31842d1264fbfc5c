package tests

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The local token issuer gives whoever asks a token for whoever they like. What runs in Azure has no way to it, nor to
// anything else of the local stack: by the compiler's own list of what the handler is made of.
func TestTheHandlerIsBuiltWithoutTheLocalStack(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./handler")
	list.Dir = ".."
	raw, err := list.Output()
	require.NoError(t, err)
	packages := strings.Fields(string(raw))
	require.Contains(t, packages, module+"shared/auth", "the list is the one of the handler")
	for _, p := range packages {
		inside, ours := strings.CutPrefix(p, module)
		if ours {
			assert.False(t, strings.HasPrefix(inside, "infra/") || strings.HasPrefix(inside, "tests/"), "the handler is built with %s", inside)
		}
	}
}
