metadata description = 'What Front Door leads to: the gateway of the region that serves, and the other one while that is down.'

import { environmentName } from '../../types/common.bicep'

@description('The environment.')
param environment environmentName

@description('What makes the endpoint\'s name unique.')
param seed string

@description('Host names of the gateways.')
@minLength(1)
@maxLength(2)
param gateways string[]

@description('Which of them serves.')
param first int

resource profile 'Microsoft.Cdn/profiles@2025-12-01' existing = {
  name: 'afd-orders-${environment}'

  resource endpoint 'afdEndpoints' existing = {
    name: 'orders-${environment}-${take(seed, 6)}'
  }
}

@description('Asks each gateway every half minute; three of four answers decide.')
resource group 'Microsoft.Cdn/profiles/originGroups@2025-12-01' = {
  parent: profile
  name: 'gateways'
  properties: {
    sessionAffinityState: 'Disabled'
    trafficRestorationTimeToHealedOrNewEndpointsInMinutes: 5
    loadBalancingSettings: { sampleSize: 4, successfulSamplesRequired: 3, additionalLatencyInMilliseconds: 0 }
    healthProbeSettings: {
      probePath: '/status-0123456789abcdef'
      probeProtocol: 'Https'
      probeRequestType: 'GET'
      probeIntervalInSeconds: 30
    }
  }
}

resource origins 'Microsoft.Cdn/profiles/originGroups/origins@2025-12-01' = [
  for (host, i) in gateways: {
    parent: group
    name: 'gateway-${i + 1}'
    properties: {
      hostName: host
      originHostHeader: host
      httpPort: 80
      httpsPort: 443
      priority: i == first || length(gateways) == 1 ? 1 : 2
      weight: 1000
      enabledState: 'Enabled'
      enforceCertificateNameCheck: true
    }
  }
]

@description('Nothing is cached here: every request carries a token, and the gateway caches what all may see.')
resource route 'Microsoft.Cdn/profiles/afdEndpoints/routes@2025-12-01' = {
  parent: profile::endpoint
  name: 'all'
  properties: {
    originGroup: { id: group.id }
    supportedProtocols: ['Http', 'Https']
    patternsToMatch: ['/*']
    forwardingProtocol: 'HttpsOnly'
    httpsRedirect: 'Enabled'
    linkToDefaultDomain: 'Enabled'
    enabledState: 'Enabled'
  }
  dependsOn: [origins]
}
