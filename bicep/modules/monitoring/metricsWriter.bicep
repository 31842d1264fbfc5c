metadata description = 'Lets an identity write metrics. The rule that takes them stands in a resource group that the workspace made for itself.'

import { identityPlace } from '../../types/common.bicep'

@description('The rule.')
param ruleName string

@description('The identity.')
param writer identityPlace

// Monitoring Metrics Publisher
var publisher = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '3913510d-42f4-4e42-8a64-420c390055eb'
)

resource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' existing = {
  name: ruleName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: writer.name
  scope: resourceGroup(writer.group)
}

resource mayWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rule.id, identity.id, publisher)
  scope: rule
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: publisher
  }
}
