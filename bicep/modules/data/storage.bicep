metadata description = 'The storage of one region\'s function apps: their packages, and what the host keeps of timers and keys. No business data.'

import { deploymentRegion, environmentName, shortName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes its name unique.')
param seed string

@description('Names of the apps\' identities, in this resource group.')
param apps string[]

@description('Containers for packages, one for each app.')
param packages string[]

@description('Where diagnostics go.')
param workspaceId string

// Storage Blob Data Owner, Queue Data Contributor, Table Data Contributor: what the Functions host asks for.
var roles = [
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
]

resource account 'Microsoft.Storage/storageAccounts@2026-04-01' = {
  name: shortName('st', environment, region.code, seed)
  location: region.location
  tags: resourceTags
  kind: 'StorageV2'
  sku: { name: empty(region.zones) ? 'Standard_LRS' : 'Standard_ZRS' }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    publicNetworkAccess: 'Disabled'
    networkAcls: { defaultAction: 'Deny', bypass: 'AzureServices' }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-04-01' = {
  parent: account
  name: 'default'
  properties: { deleteRetentionPolicy: { enabled: true, days: 14 } }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' = [
  for package in packages: {
    parent: blobs
    name: package
    properties: { publicAccess: 'None' }
  }
]

resource identities 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for name in apps: {
    name: name
  }
]

resource mayUse 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for i in range(0, length(apps) * length(roles)): {
    name: guid(account.id, identities[i / length(roles)].id, roles[i % length(roles)])
    scope: account
    properties: {
      principalId: identities[i / length(roles)].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[i % length(roles)])
    }
  }
]

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource accountDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account
  properties: { workspaceId: workspaceId, metrics: [{ category: 'Transaction', enabled: true }] }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'audit', enabled: true }]
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}
