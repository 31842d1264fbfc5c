metadata description = 'The private zone of an environment of containers: all its names lead to one address.'

import { tags } from '../../types/common.bicep'

@description('Tags of every resource.')
param resourceTags tags

@description('The network that resolves by it.')
param vnetId string

@description('The environment\'s domain.')
param domain string

@description('Its address.')
param address string

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: domain
  location: 'global'
  tags: resourceTags

  resource all 'A' = {
    name: '*'
    properties: { ttl: 300, aRecords: [{ ipv4Address: address }] }
  }

  resource link 'virtualNetworkLinks' = {
    name: 'network'
    location: 'global'
    tags: resourceTags
    properties: { registrationEnabled: false, virtualNetwork: { id: vnetId } }
  }
}
