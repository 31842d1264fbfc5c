metadata description = 'PostgreSQL\'s copy in the other region. It is made once: after a switchover it is the primary, and asking for a replica again would be wrong.'

import { deploymentRegion, environmentName, tags, worldName } from '../../types/common.bicep'
import { environmentSize } from '../../types/sizes.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes its name unique.')
param seed string

@description('Its size, the same as the primary\'s: it may become it.')
param size environmentSize.postgres

@description('The primary.')
param sourceId string

@description('Where diagnostics go.')
param workspaceId string

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: worldName('psql', environment, region.code, seed)
  location: region.location
  tags: resourceTags
  sku: { name: size.sku, tier: 'GeneralPurpose' }
  properties: {
    createMode: 'Replica'
    sourceServerResourceId: sourceId
    storage: { storageSizeGB: size.storageGb, autoGrow: 'Enabled', type: 'Premium_LRS' }
    authConfig: { activeDirectoryAuth: 'Enabled', passwordAuth: 'Disabled', tenantId: tenant().tenantId }
    highAvailability: { mode: 'Disabled' }
    network: { publicNetworkAccess: 'Disabled' }
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: server
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
