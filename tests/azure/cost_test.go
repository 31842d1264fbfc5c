package azure

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheCostPageCountsWhatIsDeployed counts the page's rows in the snapshots and does its sums.
func TestTheCostPageCountsWhatIsDeployed(t *testing.T) {
	t.Parallel()
	page := read(t, "../../docs/cost.md")
	rows := map[string][]float64{} // price, then how many there are in each environment
	var said []float64
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || strings.Contains(cells[2], "price") || strings.Contains(cells[2], "-") {
			continue
		}
		numbers := func(list []string) (out []float64) {
			for _, cell := range list {
				f, err := strconv.ParseFloat(strings.NewReplacer("*", "", ",", "").Replace(strings.TrimSpace(cell)), 64)
				require.NoError(t, err, line)
				out = append(out, f)
			}
			return out
		}
		if name := strings.TrimSpace(cells[0]); strings.HasPrefix(name, "**") {
			said = numbers(cells[3:])
		} else {
			rows[name] = numbers(cells[2:])
		}
	}
	require.Len(t, said, 3)
	for i, environment := range environments {
		sum := 0.0
		for _, row := range rows {
			sum += row[0] * row[i+1]
		}
		assert.InDelta(t, math.Round(sum), said[i], 0, environment)

		s := load(t, environment)
		have := map[string]int{
			"Front Door Premium":            len(s.all("Microsoft.Cdn/profiles")),
			"NAT gateway":                   len(s.all("Microsoft.Network/natGateways")),
			"Private endpoint":              len(s.all("Microsoft.Network/privateEndpoints")),
			"Public address":                len(s.all("Microsoft.Network/publicIPAddresses")),
			"Private DNS zone":              len(s.all("Microsoft.Network/privateDnsZones")),
			"Managed Grafana":               len(s.all("Microsoft.Dashboard/grafana")),
			"Availability test":             len(s.all("Microsoft.Insights/webtests")),
			"Alert on a platform metric":    len(s.all("Microsoft.Insights/metricAlerts")),
			"Service Bus Premium":           0,
			"PostgreSQL, disk":              0,
			"Collector (0.5 core, 1 GiB)":   0,
			"API Management, StandardV2":    0,
			"API Management, Premium":       0,
			"PostgreSQL, 2 cores (D2ds_v5)": 0, "PostgreSQL, 4 cores (D4ds_v5)": 0, "PostgreSQL, 8 cores (D8ds_v5)": 0,
			"Azure Managed Redis, B0 without a second node": 0, "Azure Managed Redis, B1": 0, "Azure Managed Redis, B5": 0,
			"Functions, instance that is always ready (2 GB)": 0,
		}
		bus := s.the(t, "Microsoft.ServiceBus/namespaces", "")
		have["Service Bus Premium"] = bus.SKU.Capacity * max(1, len(bus.list("geoDataReplication", "locations")))
		gateway := s.the(t, "Microsoft.ApiManagement/service", "")
		have["API Management, "+gateway.SKU.Name] = gateway.SKU.Capacity + len(gateway.list("additionalLocations"))
		for _, server := range s.all("Microsoft.DBforPostgreSQL/flexibleServers") {
			machines := 1
			if server.text("highAvailability", "mode") != "Disabled" {
				machines = 2
			}
			cores := regexp.MustCompile(`^Standard_D(\d+)ds_v5$`).FindStringSubmatch(server.SKU.Name)
			require.NotNil(t, cores, server.SKU.Name)
			have["PostgreSQL, "+cores[1]+" cores (D"+cores[1]+"ds_v5)"] += machines
			have["PostgreSQL, disk"] += machines * number(t, server.at("storage", "storageSizeGB"))
		}
		for _, cache := range s.all("Microsoft.Cache/redisEnterprise") {
			name := "Azure Managed Redis, " + strings.TrimPrefix(cache.SKU.Name, "Balanced_")
			if cache.text("highAvailability") == "Disabled" {
				name += " without a second node"
			}
			have[name]++
		}
		for _, app := range s.all("Microsoft.Web/sites") {
			for _, ready := range app.list("functionAppConfig", "scaleAndConcurrency", "alwaysReady") {
				have["Functions, instance that is always ready (2 GB)"] += number(t, ready["instanceCount"])
			}
		}
		for _, app := range s.all("Microsoft.App/containerApps") {
			have["Collector (0.5 core, 1 GiB)"] += number(t, app.at("template", "scale", "minReplicas"))
		}
		for name, count := range have {
			row, there := rows[name]
			if assert.True(t, there, "%s is not on the page", name) {
				assert.InDelta(t, count, row[i+1], 0, "%s: %s", environment, name)
			}
		}
		assert.Len(t, rows, len(have)+1, "logs are an estimate; the rest is counted")
		budget := number(t, s.the(t, "Microsoft.Consumption/budgets", "").at("amount"))
		assert.Greater(t, float64(budget), said[i], "the budget would be spent before the first request")
		assert.Contains(t, page, strconv.Itoa(budget/1000)+`,`+strconv.Itoa(budget%1000 + 1000)[1:])
	}
}
