package azure

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gone are types that Azure no longer sells or will switch off, and what is there instead.
var gone = map[string]string{
	"Microsoft.Cache/redis":                          "Microsoft.Cache/redisEnterprise (Azure Managed Redis)",
	"Microsoft.Network/frontDoors":                   "Microsoft.Cdn/profiles",
	"Microsoft.DBforPostgreSQL/servers":              "flexibleServers",
	"Microsoft.DBforPostgreSQL/serverGroupsv2":       "flexibleServers with a cluster",
	"Microsoft.AzureActiveDirectory/b2cDirectories":  "Entra External ID",
	"Microsoft.Network/networkWatchers/flowLogs":     "flow logs of the virtual network",
	"Microsoft.ApiManagement/service/properties":     "namedValues",
	"Microsoft.ApiManagement/service/products/apis":  "apiLinks",
	"Microsoft.Network/virtualNetworks/subnets":      "subnets inside of their network: apart, each deployment would take them out and put them back",
	"Microsoft.ServiceBus/namespaces/networkRuleSet": "publicNetworkAccess",
}

var version = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})(-preview)?$`)

func TestNoTypeOrVersionIsOnItsWayOut(t *testing.T) {
	t.Parallel()
	// The oldest version that will still work in two years, where that is known.
	least := map[string]string{"Microsoft.KeyVault/vaults": "2026-02-01"}
	// The only preview: nothing newer knows category groups.
	previews := []string{"Microsoft.Insights/diagnosticSettings"}
	each(t, func(s snapshot) {
		t := s.t
		for _, r := range s.resources {
			assert.Empty(t, gone[r.Type], "%s: use that instead", r.Type)
			parts := version.FindStringSubmatch(r.APIVersion)
			require.NotNil(t, parts, describe(r))
			assert.GreaterOrEqual(t, parts[1], least[r.Type], describe(r))
			assert.Equal(t, slices.Contains(previews, r.Type), parts[2] != "", "%s@%s", r.Type, r.APIVersion)
		}
		for _, server := range s.all("Microsoft.DBforPostgreSQL/flexibleServers") {
			if server.at("createMode") == nil { // a replica has its primary's
				assert.Equal(t, "17", server.text("version"))
			}
		}
		for _, plan := range s.all("Microsoft.Web/serverfarms") {
			assert.Equal(t, "FC1", plan.SKU.Name, "Linux Consumption (Y1) ends in 2028")
		}
		for _, app := range s.all("Microsoft.Web/sites") {
			assert.Equal(t, map[string]any{"name": "custom", "version": "1.0"}, app.at("functionAppConfig", "runtime"))
		}
		assert.Equal(t, "Premium_AzureFrontDoor", s.the(t, "Microsoft.Cdn/profiles", "").SKU.Name)
		assert.Equal(t, "Premium", s.the(t, "Microsoft.ServiceBus/namespaces", "").SKU.Name)
	})
}

// TestEverythingIsTaggedAndWatched looks for tags on all that takes them and for diagnostics on all that has them.
func TestEverythingIsTaggedAndWatched(t *testing.T) {
	t.Parallel()
	untagged := regexp.MustCompile(`^Microsoft\.(Authorization|Consumption)/|diagnosticSettings$`)
	watched := []string{
		"Microsoft.ApiManagement/service", "Microsoft.App/managedEnvironments", "Microsoft.Cache/redisEnterprise", "Microsoft.Cache/redisEnterprise/databases",
		"Microsoft.Cdn/profiles", "Microsoft.Dashboard/grafana", "Microsoft.DBforPostgreSQL/flexibleServers", "Microsoft.KeyVault/vaults",
		"Microsoft.Network/networkSecurityGroups", "Microsoft.Network/publicIPAddresses", "Microsoft.Network/virtualNetworks",
		"Microsoft.OperationalInsights/workspaces", "Microsoft.ServiceBus/namespaces", "Microsoft.Storage/storageAccounts",
		"Microsoft.Storage/storageAccounts/blobServices", "Microsoft.Web/sites",
	}
	each(t, func(s snapshot) {
		t := s.t
		watchedBy := map[string]bool{}
		for _, d := range s.all("Microsoft.Insights/diagnosticSettings") {
			target, _, _ := strings.Cut(d.ID, "/providers/Microsoft.Insights/diagnosticSettings/")
			watchedBy[target] = true
			assert.Positive(t, len(d.list("logs"))+len(d.list("metrics")), d.ID)
		}
		for _, r := range s.resources {
			if strings.Count(r.Type, "/") == 1 && !untagged.MatchString(r.Type) {
				tags := fmt.Sprint(r.Tags)
				for _, want := range []string{"order-catalog", s.environment, "bicep"} {
					assert.Contains(t, tags, want, describe(r))
				}
			}
			if slices.Contains(watched, r.Type) {
				assert.True(t, watchedBy[r.ID], "%s has no diagnostics", describe(r))
			}
		}
	})
}

// TestZonesAreUsedWhereThereAreAny: East US has three, West US none.
func TestZonesAreUsedWhereThereAreAny(t *testing.T) {
	t.Parallel()
	s := load(t, "prod")
	assert.Equal(t, "ZoneRedundant", s.the(t, "Microsoft.DBforPostgreSQL/flexibleServers", "psql-orders-prod-eus").text("highAvailability", "mode"))
	assert.Equal(t, "Disabled", s.the(t, "Microsoft.DBforPostgreSQL/flexibleServers", "psql-orders-prod-wus").text("highAvailability", "mode"), "a replica has none")
	assert.Len(t, s.the(t, "Microsoft.ApiManagement/service", "").Zones, 3)
	for _, r := range s.resources {
		east := r.Location == "eastus"
		switch r.Type {
		case "Microsoft.Web/serverfarms":
			assert.Equal(t, east && !strings.Contains(r.Name, "-can-"), r.at("zoneRedundant"), r.Name)
		case "Microsoft.App/managedEnvironments":
			assert.Equal(t, east, r.at("zoneRedundant"), r.Name)
		case "Microsoft.Storage/storageAccounts":
			assert.Equal(t, map[bool]string{true: "Standard_ZRS", false: "Standard_LRS"}[east], r.SKU.Name)
		case "Microsoft.Network/publicIPAddresses":
			assert.Equal(t, east, len(r.Zones) == 3, r.Name)
		}
	}
}

// TestTheOtherRegionStandsBy: in production, and only there.
func TestTheOtherRegionStandsBy(t *testing.T) {
	t.Parallel()
	each(t, func(s snapshot) {
		t := s.t
		regions := map[bool]int{true: 2, false: 1}[s.environment == "prod"]
		assert.Len(t, s.all("Microsoft.Resources/resourceGroups"), regions)
		assert.Len(t, s.all("Microsoft.DBforPostgreSQL/flexibleServers"), regions)
		assert.Len(t, s.all("Microsoft.DBforPostgreSQL/flexibleServers/virtualendpoints"), regions-1)
		gateway := s.the(t, "Microsoft.ApiManagement/service", "")
		assert.Len(t, gateway.list("additionalLocations"), regions-1)
		assert.Len(t, s.the(t, "Microsoft.ServiceBus/namespaces", "").list("geoDataReplication", "locations"), 2*(regions-1))
		origins := s.all("Microsoft.Cdn/profiles/originGroups/origins")
		require.Len(t, origins, regions)
		for _, o := range origins {
			assert.Contains(t, o.text("hostName"), gateway.Name)
			second := strings.Contains(o.text("hostName"), "westus")
			assert.Equal(t, map[bool]int{true: 2, false: 1}[second], number(t, o.at("priority")))
		}
		if s.environment != "prod" {
			return
		}
		assert.Len(t, s.all("Microsoft.Authorization/locks"), 1)
		var spaces []netip.Prefix
		for _, network := range s.all("Microsoft.Network/virtualNetworks") {
			for _, space := range network.at("addressSpace", "addressPrefixes").([]any) {
				prefix := netip.MustParsePrefix(space.(string))
				for _, other := range spaces {
					assert.False(t, prefix.Overlaps(other), "%s and %s", prefix, other)
				}
				spaces = append(spaces, prefix)
			}
		}
	})
}

// TestSubnetsFitIntoTheirNetworkAndAreDelegated looks at what a deployment would only say after half an hour.
func TestSubnetsFitIntoTheirNetworkAndAreDelegated(t *testing.T) {
	t.Parallel()
	each(t, func(s snapshot) {
		t := s.t
		for _, network := range s.all("Microsoft.Network/virtualNetworks") {
			space := netip.MustParsePrefix(network.at("addressSpace", "addressPrefixes").([]any)[0].(string))
			var taken []netip.Prefix
			for _, subnet := range network.list("subnets") {
				name := subnet["name"].(string)
				assert.NotContains(t, name, "_", "Flex Consumption refuses it")
				p := subnet["properties"].(map[string]any)
				prefix := netip.MustParsePrefix(p["addressPrefix"].(string))
				assert.True(t, space.Contains(prefix.Addr()), name)
				for _, other := range taken {
					assert.False(t, prefix.Overlaps(other), name)
				}
				taken = append(taken, prefix)
				delegated := ""
				if list, _ := p["delegations"].([]any); len(list) > 0 {
					delegated = list[0].(map[string]any)["properties"].(map[string]any)["serviceName"].(string)
				}
				want := map[string]string{"functions": "Microsoft.App/environments", "containers": "Microsoft.App/environments", "gateway": "", "endpoints": ""}[name]
				if name == "gateway" && s.environment != "prod" {
					want = "Microsoft.Web/serverFarms" // StandardV2 reaches through it
				}
				assert.Equal(t, want, delegated, name)
				if name == "functions" || name == "containers" {
					assert.NotNil(t, p["natGateway"], "%s would have no way out", name)
				}
			}
		}
	})
}

// TestConnectionsFit does the sums: PgBouncer's server connections fit the server, and its clients' fit it.
func TestConnectionsFit(t *testing.T) {
	t.Parallel()
	pools := 0
	for name, value := range configDefaults(t) {
		if strings.HasPrefix(name, "DB_POOL_") {
			n, err := strconv.Atoi(value)
			require.NoError(t, err)
			pools += n
		}
	}
	require.Positive(t, pools)
	groups := 1 // all HTTP functions share one
	for _, f := range functions(t) {
		if f.trigger != "httpTrigger" {
			groups++
		}
	}
	each(t, func(s snapshot) {
		t := s.t
		settings := map[string]int{}
		for _, c := range s.all("Microsoft.DBforPostgreSQL/flexibleServers/configurations") {
			_, name, _ := strings.Cut(c.Name, "/")
			if n, err := strconv.Atoi(c.text("value")); err == nil {
				settings[name] = n
			}
		}
		apps := s.all("Microsoft.Web/sites")
		clients := 0
		for i, app := range apps {
			instances := number(t, app.at("functionAppConfig", "scaleAndConcurrency", "maximumInstanceCount"))
			for _, name := range []string{"DATABASE_URL", "MIGRATIONS_DATABASE_URL"} {
				url := appSettings(t, s)[i].text(name)
				assert.Equal(t, name == "DATABASE_URL", strings.Contains(url, ":6432"), "requests go through PgBouncer, migrations may not")
			}
			if appSettings(t, s)[i].text("AzureWebJobs.outbox.Disabled") == "true" {
				clients += instances * pools
			} else {
				clients += instances * pools * groups
			}
		}
		assert.LessOrEqual(t, clients, settings["pgbouncer.max_client_conn"])
		// PgBouncer pools by user; the rest is for migrations, people and Azure itself.
		const reserve = 100
		assert.LessOrEqual(t, len(apps)*settings["pgbouncer.default_pool_size"]+reserve, settings["max_connections"])
	})
}
