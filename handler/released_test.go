package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/contracts"
)

// released is what clients build on, as it was when it was released last.
const released = "../docs/released"

// TestNothingThatWasReleasedBreaks holds what the code serves against what was released: the OpenAPI document, and the
// schema of each type of event. What is new is no break; at a release `make release-contracts` writes it down.
func TestNothingThatWasReleasedBreaks(t *testing.T) {
	t.Parallel()
	served, err := testService(t).api.OpenAPI()
	require.NoError(t, err)
	schemas, err := contracts.EventSchemas(served)
	require.NoError(t, err)
	release := os.Getenv("RELEASE_CONTRACTS") != ""

	document, err := os.ReadFile(filepath.Join(released, "openapi.json"))
	if release && errors.Is(err, fs.ErrNotExist) {
		document, err = served, nil // the first release
	}
	require.NoError(t, err)
	breaks, err := contracts.RESTBreaks(document, served)
	require.NoError(t, err)
	assert.Empty(t, breaks, "a client of the released document breaks; see docs/versioning.md for what may change")

	events, err := filepath.Glob(filepath.Join(released, "events", "*.json"))
	require.NoError(t, err)
	require.True(t, release || len(events) > 0, "no event was ever released: make release-contracts")
	for _, file := range events {
		kind := strings.TrimSuffix(filepath.Base(file), ".json")
		schema, err := os.ReadFile(file)
		require.NoError(t, err)
		if !assert.Contains(t, schemas, kind, "events of the type are not told any more: their readers wait for ever") {
			continue
		}
		breaks, err := contracts.EventBreaks(schema, schemas[kind])
		require.NoError(t, err)
		assert.Empty(t, breaks, "a reader of %s breaks; make a type with the next version beside it, see docs/events.md", kind)
	}
	if !release {
		return
	}
	require.False(t, t.Failed(), "nothing was written")
	write(t, "openapi.json", indented(t, served))
	for kind, schema := range schemas {
		write(t, filepath.Join("events", kind+".json"), schema)
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	file := filepath.Join(released, name)
	before, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	if bytes.Equal(before, content) {
		return
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
	require.NoError(t, os.WriteFile(file, content, 0o600))
	t.Logf("%s is written", file)
}

// indented is the document in lines, so that a review sees what changes.
func indented(t *testing.T, document []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, json.Indent(&out, document, "", " "))
	out.WriteByte('\n')
	return out.Bytes()
}
