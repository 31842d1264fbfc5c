package azure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// serviceRule is one rule of infra/alerts/service.yaml.
type serviceRule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func serviceRules(t *testing.T) []serviceRule {
	t.Helper()
	raw, err := os.ReadFile("../../infra/alerts/service.yaml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []serviceRule
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	require.Len(t, file.Groups, 1, "Bicep reads the first group only")
	return file.Groups[0].Rules
}

// TestPrometheusAlertsAreTheFiles compares rule by rule.
func TestPrometheusAlertsAreTheFiles(t *testing.T) {
	t.Parallel()
	rules := serviceRules(t)
	var names []string
	for _, r := range rules {
		names = append(names, r.Alert)
	}
	for _, promised := range []string{"HighErrorRate", "HighP95Latency", "OutboxBacklog"} {
		assert.Contains(t, names, promised)
	}
	each(t, func(s snapshot) {
		t := s.t
		deployed := s.the(t, "Microsoft.AlertsManagement/prometheusRuleGroups", "").list("rules")
		require.Len(t, deployed, len(rules))
		for i, want := range rules {
			have := deployed[i]
			assert.Equal(t, want.Alert, have["alert"])
			assert.Equal(t, want.Expr, have["expression"], want.Alert)
			length, err := time.ParseDuration(want.For)
			require.NoError(t, err)
			// Azure's durations are ISO 8601's.
			assert.Equal(t, "PT"+strings.ToUpper(want.For), have["for"])
			assert.Equal(t, time.Duration(0), length%time.Minute, "%s: whole minutes", want.Alert)
			assert.Equal(t, map[string]int{"critical": 1, "warning": 2}[want.Labels["severity"]], number(t, have["severity"]), want.Alert)
			assert.Equal(t, want.Annotations["summary"], have["annotations"].(map[string]any)["summary"])
			assert.NotEmpty(t, have["actions"], "%s tells nobody", want.Alert)
		}
	})
}

// TestPlatformAlertsAreTheFiles does the same for what Azure measures.
func TestPlatformAlertsAreTheFiles(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../infra/alerts/platform.yaml")
	require.NoError(t, err)
	var file struct {
		Rules []struct {
			Name, Of, Metric, Aggregation, Operator, Window, Dimension, Summary string
			PercentOf                                                           string `yaml:"percentOf"`
			Threshold, Severity                                                 int
			Values                                                              []string
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	types := map[string]string{
		"bus": "Microsoft.ServiceBus/namespaces", "postgres": "Microsoft.DBforPostgreSQL/flexibleServers", "replica": "Microsoft.DBforPostgreSQL/flexibleServers",
		"redis": "Microsoft.Cache/redisEnterprise", "gateway": "Microsoft.ApiManagement/service", "gatewayClassic": "Microsoft.ApiManagement/service",
		"gatewayV2": "Microsoft.ApiManagement/service", "vault": "Microsoft.KeyVault/vaults", "frontDoor": "Microsoft.Cdn/profiles",
	}
	each(t, func(s snapshot) {
		t := s.t
		absent := map[string]bool{"replica": s.environment != "prod", "gatewayClassic": s.environment != "prod", "gatewayV2": s.environment == "prod"}
		deployed := map[string]resource{}
		for _, r := range s.all("Microsoft.Insights/metricAlerts") {
			assert.NotEmpty(t, r.list("actions"), "%s tells nobody", r.Name)
			deployed[r.Name] = r
		}
		count := 1 // availability is not in the file
		for _, want := range file.Rules {
			have, there := deployed["alert-orders-"+s.environment+"-eus-"+want.Name]
			require.Equal(t, !absent[want.Of], there, want.Name)
			if !there {
				continue
			}
			count++
			scope := have.at("scopes").([]any)[0].(string)
			assert.Contains(t, scope, "/"+types[want.Of]+"/", want.Name)
			var found bool
			for _, r := range s.all(types[want.Of]) {
				found = found || r.ID == scope
			}
			assert.True(t, found, "%s looks at %s, which is not there", want.Name, scope)
			c := have.list("criteria", "allOf")[0]
			threshold := want.Threshold
			if want.PercentOf != "" {
				for _, p := range s.all("Microsoft.DBforPostgreSQL/flexibleServers/configurations") {
					if filepath.Base(p.Name) == "max_connections" {
						var most int
						require.NoError(t, yaml.Unmarshal([]byte(p.text("value")), &most))
						threshold = want.Threshold * most / 100
					}
				}
			}
			assert.Equal(t, []any{want.Metric, want.Aggregation, want.Operator, threshold, want.Window, want.Severity, want.Summary},
				[]any{c["metricName"], c["timeAggregation"], c["operator"], number(t, c["threshold"]), have.text("windowSize"), number(t, have.at("severity")), have.text("description")}, want.Name)
			dimensions, _ := c["dimensions"].([]any)
			assert.Equal(t, want.Dimension != "", len(dimensions) == 1, want.Name)
		}
		assert.Len(t, deployed, count)
		assert.Len(t, s.all("Microsoft.Insights/webtests"), 1)
		assert.Len(t, s.all("Microsoft.Consumption/budgets"), 1)
	})
}
