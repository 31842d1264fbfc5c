metadata description = 'Alerts on what Azure measures (infra/alerts/platform.yaml), on whether the shop is there at all, and on money.'

import { deploymentRegion, environmentName, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('Who is told.')
param actionGroupId string

@description('The resources that the file\'s "of" means. A rule for one that is not there is left out.')
param parts {
  @description('Service Bus.')
  bus: string
  @description('PostgreSQL.')
  postgres: string
  @description('PostgreSQL in the other region.')
  replica: string?
  @description('Redis.')
  redis: string
  @description('API Management.')
  gateway: string
  @description('The same, where it is of a classic tier.')
  gatewayClassic: string?
  @description('The same, where it is of a v2 tier: its metrics have other names.')
  gatewayV2: string?
  @description('Key Vault.')
  vault: string
  @description('Front Door.')
  frontDoor: string
}

@description('What percentOf may name.')
param limits { maxConnections: int }

@description('Application Insights.')
param insightsId string

@description('The public host name.')
param host string

@description('Budget in US dollars a month.')
param budget int

@description('The first month of the budget. It may not change later, and need not: the budget has no end that anybody will see.')
param budgetStart string

@description('One rule of the file.')
type rule = {
  @description('Its name.')
  name: string
  @description('What it looks at.')
  of: 'bus' | 'postgres' | 'replica' | 'redis' | 'gateway' | 'gatewayClassic' | 'gatewayV2' | 'vault' | 'frontDoor'
  @description('Azure\'s name of the metric.')
  metric: string
  @description('How values of the window are put together.')
  aggregation: 'Average' | 'Count' | 'Maximum' | 'Minimum' | 'Total'
  @description('When it is wrong.')
  operator: 'GreaterThan' | 'LessThan'
  @description('The limit, or percent of one.')
  threshold: int
  @description('Which limit the threshold is a percentage of.')
  percentOf: 'maxConnections'?
  @description('How far back.')
  window: 'PT5M' | 'PT15M'
  @description('How bad.')
  severity: 0 | 1 | 2
  @description('A dimension to look at apart.')
  dimension: string?
  @description('Its values.')
  values: string[]?
  @description('What it means.')
  summary: string
}

var everyRule rule[] = loadYamlContent('../../../infra/alerts/platform.yaml').rules
var rules = filter(everyRule, one => parts[?one.of] != null)

resource platform 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for one in rules: {
    name: '${localName('alert', environment, region.code)}-${one.name}'
    location: 'global'
    tags: resourceTags
    properties: {
      description: one.summary
      severity: one.severity
      enabled: true
      autoMitigate: true
      scopes: [parts[?one.of] ?? '']
      evaluationFrequency: one.window == 'PT5M' ? 'PT1M' : 'PT5M'
      windowSize: one.window
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: one.name
            metricName: one.metric
            timeAggregation: one.aggregation
            operator: one.operator
            threshold: one.?percentOf == null ? one.threshold : one.threshold * limits[one.percentOf!] / 100
            dimensions: one.?dimension == null
              ? []
              : [{ name: one.dimension!, operator: 'Include', values: one.values! }]
          }
        ]
      }
      actions: [{ actionGroupId: actionGroupId }]
    }
  }
]

@description('From outside, through Front Door: the page of a problem needs Front Door, the gateway and a function.')
resource visit 'Microsoft.Insights/webtests@2022-06-15' = {
  name: localName('visit', environment, region.code)
  location: region.location
  kind: 'standard'
  tags: union(resourceTags, { 'hidden-link:${insightsId}': 'Resource' })
  properties: {
    SyntheticMonitorId: localName('visit', environment, region.code)
    Name: 'The description of the API, from outside'
    Kind: 'standard'
    Enabled: true
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [
      { Id: 'us-va-ash-azr' }
      { Id: 'us-ca-sjc-azr' }
      { Id: 'us-il-ch1-azr' }
      { Id: 'emea-nl-ams-azr' }
      { Id: 'emea-gb-db3-azr' }
    ]
    Request: { RequestUrl: 'https://${host}/openapi.json', HttpVerb: 'GET', ParseDependentRequests: false }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 14 }
  }
}

resource notThere 'Microsoft.Insights/metricAlerts@2026-01-01' = {
  name: '${localName('alert', environment, region.code)}-availability'
  location: 'global'
  tags: union(resourceTags, { 'hidden-link:${insightsId}': 'Resource', 'hidden-link:${visit.id}': 'Resource' })
  properties: {
    description: 'Two of five places in the world do not reach the shop'
    severity: 0
    enabled: true
    autoMitigate: true
    scopes: [visit.id, insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: visit.id
      componentId: insightsId
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}

resource money 'Microsoft.Consumption/budgets@2026-06-01' = {
  name: localName('budget', environment, region.code)
  properties: {
    amount: budget
    category: 'Cost'
    timeGrain: 'Monthly'
    timePeriod: { startDate: budgetStart }
    notifications: {
      soon: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Forecasted'
        contactEmails: []
        contactGroups: [actionGroupId]
      }
      over: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Actual'
        contactEmails: []
        contactGroups: [actionGroupId]
      }
    }
  }
}
