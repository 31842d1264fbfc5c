metadata description = 'The network of one region: where functions, API Management, private endpoints and containers stand, and the one address that they call others from.'

import { deploymentRegion, environmentName, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('Whether API Management stands in its subnet (Premium) or only reaches through it (StandardV2).')
param gatewayInjected bool

@description('Where diagnostics go.')
param workspaceId string

var space = '10.${region.octet}'
var gatewaySpace = '${space}.2.0/24'
var functionsSpace = '${space}.0.0/24'
var endpointsSpace = '${space}.4.0/24'
var containersSpace = '${space}.6.0/23'

@description('Webhook receivers see this address, so they can let it in.')
resource outgoing 'Microsoft.Network/publicIPAddresses@2025-09-01' = {
  name: localName('pip-ng', environment, region.code)
  location: region.location
  tags: resourceTags
  sku: { name: 'Standard' }
  zones: region.zones
  properties: { publicIPAllocationMethod: 'Static' }
}

resource nat 'Microsoft.Network/natGateways@2025-09-01' = {
  name: localName('ng', environment, region.code)
  location: region.location
  tags: resourceTags
  sku: { name: 'Standard' }
  properties: { publicIpAddresses: [{ id: outgoing.id }], idleTimeoutInMinutes: 4 }
}

@description('Injected, API Management is reached by Front Door, its own control plane and the load balancer, and by nobody else.')
resource gatewayRules 'Microsoft.Network/networkSecurityGroups@2025-09-01' = {
  name: localName('nsg-apim', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: {
    securityRules: concat(
      gatewayInjected
        ? [
            {
              name: 'front-door'
              properties: {
                priority: 100
                direction: 'Inbound'
                access: 'Allow'
                protocol: 'Tcp'
                sourceAddressPrefix: 'AzureFrontDoor.Backend'
                sourcePortRange: '*'
                destinationAddressPrefix: 'VirtualNetwork'
                destinationPortRange: '443'
              }
            }
            {
              name: 'control-plane'
              properties: {
                priority: 110
                direction: 'Inbound'
                access: 'Allow'
                protocol: 'Tcp'
                sourceAddressPrefix: 'ApiManagement'
                sourcePortRange: '*'
                destinationAddressPrefix: 'VirtualNetwork'
                destinationPortRange: '3443'
              }
            }
            {
              name: 'load-balancer'
              properties: {
                priority: 120
                direction: 'Inbound'
                access: 'Allow'
                protocol: 'Tcp'
                sourceAddressPrefix: 'AzureLoadBalancer'
                sourcePortRange: '*'
                destinationAddressPrefix: 'VirtualNetwork'
                destinationPortRange: '6390'
              }
            }
          ]
        : [],
      [
        {
          name: 'to-functions-and-vault'
          properties: {
            priority: 100
            direction: 'Outbound'
            access: 'Allow'
            protocol: 'Tcp'
            sourceAddressPrefix: 'VirtualNetwork'
            sourcePortRange: '*'
            destinationAddressPrefix: 'VirtualNetwork'
            destinationPortRange: '443'
          }
        }
        {
          name: 'to-its-dependencies'
          properties: {
            priority: 110
            direction: 'Outbound'
            access: 'Allow'
            protocol: 'Tcp'
            sourceAddressPrefix: 'VirtualNetwork'
            sourcePortRange: '*'
            destinationAddressPrefix: 'AzureCloud'
            destinationPortRanges: ['443', '1433', '1886', '1443']
          }
        }
      ]
    )
  }
}

@description('Who may reach a private endpoint: functions, containers and the gateway of this region.')
resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-09-01' = {
  name: localName('nsg-pe', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: {
    securityRules: [
      {
        name: 'service'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: [functionsSpace, containersSpace]
          sourcePortRange: '*'
          destinationAddressPrefix: endpointsSpace
          destinationPortRanges: ['443', '5432', '6432', '5671', '10000']
        }
      }
      {
        name: 'gateway'
        properties: {
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: gatewaySpace
          sourcePortRange: '*'
          destinationAddressPrefix: endpointsSpace
          destinationPortRange: '443'
        }
      }
      {
        name: 'nobody-else'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

@description('The names of subnets may hold no underscore: Flex Consumption refuses it.')
resource vnet 'Microsoft.Network/virtualNetworks@2025-09-01' = {
  name: localName('vnet', environment, region.code)
  location: region.location
  tags: resourceTags
  properties: {
    addressSpace: { addressPrefixes: ['${space}.0.0/16'] }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: functionsSpace
          defaultOutboundAccess: false
          natGateway: { id: nat.id }
          delegations: [{ name: 'flex', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'gateway'
        properties: {
          addressPrefix: gatewaySpace
          networkSecurityGroup: { id: gatewayRules.id }
          delegations: gatewayInjected
            ? []
            : [{ name: 'gateway', properties: { serviceName: 'Microsoft.Web/serverFarms' } }]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointsSpace
          defaultOutboundAccess: false
          privateEndpointNetworkPolicies: 'Enabled'
          networkSecurityGroup: { id: endpointRules.id }
        }
      }
      {
        name: 'containers'
        properties: {
          addressPrefix: containersSpace
          defaultOutboundAccess: false
          natGateway: { id: nat.id }
          delegations: [{ name: 'containers', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
    ]
  }
}

@description('The gateway\'s address where it stands in the network. It must have a name.')
resource gatewayAddress 'Microsoft.Network/publicIPAddresses@2025-09-01' = if (gatewayInjected) {
  name: localName('pip-apim', environment, region.code)
  location: region.location
  tags: resourceTags
  sku: { name: 'Standard' }
  zones: region.zones
  properties: {
    publicIPAllocationMethod: 'Static'
    dnsSettings: {
      domainNameLabel: '${localName('apim', environment, region.code)}-${take(uniqueString(resourceGroup().id), 6)}'
    }
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource vnetDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: vnet
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource gatewayRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: gatewayRules
  properties: { workspaceId: workspaceId, logs: [{ categoryGroup: 'allLogs', enabled: true }] }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource endpointRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: endpointRules
  properties: { workspaceId: workspaceId, logs: [{ categoryGroup: 'allLogs', enabled: true }] }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource outgoingDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: outgoing
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource gatewayAddressDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (gatewayInjected) {
  name: 'to-workspace'
  scope: gatewayAddress
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('The network.')
output vnetId string = vnet.id

@description('Where functions call others from.')
output functionsSubnetId string = '${vnet.id}/subnets/functions'

@description('Where API Management stands, or reaches through.')
output gatewaySubnetId string = '${vnet.id}/subnets/gateway'

@description('Where private endpoints stand.')
output endpointsSubnetId string = '${vnet.id}/subnets/endpoints'

@description('Where containers stand.')
output containersSubnetId string = '${vnet.id}/subnets/containers'

@description('The gateway\'s public address; empty where it has none of ours.')
output gatewayAddressId string = gatewayInjected ? gatewayAddress.id : ''
