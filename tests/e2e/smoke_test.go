package e2e

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
)

// TestTheSmokeTestOfTheDeployment runs it against a service that is well, and against one that takes no token of ours.
func TestTheSmokeTestOfTheDeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	ask := func(token string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "../../infra/scripts/smoke.sh")
		cmd.Env = append(os.Environ(), "BASE_URL=http://"+s.Addr(), "TOKEN="+token)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := ask(w.token(t, "ada"))
	require.NoError(t, err, out)
	assert.Contains(t, out, "all well")
	out, err = ask("not-a-token")
	require.Error(t, err, out)
	assert.Contains(t, out, "answered 401, not 200")
}
