package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/auth"
)

// testService is the handler's service as wired, with nothing behind it.
func testService(t *testing.T) *service {
	t.Helper()
	c, err := load(environment(nil))
	require.NoError(t, err)
	s := connected(t, c, slog.New(slog.DiscardHandler))
	t.Cleanup(s.close)
	return s
}

// Every operation asks for a token by a policy of the table, and no policy is there for nothing.
func TestEveryOperationHasAPolicyOfTheTable(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, op := range testService(t).api.Operations() {
		require.NotNil(t, op.Policy, "%s lets everybody in", op.ID)
		named, ok := auth.PolicyNamed(op.Policy.Name)
		assert.True(t, ok && named == *op.Policy, "%s has a policy of its own: %+v", op.ID, *op.Policy)
		used[op.Policy.Name] = true
	}
	for _, p := range auth.Policies() {
		assert.True(t, used[p.Name], "no operation has the policy %s", p.Name)
	}
}

// The gateway publishes what the document does not mark as internal: a probe without the mark would be public, and
// an operation with it unreachable.
func TestProbesAndMetricsAreInternal(t *testing.T) {
	t.Parallel()
	s := testService(t)
	raw, err := s.api.OpenAPI()
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))

	var internal []string
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			mark, marked := operation.Extensions["x-internal"]
			if !marked {
				assert.True(t, strings.HasPrefix(path, "/api/v1/") || path == "/graphql", "%s %s is public", method, path)
				assert.NotNil(t, operation.Security, "%s %s asks for no token", method, path)
				continue
			}
			text, err := json.Marshal(mark)
			require.NoError(t, err)
			assert.Equal(t, "true", string(text))
			internal = append(internal, method+" "+path)
		}
	}
	assert.ElementsMatch(t, []string{"GET /health/live", "GET /health/ready", "GET /health/startup", "GET /metrics"}, internal)
}
