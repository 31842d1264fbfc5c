package azure

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var environments = []string{"dev", "staging", "prod"}

// resource is one resource of a snapshot. What only a deployment knows is text in brackets.
type resource struct {
	ID, Type, Name, APIVersion, Location, Kind string
	Scope                                      string
	Tags                                       any
	Zones                                      []string
	SKU                                        struct {
		Name     string
		Tier     string
		Capacity int
	}
	Properties map[string]any
}

// at walks into the properties by names; nil is nothing there.
func (r resource) at(names ...string) any {
	var value any = r.Properties
	for _, name := range names {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}

// text is at, as a text.
func (r resource) text(names ...string) string {
	s, _ := r.at(names...).(string)
	return s
}

// list is at, as a list of objects.
func (r resource) list(names ...string) (out []map[string]any) {
	items, _ := r.at(names...).([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		out = append(out, object)
	}
	return out
}

type snapshot struct {
	t           *testing.T // of the test that looks at it
	environment string
	resources   []resource
	outputs     map[string]any
}

// each runs a test on every environment's snapshot.
func each(t *testing.T, test func(s snapshot)) {
	t.Helper()
	for _, environment := range environments {
		t.Run(environment, func(t *testing.T) {
			t.Parallel()
			test(load(t, environment))
		})
	}
}

func load(t *testing.T, environment string) snapshot {
	t.Helper()
	raw, err := os.ReadFile(snapshotFile(environment))
	require.NoError(t, err)
	var file struct {
		PredictedResources []resource
		Diagnostics        []string
		Outputs            map[string]any
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.Empty(t, file.Diagnostics, "a module that could not be expanded is a module that nobody looked at")
	require.NotEmpty(t, file.PredictedResources)
	return snapshot{t, environment, file.PredictedResources, file.Outputs}
}

func snapshotFile(environment string) string {
	return "../../infra/params/" + environment + ".snapshot.json"
}

// all are the resources of a type.
func (s snapshot) all(kind string) (out []resource) {
	for _, r := range s.resources {
		if r.Type == kind {
			out = append(out, r)
		}
	}
	return out
}

// the is the one resource of a type whose name begins so.
func (s snapshot) the(t *testing.T, kind, prefix string) resource {
	t.Helper()
	var found []resource
	for _, r := range s.all(kind) {
		if strings.HasPrefix(path.Base(r.Name), prefix) {
			found = append(found, r)
		}
	}
	require.Len(t, found, 1, "%s %s*", kind, prefix)
	return found[0]
}

// number reads a JSON number.
func number(t *testing.T, value any) int {
	t.Helper()
	f, ok := value.(float64)
	require.True(t, ok, "%v is no number", value)
	return int(f)
}

func describe(r resource) string { return fmt.Sprintf("%s %s", r.Type, r.Name) }
