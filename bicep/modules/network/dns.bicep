metadata description = 'The private zones of one region. Each region has its own: in a shared zone the endpoints of two regions would overwrite each other\'s address.'

import { tags } from '../../types/common.bicep'

@description('Tags of every resource.')
param resourceTags tags

@description('The network that resolves by them.')
param vnetId string

@description('The zones.')
param zones string[]

resource list 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zones: {
    name: zone
    location: 'global'
    tags: resourceTags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, i) in zones: {
    parent: list[i]
    name: 'network'
    location: 'global'
    tags: resourceTags
    properties: { registrationEnabled: false, virtualNetwork: { id: vnetId } }
  }
]
