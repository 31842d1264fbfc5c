package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is for developers is off in Azure unless it is asked for, and a token for everybody is never had there.
func TestGraphQLSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change map[string]string
		ide    bool
	}{{nil, true}, {map[string]string{"WEBSITE_SITE_NAME": "x"}, false}, {map[string]string{"WEBSITE_SITE_NAME": "x", "GRAPHQL_IDE": "true"}, true}, {map[string]string{"GRAPHQL_IDE": "false"}, false}} {
		loaded, err := load(environment(c.change))
		require.NoError(t, err)
		assert.Equal(t, c.ide, loaded.forDevelopers(loaded.GraphQLIDE))
	}
	for _, wrong := range []map[string]string{
		{"GRAPHQL_STATUS": "2026"},
		{"GRAPHQL_TRUSTED": "yes"},
		{"GRAPHQL_TRUSTED": "enforce"},
		{"GRAPHQL_IDE_TOKEN_URL": "here"},
		{"WEBSITE_SITE_NAME": "x", "GRAPHQL_IDE_TOKEN_URL": "http://127.0.0.1/token"},
	} {
		_, err := load(environment(wrong))
		assert.ErrorContains(t, err, "GRAPHQL_", wrong)
	}
}
