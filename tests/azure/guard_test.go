package azure

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// switchedOff are properties that must have exactly these values on every resource of a type: no public address where a
// private one is meant, no key or password where there is an identity, TLS 1.2 at least.
var switchedOff = map[string][]struct {
	path string
	want any
}{
	"Microsoft.Storage/storageAccounts": {
		{"publicNetworkAccess", "Disabled"},
		{"networkAcls.defaultAction", "Deny"},
		{"allowSharedKeyAccess", false},
		{"allowBlobPublicAccess", false},
		{"minimumTlsVersion", "TLS1_2"},
		{"supportsHttpsTrafficOnly", true},
	},
	"Microsoft.KeyVault/vaults": {
		{"publicNetworkAccess", "Disabled"}, {"networkAcls.defaultAction", "Deny"}, {"enableRbacAuthorization", true}, {"enablePurgeProtection", true},
	},
	"Microsoft.DBforPostgreSQL/flexibleServers": {
		{"network.publicNetworkAccess", "Disabled"}, {"authConfig.passwordAuth", "Disabled"}, {"authConfig.activeDirectoryAuth", "Enabled"},
	},
	"Microsoft.Cache/redisEnterprise":           {{"publicNetworkAccess", "Disabled"}, {"minimumTlsVersion", "1.2"}},
	"Microsoft.Cache/redisEnterprise/databases": {{"accessKeysAuthentication", "Disabled"}, {"clientProtocol", "Encrypted"}, {"port", 10000.0}},
	"Microsoft.ServiceBus/namespaces":           {{"publicNetworkAccess", "Disabled"}, {"disableLocalAuth", true}, {"minimumTlsVersion", "1.2"}},
	"Microsoft.App/managedEnvironments":         {{"publicNetworkAccess", "Disabled"}, {"vnetConfiguration.internal", true}},
	// The deployment site stays reachable, for Entra tokens only; the app itself answers to its private endpoint alone.
	"Microsoft.Web/sites": {
		{"httpsOnly", true},
		{"siteConfig.ipSecurityRestrictionsDefaultAction", "Deny"},
		{"siteConfig.scmIpSecurityRestrictionsUseMain", false},
		{"siteConfig.ipSecurityRestrictions", nil},
		{"siteConfig.minTlsVersion", "1.2"},
		{"siteConfig.scmMinTlsVersion", "1.2"},
		{"siteConfig.ftpsState", "Disabled"},
	},
	"Microsoft.Web/sites/basicPublishingCredentialsPolicies": {{"allow", false}},
	"Microsoft.Insights/components":                          {{"DisableLocalAuth", true}},
	"Microsoft.OperationalInsights/workspaces":               {{"features.disableLocalAuth", true}},
	"Microsoft.Dashboard/grafana":                            {{"apiKey", "Disabled"}},
	"Microsoft.Cdn/profiles/afdEndpoints/routes":             {{"httpsRedirect", "Enabled"}, {"forwardingProtocol", "HttpsOnly"}},
	"Microsoft.Cdn/profiles/originGroups/origins":            {{"enforceCertificateNameCheck", true}},
	"Microsoft.Network/FrontDoorWebApplicationFirewallPolicies": {
		{"policySettings.mode", "Prevention"}, {"policySettings.enabledState", "Enabled"}, {"policySettings.requestBodyCheck", "Enabled"},
	},
	"Microsoft.ApiManagement/service/apis": {{"protocols", []any{"https"}}},
}

func TestNothingIsOpenThatNeedNotBe(t *testing.T) {
	t.Parallel()
	each(t, func(s snapshot) {
		t := s.t
		for kind, properties := range switchedOff {
			list := s.all(kind)
			assert.NotEmpty(t, list, kind)
			for _, r := range list {
				for _, p := range properties {
					assert.Equal(t, p.want, r.at(strings.Split(p.path, ".")...), "%s: %s", describe(r), p.path)
				}
			}
		}
		assert.Len(t, s.all("Microsoft.Web/sites/basicPublishingCredentialsPolicies"), 2*len(s.all("Microsoft.Web/sites")), "scm and ftp of each app")
		for _, server := range s.all("Microsoft.DBforPostgreSQL/flexibleServers/configurations") {
			if path.Base(server.Name) == "ssl_min_protocol_version" {
				assert.Equal(t, "TLSv1.2", server.text("value"))
			}
		}
		for _, gateway := range s.all("Microsoft.ApiManagement/service") {
			if gateway.SKU.Name != "Premium" {
				continue // the v2 tiers take nothing below 1.2 anyway
			}
			settings := gateway.at("customProperties").(map[string]any)
			assert.Len(t, settings, 7)
			for name, value := range settings {
				assert.Equal(t, strings.HasSuffix(name, "Http2"), value == "True", name)
			}
		}
	})
}

// TestWhatIsPrivateHasADoorInEachRegion looks for a private endpoint of every store in every network that uses it, and for
// the zone that its name is looked up in.
func TestWhatIsPrivateHasADoorInEachRegion(t *testing.T) {
	t.Parallel()
	everywhere := map[string]bool{ // there is one, or what stands by may become the one
		"Microsoft.KeyVault/vaults": true, "Microsoft.ServiceBus/namespaces": true, "Microsoft.DBforPostgreSQL/flexibleServers": true,
	}
	parts := map[string][]string{
		"Microsoft.KeyVault/vaults": {"vault"}, "Microsoft.ServiceBus/namespaces": {"namespace"}, "Microsoft.Web/sites": {"sites"},
		"Microsoft.DBforPostgreSQL/flexibleServers": {"postgresqlServer"}, "Microsoft.Cache/redisEnterprise": {"redisEnterprise"},
		"Microsoft.Storage/storageAccounts": {"blob", "queue", "table"},
	}
	zones := map[string]string{
		"vault": "privatelink.vaultcore.azure.net", "namespace": "privatelink.servicebus.windows.net", "sites": "privatelink.azurewebsites.net",
		"postgresqlServer": "privatelink.postgres.database.azure.com", "redisEnterprise": "privatelink.redis.azure.net",
		"blob": "privatelink.blob.", "queue": "privatelink.queue.", "table": "privatelink.table.",
	}
	each(t, func(s snapshot) {
		t := s.t
		doors := map[string]bool{} // region, target and part
		for _, e := range s.all("Microsoft.Network/privateEndpoints") {
			for _, c := range e.list("privateLinkServiceConnections") {
				p := c["properties"].(map[string]any)
				for _, part := range p["groupIds"].([]any) {
					doors[e.Location+" "+p["privateLinkServiceId"].(string)+" "+part.(string)] = true
				}
			}
		}
		wanted := map[string]bool{}
		for kind, list := range parts {
			for _, target := range s.all(kind) {
				for _, network := range s.all("Microsoft.Network/virtualNetworks") {
					if !everywhere[kind] && network.Location != target.Location {
						continue
					}
					for _, part := range list {
						wanted[network.Location+" "+target.ID+" "+part] = true
					}
				}
			}
		}
		assert.Equal(t, wanted, doors)

		groups := s.all("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
		assert.Len(t, groups, len(s.all("Microsoft.Network/privateEndpoints")))
		known := map[string]bool{}
		for _, z := range s.all("Microsoft.Network/privateDnsZones") {
			known[strings.ToLower(z.ID)] = true
		}
		for _, e := range s.all("Microsoft.Network/privateEndpoints") {
			part := e.list("privateLinkServiceConnections")[0]["name"].(string)
			for _, g := range groups {
				if !strings.HasPrefix(g.ID, e.ID+"/") {
					continue
				}
				zone := g.list("privateDnsZoneConfigs")[0]["properties"].(map[string]any)["privateDnsZoneId"].(string)
				assert.Contains(t, zone, zones[part], e.Name)
			}
		}
	})
}

// roleNames are Azure's ids of the roles that we give.
var roleNames = map[string]string{
	"b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
	"974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
	"0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
	"69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": "Service Bus Data Sender",
	"4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": "Service Bus Data Receiver",
	"4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
	"3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
	"43d0d8ad-25c7-4714-9337-8ba259a9fe05": "Monitoring Reader",
	"b0d8363b-8ddd-447d-831f-62ca05bff136": "Monitoring Data Reader",
}

var (
	principal = regexp.MustCompile(`(?:userAssignedIdentities|grafana)/([\w-]+)'`)
	onWhat    = regexp.MustCompile(`/providers/Microsoft\.(\w+/\w+)/[^/]+/providers/Microsoft\.Authorization/`)
)

// TestEveryIdentityHasJustItsRoles writes down who may do what, role by role.
func TestEveryIdentityHasJustItsRoles(t *testing.T) {
	t.Parallel()
	handler := []string{
		"Insights/components: Monitoring Metrics Publisher", "KeyVault/vaults: Key Vault Secrets User", "ServiceBus/namespaces: Service Bus Data Sender",
		"Storage/storageAccounts: Storage Blob Data Owner", "Storage/storageAccounts: Storage Queue Data Contributor", "Storage/storageAccounts: Storage Table Data Contributor",
	}
	want := map[string][]string{
		"id-orders":      append(slices.Clone(handler), "ServiceBus/namespaces: Service Bus Data Receiver"),
		"id-can-orders":  handler, // it takes no messages
		"id-apim-orders": {"Insights/components: Monitoring Metrics Publisher"},
		"id-otel-orders": {"Insights/dataCollectionRules: Monitoring Metrics Publisher"},
		"id-dba-orders":  nil, // what it may do, PostgreSQL knows
		"amg-ord":        {"Monitor/accounts: Monitoring Data Reader", "resource group: Monitoring Reader"},
	}
	each(t, func(s snapshot) {
		t := s.t
		have := map[string][]string{}
		for _, identity := range s.all("Microsoft.ManagedIdentity/userAssignedIdentities") {
			have[identity.Name] = nil
		}
		have[s.the(t, "Microsoft.Dashboard/grafana", "").Name] = nil
		for _, r := range s.all("Microsoft.Authorization/roleAssignments") {
			assert.Equal(t, "ServicePrincipal", r.text("principalType"), "a new identity may not be known everywhere yet; with its type said nobody looks")
			who := principal.FindStringSubmatch(r.text("principalId"))
			require.NotNil(t, who, r.text("principalId"))
			role := roleNames[path.Base(r.text("roleDefinitionId"))]
			require.NotEmpty(t, role, r.text("roleDefinitionId"))
			what := "resource group"
			if scope := onWhat.FindStringSubmatch(r.ID); scope != nil {
				what = scope[1]
			}
			have[who[1]] = append(have[who[1]], what+": "+role)
		}
		for name, roles := range have {
			kind, _, _ := strings.Cut(name, "-"+s.environment)
			expected, known := want[kind]
			require.True(t, known, name)
			assert.ElementsMatch(t, expected, roles, name)
		}
		for _, a := range s.all("Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments") {
			assert.Regexp(t, `userAssignedIdentities/id-(can-)?orders-`, a.at("user", "objectId"), "only what runs the handler uses Redis")
		}
	})
}

// TestNoSecretIsInATemplate looks for what keys and passwords look like, in everything that would be deployed and put out.
func TestNoSecretIsInATemplate(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)listkeys|listcredentials|accountkey=|sharedaccesskey=|instrumentationkey=|administratorloginpassword|://[^/@\s"':]+:[^/@\s"']+@`)
	each(t, func(s snapshot) {
		t := s.t
		for _, r := range s.resources {
			text, err := json.Marshal(r.Properties)
			require.NoError(t, err)
			assert.NotRegexp(t, forbidden, string(text), describe(r))
		}
		text, err := json.Marshal(s.outputs)
		require.NoError(t, err)
		assert.NotRegexp(t, forbidden, string(text))
	})
}
