metadata description = 'The name that follows the primary of a replicated PostgreSQL. A switchover needs it; the handler names both servers and looks for the one that takes writes.'

import { environmentName, worldName } from '../../types/common.bicep'

@description('The environment.')
param environment environmentName

@description('Short name of the region of the first primary.')
param code string

@description('What makes its name unique.')
param seed string

@description('Name of the replica.')
param replica string

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' existing = {
  name: worldName('psql', environment, code, seed)
}

resource pair 'Microsoft.DBforPostgreSQL/flexibleServers/virtualendpoints@2025-08-01' = {
  parent: server
  name: worldName('orders', environment, 'db', seed)
  properties: { endpointType: 'ReadWrite', members: [replica] }
}
