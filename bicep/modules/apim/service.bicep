metadata description = 'API Management: the gateway, in one region or two, what all its APIs share, and where it logs.'

import { deploymentRegion, environmentName, tags, worldName } from '../../types/common.bicep'
import { environmentSize } from '../../types/sizes.bicep'

@description('The regions, the primary one first.')
@minLength(1)
@maxLength(2)
param regions deploymentRegion[]

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes its name unique.')
param seed string

@description('Its size.')
param size environmentSize.apim

@description('Whom Azure writes to about it.')
param publisherEmail string

@description('Subnets of the gateways, one for each region.')
param subnetIds string[]

@description('Public addresses of the gateways where they stand in the network, one for each region.')
param addressIds string[]

@description('Its identity, in this resource group.')
param identityName string

@description('What Front Door calls itself.')
param frontDoorId string

@description('What its policies call by name.')
param values { *: string }

@description('Application Insights.')
param insightsId string

@description('Where Application Insights takes telemetry.')
param insightsConnection string

@description('Where diagnostics go.')
param workspaceId string

var injected = size.sku == 'Premium'
var allValues = union(values, { 'front-door-id': frontDoorId })

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource service 'Microsoft.ApiManagement/service@2024-05-01' = {
  name: worldName('apim', environment, regions[0].code, seed)
  location: regions[0].location
  tags: resourceTags
  sku: { name: size.sku, capacity: size.units }
  zones: injected ? regions[0].zones : null
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    publisherEmail: publisherEmail
    publisherName: 'Order & Catalog'
    virtualNetworkType: 'External'
    virtualNetworkConfiguration: { subnetResourceId: subnetIds[0] }
    publicIpAddressId: injected ? addressIds[0] : null
    publicNetworkAccess: 'Enabled'
    apiVersionConstraint: { minApiVersion: '2021-08-01' }
    customProperties: injected
      ? {
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Protocols.Tls10': 'False'
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Protocols.Tls11': 'False'
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Protocols.Ssl30': 'False'
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Backend.Protocols.Tls10': 'False'
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Backend.Protocols.Tls11': 'False'
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Backend.Protocols.Ssl30': 'False'
          'Microsoft.WindowsAzure.ApiManagement.Gateway.Protocols.Server.Http2': 'True'
        }
      : null
    additionalLocations: [
      for i in range(1, length(regions) - 1): {
        location: regions[i].location
        sku: { name: size.sku, capacity: 1 }
        zones: empty(regions[i].zones) ? null : take(regions[i].zones, 1)
        virtualNetworkConfiguration: { subnetResourceId: subnetIds[i] }
        publicIpAddressId: addressIds[i]
        disableGateway: false
      }
    ]
  }
}

resource namedValues 'Microsoft.ApiManagement/service/namedValues@2024-05-01' = [
  for value in items(allValues): {
    parent: service
    name: value.key
    properties: { displayName: value.key, value: value.value, secret: false }
  }
]

resource logger 'Microsoft.ApiManagement/service/loggers@2024-05-01' = {
  parent: service
  name: 'insights'
  properties: {
    loggerType: 'applicationInsights'
    resourceId: insightsId
    credentials: { connectionString: insightsConnection, identityClientId: identity.properties.clientId }
  }
}

@description('Every error and one request in ten, without headers or bodies: they hold tokens and addresses.')
resource telemetry 'Microsoft.ApiManagement/service/diagnostics@2024-05-01' = {
  parent: service
  name: 'applicationinsights'
  properties: {
    loggerId: logger.id
    alwaysLog: 'allErrors'
    httpCorrelationProtocol: 'W3C'
    metrics: true
    verbosity: 'error'
    logClientIp: false
    sampling: { samplingType: 'fixed', percentage: 10 }
  }
}

resource fragments 'Microsoft.ApiManagement/service/policyFragments@2024-05-01' = [
  for fragment in [
    { name: 'caller', value: loadTextContent('../../../infra/apim/fragments/caller.xml') }
    { name: 'deprecation', value: loadTextContent('../../../infra/apim/fragments/deprecation.xml') }
  ]: {
    parent: service
    name: fragment.name
    properties: { format: 'xml', value: fragment.value }
    dependsOn: [namedValues]
  }
]

resource everywhere 'Microsoft.ApiManagement/service/policies@2024-05-01' = {
  parent: service
  name: 'policy'
  properties: { format: 'xml', value: loadTextContent('../../../infra/apim/policies/global.xml') }
  dependsOn: [namedValues]
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: service
  properties: {
    workspaceId: workspaceId
    // In tables of their own: the canary's gate reads ApiManagementGatewayLogs.
    logAnalyticsDestinationType: 'Dedicated'
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
