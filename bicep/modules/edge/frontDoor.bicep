metadata description = 'Front Door: the only way in, with its firewall. What it leads to comes later, since API Management must know this profile first.'

import { environmentName, tags } from '../../types/common.bicep'

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('What makes its name unique.')
param seed string

@description('Requests a minute from one address, over all of it, before the firewall refuses more.')
param perAddress int

@description('Addresses that are refused whatever they ask.')
param blockedAddresses string[]

@description('Addresses that may use /api/v1/ops and the page /ops; everyone with an admin\'s token when empty.')
param operatorAddresses string[]

@description('Where diagnostics go.')
param workspaceId string

// The address that the firewall sees: of the client itself, or of the proxy that it came through.
var refuse = {
  name: 'Blocked'
  priority: 10
  enabledState: 'Enabled'
  ruleType: 'MatchRule'
  action: 'Block'
  matchConditions: [
    { matchVariable: 'RemoteAddr', operator: 'IPMatch', negateCondition: false, matchValue: blockedAddresses }
  ]
}

var operatorsOnly = {
  name: 'OperatorsOnly'
  priority: 20
  enabledState: 'Enabled'
  ruleType: 'MatchRule'
  action: 'Block'
  matchConditions: [
    {
      matchVariable: 'RequestUri'
      operator: 'RegEx'
      negateCondition: false
      matchValue: ['^[^?]*/ops([/?]|$)'] // the API's path and the page's, not what somebody searches for
      transforms: ['UrlDecode', 'Lowercase']
    }
    { matchVariable: 'RemoteAddr', operator: 'IPMatch', negateCondition: true, matchValue: operatorAddresses }
  ]
}

var perAddressLimit = {
  name: 'PerAddress'
  priority: 100
  enabledState: 'Enabled'
  ruleType: 'RateLimitRule'
  rateLimitDurationInMinutes: 1
  rateLimitThreshold: perAddress
  groupBy: [{ variableName: 'SocketAddr' }]
  action: 'Block'
  matchConditions: [{ matchVariable: 'RequestUri', operator: 'Contains', negateCondition: false, matchValue: ['/'] }]
}

resource profile 'Microsoft.Cdn/profiles@2025-12-01' = {
  name: 'afd-orders-${environment}'
  location: 'global'
  tags: resourceTags
  sku: { name: 'Premium_AzureFrontDoor' }
  properties: { originResponseTimeoutSeconds: 60 }
}

resource endpoint 'Microsoft.Cdn/profiles/afdEndpoints@2025-12-01' = {
  parent: profile
  name: 'orders-${environment}-${take(seed, 6)}'
  location: 'global'
  tags: resourceTags
  properties: { enabledState: 'Enabled' }
}

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2025-11-01' = {
  name: 'waforders${environment}'
  location: 'global'
  tags: resourceTags
  sku: { name: 'Premium_AzureFrontDoor' }
  properties: {
    policySettings: {
      enabledState: 'Enabled'
      mode: 'Prevention'
      requestBodyCheck: 'Enabled'
      customBlockResponseStatusCode: 403
    }
    managedRules: {
      managedRuleSets: [
        { ruleSetType: 'Microsoft_DefaultRuleSet', ruleSetVersion: '2.1', ruleSetAction: 'Block' }
        { ruleSetType: 'Microsoft_BotManagerRuleSet', ruleSetVersion: '1.1' }
      ]
    }
    customRules: {
      rules: concat(
        empty(blockedAddresses) ? [] : [refuse],
        empty(operatorAddresses) ? [] : [operatorsOnly],
        [perAddressLimit]
      )
    }
  }
}

resource guard 'Microsoft.Cdn/profiles/securityPolicies@2025-12-01' = {
  parent: profile
  name: 'firewall'
  properties: {
    parameters: {
      type: 'WebApplicationFirewall'
      wafPolicy: { id: firewall.id }
      associations: [{ domains: [{ id: endpoint.id }], patternsToMatch: ['/*'] }]
    }
  }
}

#disable-next-line use-recent-api-versions // the newer ones know no category groups
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: profile
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('What Front Door calls itself in X-Azure-FDID.')
output frontDoorId string = profile.properties.frontDoorId

@description('The public host name.')
output host string = endpoint.properties.hostName
