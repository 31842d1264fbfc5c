package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gatewayDocument is what API Management publishes, made from the code's own document.
const gatewayDocument = "../infra/apim/openapi.json"

// TestTheGatewayPublishesTheCodesOperations holds the committed document against the code: an operation that is added,
// renamed or gone is so at the gateway too. UPDATE=1 writes it.
func TestTheGatewayPublishesTheCodesOperations(t *testing.T) {
	t.Parallel()
	raw, err := testService(t).api.OpenAPI()
	require.NoError(t, err)
	want := forGateway(t, raw)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(gatewayDocument, want, 0o600))
	}
	have, err := os.ReadFile(gatewayDocument)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, have), "%s is not what the code serves: UPDATE=1 go test -run %s ./handler", gatewayDocument, t.Name())
	// Bicep reads files of up to 1,048,576 characters, API Management takes documents of up to 4 MB.
	assert.Less(t, len(have), 1<<20)
	assert.NotContains(t, string(have), `"/health`)
	assert.NotContains(t, string(have), `"/metrics"`)
}

// forGateway takes out what is not for the public, and what the gateway's own path and version say.
func forGateway(t *testing.T, raw []byte) []byte {
	t.Helper()
	const base = "/api/v1"
	var doc map[string]any
	require.NoError(t, json.Unmarshal(raw, &doc))
	paths := map[string]any{}
	for path, item := range doc["paths"].(map[string]any) {
		operations := item.(map[string]any)
		for method, operation := range operations {
			if one, ok := operation.(map[string]any); ok && one["x-internal"] == true {
				delete(operations, method)
			}
		}
		if len(operations) == 0 || path == "/graphql" { // which is an API of its own there
			continue
		}
		below, ok := strings.CutPrefix(path, base)
		require.True(t, ok, "%s is public and not below %s: the gateway would not find it", path, base)
		paths[below] = operations
	}
	doc["paths"] = paths
	doc["servers"] = []any{map[string]any{"url": base}}
	doc["info"].(map[string]any)["version"] = "v1"
	delete(doc, "webhooks") // the gateway has no place for them
	out, err := json.MarshalIndent(doc, "", " ")
	require.NoError(t, err)
	return append(out, '\n')
}
