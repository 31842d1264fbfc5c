metadata description = 'Where everything is written to: the Log Analytics workspace, and Application Insights on top of it.'

import { deploymentRegion, environmentName, identityPlace, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('Days that logs are kept.')
param days int

@description('Most gigabytes a day.')
param dailyQuotaGb int

@description('The identities that write telemetry.')
param writers identityPlace[]

// Monitoring Metrics Publisher
var publisher = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '3913510d-42f4-4e42-8a64-420c390055eb'
)

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: localName('log', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: days
    workspaceCapping: { dailyQuotaGb: dailyQuotaGb }
    features: { disableLocalAuth: true, enableLogAccessUsingOnlyResourcePermissions: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: localName('appi', environment, region.code)
  location: region.location
  tags: resourceTags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
  }
}

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for one in writers: {
    name: one.name
    scope: resourceGroup(one.group)
  }
]

resource mayWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (one, i) in writers: {
    name: guid(insights.id, identities[i].id, publisher)
    scope: insights
    properties: {
      principalId: identities[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: publisher
    }
  }
]

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource workspaceDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: workspace
  properties: {
    workspaceId: workspace.id
    logs: [{ categoryGroup: 'audit', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('The workspace.')
output workspaceId string = workspace.id

@description('Application Insights.')
output insightsId string = insights.id

@description('Where telemetry goes. It names the place and lets nobody write: keys are switched off.')
output insightsConnection string = insights.properties.ConnectionString
