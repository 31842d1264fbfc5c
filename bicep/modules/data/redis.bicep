metadata description = 'Azure Managed Redis: speed, never truth, so it has no disk and no copy elsewhere. Who uses it shows an Entra token.'

import { deploymentRegion, environmentName, tags, worldName } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes its name unique.')
param seed string

@description('Its size.')
param sku string

@description('Two nodes.')
param highAvailability bool

@description('Names of the identities that use it, in this resource group.')
param apps string[]

@description('Where diagnostics go.')
param workspaceId string

resource cluster 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: worldName('redis', environment, region.code, seed)
  location: region.location
  tags: resourceTags
  sku: { name: sku }
  properties: {
    highAvailability: highAvailability ? 'Enabled' : 'Disabled'
    minimumTlsVersion: '1.2'
    publicNetworkAccess: 'Disabled'
  }
}

@description('One endpoint for all shards: the keys of each script carry one hash tag, so any client will do. What is least used goes first.')
resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: cluster
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    clusteringPolicy: 'EnterpriseCluster'
    evictionPolicy: 'AllKeysLRU'
    accessKeysAuthentication: 'Disabled'
    persistence: { aofEnabled: false, rdbEnabled: false }
  }
}

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for name in apps: {
    name: name
  }
]

@batchSize(1)
resource mayUse 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = [
  for (name, i) in apps: {
    parent: database
    name: replace(name, '-', '')
    properties: { accessPolicyName: 'default', user: { objectId: identities[i].properties.principalId } }
  }
]

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource clusterDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: cluster
  properties: { workspaceId: workspaceId, metrics: [{ category: 'AllMetrics', enabled: true }] }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource databaseDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: database
  properties: { workspaceId: workspaceId, logs: [{ categoryGroup: 'allLogs', enabled: true }] }
}

@description('Its host name.')
output host string = cluster.properties.hostName
