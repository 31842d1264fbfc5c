metadata description = 'Service Bus: the wire. Its entities are the same as in infra/local/servicebus/config.json, and a test holds both against the code.'

import { deploymentRegion, environmentName, identityPlace, tags, worldName } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes its name unique.')
param seed string

@description('Messaging units.')
param units int

@description('The region that messages are copied to; none when empty.')
param copyTo string

@description('Who sends. All of them run the handler.')
param senders identityPlace[]

@description('Who takes messages too. The canary does not.')
param receivers identityPlace[]

@description('Where diagnostics go.')
param workspaceId string

// Azure Service Bus Data Sender, Data Receiver
var sender = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39')
var receiver = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0')

// A thousand deliveries, because the broker gives a message back at once and counts it: what is poison is recorded by
// the functions themselves, and a store that is away for a minute must not make poison of what waits for it.
var entity = {
  lockDuration: 'PT1M'
  maxDeliveryCount: 1000
  defaultMessageTimeToLive: 'P14D'
  deadLetteringOnMessageExpiration: true
  requiresSession: false
}

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' = {
  name: worldName('sb', environment, region.code, seed)
  location: region.location
  tags: resourceTags
  sku: { name: 'Premium', tier: 'Premium', capacity: units }
  properties: {
    premiumMessagingPartitions: 1
    minimumTlsVersion: '1.2'
    disableLocalAuth: true
    publicNetworkAccess: 'Disabled'
    geoDataReplication: empty(copyTo)
      ? null
      : {
          maxReplicationLagDurationInSeconds: 300
          locations: [
            { locationName: region.location, roleType: 'Primary' }
            { locationName: copyTo, roleType: 'Secondary' }
          ]
        }
  }

  // A webhook's wake-up may come twice on purpose, and an order request has its own key: neither queue looks for duplicates.
  resource deliveries 'queues' = {
    name: 'webhook-deliveries'
    properties: union(entity, { requiresDuplicateDetection: false })
  }

  resource requests 'queues' = {
    name: 'order-requests'
    properties: union(entity, { requiresDuplicateDetection: false })
  }

  resource events 'topics' = {
    name: 'order-events'
    properties: {
      requiresDuplicateDetection: true
      duplicateDetectionHistoryTimeWindow: 'PT5M'
      defaultMessageTimeToLive: 'P14D'
      supportOrdering: true
    }

    resource webhooks 'subscriptions' = {
      name: 'webhooks'
      properties: entity
    }
  }
}

resource sending 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for one in senders: {
    name: one.name
    scope: resourceGroup(one.group)
  }
]

resource maySend 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (one, i) in senders: {
    name: guid(namespace.id, sending[i].id, sender)
    scope: namespace
    properties: {
      principalId: sending[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: sender
    }
  }
]

resource receiving 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = [
  for one in receivers: {
    name: one.name
    scope: resourceGroup(one.group)
  }
]

resource mayReceive 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (one, i) in receivers: {
    name: guid(namespace.id, receiving[i].id, receiver)
    scope: namespace
    properties: {
      principalId: receiving[i].properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: receiver
    }
  }
]

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
