metadata description = 'PostgreSQL, where the truth is. The job of compute/bootstrap.bicep makes its database and roles, since the template would own what it makes. Nobody has a password: identities show a token, to the server and to its PgBouncer.'

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

@description('Its size.')
param size environmentSize.postgres

@description('Whether backups are kept in the paired region too.')
param geoBackup bool

@description('The identity that administers it: it makes roles and nothing else.')
param administrator { name: string, principalId: string }

@description('A group of people who may administer it too; nobody unless named.')
param operators { objectId: string, name: string }?

@description('Where diagnostics go.')
param workspaceId string

var configurations = [
  { name: 'require_secure_transport', value: 'ON' }
  { name: 'ssl_min_protocol_version', value: 'TLSv1.2' }
  { name: 'max_connections', value: string(size.maxConnections) }
  // Every scale group runs the same binary and may open its pools: clients are many, the server's connections few.
  { name: 'pgbouncer.enabled', value: 'true' }
  { name: 'pgbouncer.pool_mode', value: 'transaction' }
  { name: 'pgbouncer.max_client_conn', value: '50000' }
  { name: 'pgbouncer.default_pool_size', value: string(size.poolSize) }
  { name: 'log_lock_waits', value: 'on' }
  { name: 'log_min_duration_statement', value: '1000' }
  { name: 'track_io_timing', value: 'on' }
]

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: worldName('psql', environment, region.code, seed)
  location: region.location
  tags: resourceTags
  sku: { name: size.sku, tier: 'GeneralPurpose' }
  properties: {
    version: '17'
    storage: { storageSizeGB: size.storageGb, autoGrow: 'Enabled', type: 'Premium_LRS' }
    authConfig: { activeDirectoryAuth: 'Enabled', passwordAuth: 'Disabled', tenantId: tenant().tenantId }
    backup: { backupRetentionDays: size.backupDays, geoRedundantBackup: geoBackup ? 'Enabled' : 'Disabled' }
    // No zone is named: after a failover the two have changed places, and naming them would ask to move them back.
    highAvailability: { mode: !size.standby ? 'Disabled' : empty(region.zones) ? 'SameZone' : 'ZoneRedundant' }
    network: { publicNetworkAccess: 'Disabled' }
    maintenanceWindow: { customWindow: 'Enabled', dayOfWeek: 2, startHour: 7, startMinute: 0 }
  }
}

// One after the other: the server takes one change at a time.
@batchSize(1)
resource settings 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2025-08-01' = [
  for item in configurations: {
    parent: server
    name: item.name
    properties: { value: item.value, source: 'user-override' }
  }
]

resource administrators 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: administrator.principalId
  properties: { principalName: administrator.name, principalType: 'ServicePrincipal', tenantId: tenant().tenantId }
  dependsOn: [settings]
}

resource people 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = if (operators != null) {
  parent: server
  name: operators.?objectId ?? 'nobody'
  properties: { principalName: operators.?name, principalType: 'Group', tenantId: tenant().tenantId }
  dependsOn: [administrators]
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

@description('Nobody deletes the truth by mistake: the lock must be taken off first.')
resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (environment == 'prod') {
  name: 'keep'
  scope: server
  properties: { level: 'CanNotDelete', notes: 'The orders are in here.' }
}

@description('The server.')
output serverId string = server.id

@description('Its host name.')
output host string = server.properties.fullyQualifiedDomainName
