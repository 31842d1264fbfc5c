metadata description = 'A function app on Flex Consumption that runs the handler. Flex has no slots, so the canary is another app like this one.'

import { deploymentRegion, environmentName, localName, shortName, tags, worldName } from '../../types/common.bicep'
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
param size environmentSize.functions

@description('Whether this is the app that serves, or the one that a new version is tried in.')
param role 'stable' | 'canary'

@description('Its identity, in this resource group.')
param identityName string

@description('The container of its package.')
param package string

@description('The subnet that it calls others from.')
param subnetId string

@description('Where its telemetry goes.')
param insightsConnection string

@description('What the handler reads from its environment, and nothing that the platform wants.')
param settings { *: string }

@description('Whether it only answers requests, and few: messages and timers start nothing here.')
param standsBy bool

@description('Functions that messages and timers start.')
param triggered string[]

@description('Where diagnostics go.')
param workspaceId string

var canary = role == 'canary'
var zoneRedundant = !canary && size.alwaysReady >= 2 && !empty(region.zones)
// What stands by keeps one instance, or the two that zones want.
var ready = zoneRedundant ? 2 : 1
// The host keys its locks by the first 32 letters of the name: what tells two apps apart must be in them.
var kind = canary ? 'func-can' : 'func'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource account 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: shortName('st', environment, region.code, seed)
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: localName(canary ? 'plan-can' : 'plan', environment, region.code)
  location: region.location
  tags: resourceTags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true, zoneRedundant: zoneRedundant }
}

@description('Public access stays on for its deployment site alone, where only Entra tokens count; the app itself refuses all but its private endpoint.')
resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: worldName(kind, environment, region.code, seed)
  location: region.location
  tags: resourceTags
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: subnetId
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      runtime: { name: 'custom', version: '1.0' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${account.properties.primaryEndpoints.blob}${package}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identity.id }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: size.memoryMb
        maximumInstanceCount: size.maximumInstances
        alwaysReady: canary || size.alwaysReady == 0
          ? []
          : [{ name: 'http', instanceCount: standsBy ? ready : size.alwaysReady }]
        triggers: { http: { perInstanceConcurrency: size.httpConcurrency } }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: 'Deny'
      scmIpSecurityRestrictionsDefaultAction: 'Allow'
      scmIpSecurityRestrictionsUseMain: false
    }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: union(
      settings,
      {
        AzureWebJobsStorage__blobServiceUri: account.properties.primaryEndpoints.blob
        AzureWebJobsStorage__queueServiceUri: account.properties.primaryEndpoints.queue
        AzureWebJobsStorage__tableServiceUri: account.properties.primaryEndpoints.table
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: identity.properties.clientId
        AzureWebJobsDisableHomepage: 'true'
        APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
        AZURE_CLIENT_ID: identity.properties.clientId
        SERVICEBUS_CONNECTION__credential: 'managedidentity'
        SERVICEBUS_CONNECTION__clientId: identity.properties.clientId
      },
      toObject(standsBy ? triggered : [], name => 'AzureWebJobs.${name}.Disabled', name => 'true')
    )
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: app
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('Its name.')
output appName string = app.name

@description('Its host name, which only its private endpoint answers to.')
output host string = app.properties.defaultHostName
