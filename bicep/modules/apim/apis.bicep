metadata description = 'What the gateway publishes: the REST API from our own OpenAPI document, GraphQL, and the pages that problems point to; and what stands behind it.'

@description('Name of API Management.')
param serviceName string

@description('The function apps, one for each region, the primary one first.')
@minLength(1)
@maxLength(2)
param stable app[]

@description('The canary, in the primary region.')
param canary app

@description('Percent of the primary region\'s requests that go to the canary.')
@minValue(0)
@maxValue(100)
param canaryWeight int

@description('An app that answers requests.')
type app = {
  @description('Its host name.')
  host: string
}

// What the gateway takes off a request's path is what it puts before it again here.
var surfaces = [
  { name: 'api', path: 'api/v1' }
  { name: 'graphql', path: 'graphql' }
  { name: 'docs', path: 'docs' }
  { name: 'openapi-json', path: 'openapi.json' }
  { name: 'ops', path: 'ops' }
]
var publicPages = [
  { path: 'docs', template: '/*' }
  { path: 'openapi.json', template: '/' }
  { path: 'ops', template: '/*' }
]
var ranks = ['primary', 'secondary']
// One for each surface and app. Where there is one region, the second rank leads to it as well, so that policies need no case for it.
var singles = flatten(map(surfaces, surface => [
  { name: '${surface.name}-stable-primary', host: stable[0].host, path: surface.path }
  { name: '${surface.name}-stable-secondary', host: last(stable)!.host, path: surface.path }
  { name: '${surface.name}-canary', host: canary.host, path: surface.path }
]))
var pools = flatten(map(
  surfaces,
  surface =>
    map(ranks, rank => {
      name: '${surface.name}-${rank}'
      members: rank == 'primary' && canaryWeight > 0
        ? [
            { name: '${surface.name}-stable-primary', weight: 100 - canaryWeight }
            { name: '${surface.name}-canary', weight: canaryWeight }
          ]
        : [{ name: '${surface.name}-stable-${rank}', weight: 100 }]
    })
))

resource service 'Microsoft.ApiManagement/service@2024-05-01' existing = {
  name: serviceName
}

@description('The breaker opens on answers that are none: 503 is the service refusing one request so that it can keep up with the others.')
resource backends 'Microsoft.ApiManagement/service/backends@2024-05-01' = [
  for single in singles: {
    parent: service
    name: single.name
    properties: {
      type: 'Single'
      protocol: 'http'
      url: 'https://${single.host}/${single.path}'
      tls: { validateCertificateChain: true, validateCertificateName: true }
      circuitBreaker: {
        rules: [
          {
            name: 'no-answer'
            failureCondition: {
              count: 50
              interval: 'PT10S'
              statusCodeRanges: [{ min: 500, max: 502 }, { min: 504, max: 504 }]
            }
            tripDuration: 'PT15S'
            acceptRetryAfter: false
          }
        ]
      }
    }
  }
]

resource backendPools 'Microsoft.ApiManagement/service/backends@2024-05-01' = [
  for pool in pools: {
    parent: service
    name: pool.name
    properties: {
      type: 'Pool'
      #disable-next-line BCP035 // a pool has neither protocol nor url of its own
      pool: {
        services: map(pool.members, member => {
          id: resourceId('Microsoft.ApiManagement/service/backends', serviceName, member.name)
          weight: member.weight
          priority: 1
        })
      }
    }
    dependsOn: [backends]
  }
]

resource versions 'Microsoft.ApiManagement/service/apiVersionSets@2024-05-01' = {
  parent: service
  name: 'orders'
  properties: { displayName: 'Order & Catalog', versioningScheme: 'Segment' }
}

resource rest 'Microsoft.ApiManagement/service/apis@2024-05-01' = {
  parent: service
  name: 'orders-v1'
  properties: {
    displayName: 'Order & Catalog'
    type: 'http'
    path: 'api'
    protocols: ['https']
    apiVersion: 'v1'
    apiVersionSetId: versions.id
    format: 'openapi+json'
    value: string(loadJsonContent('../../../infra/apim/openapi.json'))
    translateRequiredQueryParameters: 'query'
    subscriptionRequired: true
  }

  resource policy 'policies' = {
    name: 'policy'
    properties: { format: 'xml', value: loadTextContent('../../../infra/apim/policies/api.xml') }
    dependsOn: [backendPools]
  }
}

@description('GraphQL, passed through: the service has its own limits, the schema here lets the gateway refuse what is none of it.')
resource graphql 'Microsoft.ApiManagement/service/apis@2024-05-01' = {
  parent: service
  name: 'orders-graphql'
  properties: {
    displayName: 'Order & Catalog, GraphQL'
    type: 'graphql'
    apiType: 'graphql'
    path: 'graphql'
    protocols: ['https']
    serviceUrl: 'https://${stable[0].host}/graphql'
    subscriptionRequired: true
  }

  resource schema 'schemas' = {
    name: 'graphql'
    properties: {
      contentType: 'application/vnd.ms-azure-apim.graphql.schema'
      document: { value: loadTextContent('../../../infra/apim/schema.graphql') }
    }
  }

  resource policy 'policies' = {
    name: 'policy'
    properties: { format: 'xml', value: loadTextContent('../../../infra/apim/policies/graphql.xml') }
    dependsOn: [backendPools, schema]
  }
}

@description('Pages need no subscription: a problem\'s page must open in the browser of who met it.')
resource pages 'Microsoft.ApiManagement/service/apis@2024-05-01' = [
  for page in publicPages: {
    parent: service
    name: replace(page.path, '.', '-')
    properties: {
      displayName: page.path
      type: 'http'
      path: page.path
      protocols: ['https']
      subscriptionRequired: false
    }
  }
]

resource pageReads 'Microsoft.ApiManagement/service/apis/operations@2024-05-01' = [
  for (page, i) in publicPages: {
    parent: pages[i]
    name: 'read'
    properties: { displayName: 'Read', method: 'GET', urlTemplate: page.template }
  }
]

resource pagePolicies 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = [
  for (page, i) in publicPages: {
    parent: pages[i]
    name: 'policy'
    properties: { format: 'xml', value: loadTextContent('../../../infra/apim/policies/pages.xml') }
    dependsOn: [backendPools]
  }
]

@description('Shops place orders; the quota is a month\'s, far above what a shop needs, and stops a key that leaked.')
resource storefront 'Microsoft.ApiManagement/service/products@2024-05-01' = {
  parent: service
  name: 'storefront'
  properties: {
    displayName: 'Storefront'
    description: 'Catalog, carts and orders, over REST and GraphQL.'
    state: 'published'
    subscriptionRequired: true
    approvalRequired: true
    subscriptionsLimit: 10
  }

  resource policy 'policies' = {
    name: 'policy'
    properties: { format: 'xml', value: loadTextContent('../../../infra/apim/policies/storefront.xml') }
  }

  resource restLink 'apiLinks' = {
    name: 'orders-v1'
    properties: { apiId: rest.id }
  }

  resource graphqlLink 'apiLinks' = {
    name: 'orders-graphql'
    properties: { apiId: graphql.id }
  }
}

@description('Integrations manage webhooks and read the feed of events.')
resource integration 'Microsoft.ApiManagement/service/products@2024-05-01' = {
  parent: service
  name: 'integration'
  properties: {
    displayName: 'Integration'
    description: 'Webhooks, events and operations: for the shop\'s own systems.'
    state: 'published'
    subscriptionRequired: true
    approvalRequired: true
    subscriptionsLimit: 10
  }

  resource restLink 'apiLinks' = {
    name: 'orders-v1'
    properties: { apiId: rest.id }
  }
}

@description('The first subscription of each product. Their keys are made by the service and never leave it by way of a template.')
resource subscriptions 'Microsoft.ApiManagement/service/subscriptions@2024-05-01' = [
  for (name, i) in ['storefront', 'integration']: {
    parent: service
    name: '${name}-first'
    properties: {
      displayName: 'The first ${name}'
      scope: i == 0 ? storefront.id : integration.id
      state: 'active'
    }
  }
]
