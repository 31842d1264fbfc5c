metadata description = 'A private endpoint, and its name in the region\'s private zone.'

import { tags } from '../../types/common.bicep'

@description('Its name.')
param name string

@description('Where it stands.')
param location string

@description('Tags of every resource.')
param resourceTags tags

@description('The subnet of endpoints.')
param subnetId string

@description('What it leads to.')
param targetId string

@description('Which part of the target, as in blob.')
param part string

@description('The private zone, in the same resource group.')
param zone string

resource dnsZone 'Microsoft.Network/privateDnsZones@2024-06-01' existing = {
  name: zone
}

resource endpoint 'Microsoft.Network/privateEndpoints@2025-09-01' = {
  name: name
  location: location
  tags: resourceTags
  properties: {
    subnet: { id: subnetId }
    customNetworkInterfaceName: '${name}-nic'
    privateLinkServiceConnections: [{ name: part, properties: { privateLinkServiceId: targetId, groupIds: [part] } }]
  }

  resource names 'privateDnsZoneGroups' = {
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [{ name: replace(zone, '.', '-'), properties: { privateDnsZoneId: dnsZone.id } }]
    }
  }
}
