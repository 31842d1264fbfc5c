metadata description = 'Where the few containers run: inside of the network, reached from nowhere else.'

import { deploymentRegion, environmentName, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('The subnet of containers.')
param subnetId string

@description('Where diagnostics go.')
param workspaceId string

resource containers 'Microsoft.App/managedEnvironments@2026-01-01' = {
  name: localName('cae', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: {
    vnetConfiguration: { infrastructureSubnetId: subnetId, internal: true }
    publicNetworkAccess: 'Disabled'
    zoneRedundant: !empty(region.zones)
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    appLogsConfiguration: { destination: 'azure-monitor' }
    peerAuthentication: { mtls: { enabled: false } }
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: containers
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('The environment of containers.')
output containersId string = containers.id

@description('The domain of what runs in it.')
output domain string = containers.properties.defaultDomain

@description('The address of all that runs in it.')
output address string = containers.properties.staticIp
