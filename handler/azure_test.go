package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheSettingsInAzureAreGoodOnes starts the service, as far as it goes without Azure, with the settings that Bicep
// gives each app: they are complete, and every address in them can be read.
func TestTheSettingsInAzureAreGoodOnes(t *testing.T) {
	t.Parallel()
	for _, environment := range []string{"dev", "staging", "prod"} {
		raw, err := os.ReadFile("../infra/params/" + environment + ".snapshot.json")
		require.NoError(t, err)
		var file struct {
			PredictedResources []struct {
				Type, Name string
				Properties map[string]any
			}
		}
		require.NoError(t, json.Unmarshal(raw, &file))
		apps := 0
		for _, r := range file.PredictedResources {
			if r.Type != "Microsoft.Web/sites/config" || path.Base(r.Name) != "appsettings" {
				continue
			}
			apps++
			settings := map[string]string{"WEBSITE_SITE_NAME": path.Dir(r.Name), "FUNCTIONS_CUSTOMHANDLER_PORT": "49152"}
			for name, value := range r.Properties {
				settings[name] = resolved(t, value.(string))
			}
			_, err := load(settings)
			require.NoError(t, err, r.Name)
			// The vault is not here: its two secrets are.
			delete(settings, "KEY_VAULT_URL")
			settings["JWT_SIGNING_KEY"], settings["WEBHOOK_SECRET"] = "a secret that the vault has", "a secret that the vault has"
			c, err := load(settings)
			require.NoError(t, err, r.Name)
			s := connected(t, c, slog.New(slog.DiscardHandler))
			t.Cleanup(s.close)
			assert.NotNil(t, s.redis)
			assert.NotContains(t, string(c.DatabaseURL), ":@", "nobody has a password")
			assert.Contains(t, string(c.MigrationsDatabaseURL), "role%3Dorders_owner")
		}
		assert.Equal(t, map[string]int{"dev": 2, "staging": 2, "prod": 3}[environment], apps)
	}
}

var format = regexp.MustCompile(`^\[format\('([^']*)'`)

// resolved stands in for what only a deployment knows: parts of addresses.
func resolved(t *testing.T, value string) string {
	t.Helper()
	if !strings.HasPrefix(value, "[") {
		return value
	}
	text := format.FindStringSubmatch(value)
	if text == nil {
		return "https://example.com" // a reference to one property, such as an address
	}
	if text[1] == "{0}{1}/v2.0" { // the issuer of the tenant that deploys
		text[1] = strings.Replace(text[1], "{0}", "https://login.microsoftonline.com/", 1)
	}
	return strings.NewReplacer("{0}", "x", "{1}", "7f1c9d42-0000-4000-8000-000000000001").Replace(text[1])
}
