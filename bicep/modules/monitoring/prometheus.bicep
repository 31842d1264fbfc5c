metadata description = 'Prometheus as a service, the alerts on what the handler measures, and Grafana to look at both.'

import { deploymentRegion, environmentName, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes Grafana\'s name unique.')
param seed string

@description('Who is told.')
param actionGroupId string

@description('Where diagnostics go.')
param workspaceId string

@description('One rule of infra/alerts/service.yaml.')
type rule = {
  @description('Its name.')
  alert: string
  @description('PromQL.')
  expr: string
  @description('How long it must hold, in minutes, as in 5m.')
  for: string
  @description('How bad it is.')
  labels: { severity: 'critical' | 'warning' }
  @description('What it means.')
  annotations: { summary: string }
}

var rules rule[] = loadYamlContent('../../../infra/alerts/service.yaml').groups[0].rules
var severities = { critical: 1, warning: 2 }
// Monitoring Reader, Monitoring Data Reader
var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '43d0d8ad-25c7-4714-9337-8ba259a9fe05')
var dataReader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b0d8363b-8ddd-447d-831f-62ca05bff136'
)

resource metrics 'Microsoft.Monitor/accounts@2025-10-03' = {
  name: localName('amw', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: { publicNetworkAccess: 'Enabled' }
}

resource alerts 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: localName('alerts', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: {
    enabled: true
    interval: 'PT1M'
    scopes: [metrics.id]
    rules: map(rules, one => {
      alert: one.alert
      expression: one.expr
      for: 'PT${toUpper(one.for)}'
      severity: severities[one.labels.severity]
      labels: one.labels
      annotations: one.annotations
      actions: [{ actionGroupId: actionGroupId }]
      resolveConfiguration: { autoResolved: true, timeToResolve: 'PT10M' }
    })
  }
}

resource grafana 'Microsoft.Dashboard/grafana@2025-08-01' = {
  name: take('amg-ord-${environment}-${seed}', 23)
  location: region.location
  tags: resourceTags
  sku: { name: 'Standard' }
  identity: { type: 'SystemAssigned' }
  properties: {
    apiKey: 'Disabled'
    deterministicOutboundIP: 'Disabled'
    zoneRedundancy: empty(region.zones) ? 'Disabled' : 'Enabled'
    publicNetworkAccess: 'Enabled'
    grafanaIntegrations: { azureMonitorWorkspaceIntegrations: [{ azureMonitorWorkspaceResourceId: metrics.id }] }
  }
}

resource mayReadMetrics 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(metrics.id, grafana.id, dataReader)
  scope: metrics
  properties: {
    principalId: grafana.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: dataReader
  }
}

resource mayReadAzure 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, grafana.id, reader)
  properties: { principalId: grafana.identity.principalId, principalType: 'ServicePrincipal', roleDefinitionId: reader }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: grafana
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('Where metrics are written to, by Prometheus remote write.')
output remoteWriteUrl string = '${metrics.properties.defaultIngestionSettings.ingestionEndpoints.metrics}/dataCollectionRules/${metrics.properties.defaultIngestionSettings.dataCollectionRuleImmutableId}/streams/Microsoft-PrometheusMetrics/api/v1/write?api-version=2023-04-24'

@description('Where people look.')
output grafanaUrl string = grafana.properties.endpoint
