//go:build contracts

package pact

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pact-foundation/pact-go/v2/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// provider is the service, as contracts name it.
const provider = "order-catalog"

// members is an object of a body; what is in it is said as it must be, or by a matcher.
type members = map[string]any

func TestMain(m *testing.M) {
	if err := log.SetLogLevel("WARN"); err != nil {
		slog.Error("the library's log", "error", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// committed holds the contract that a test wrote into dir against the one in the repository. UPDATE=1 writes it there.
func committed(t *testing.T, dir, consumer string) {
	t.Helper()
	name := consumer + "-" + provider + ".json"
	written, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	now := inOrder(t, written)
	file := filepath.Join("pacts", name)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(file, now, 0o600))
	}
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(now), "what %s relies on has changed: make contracts UPDATE=1, and commit it", consumer)
}

// inOrder is a contract whose interactions stand in the order of their descriptions, whoever wrote first.
func inOrder(t *testing.T, contract []byte) []byte {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(contract, &doc))
	list, ok := doc["interactions"].([]any)
	require.True(t, ok, "%s", contract)
	description := func(v any) string {
		text, _ := v.(map[string]any)["description"].(string)
		return text
	}
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(description(a), description(b)) })
	for i := 1; i < len(list); i++ {
		require.NotEqual(t, description(list[i-1]), description(list[i]), "each is there once")
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(doc))
	return out.Bytes()
}
