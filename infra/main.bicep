targetScope = 'subscription'

metadata description = 'Everything that runs in Azure, from one command: az deployment sub create --location eastus --template-file infra/main.bicep --parameters environment=prod. docs/architecture.md has the picture.'

import { deploymentRegion, environmentName, localName, shortName, tags, worldName } from '../bicep/types/common.bicep'
import { factsOf } from '../bicep/types/regions.bicep'
import { environmentSize, sizeOf } from '../bicep/types/sizes.bicep'

@description('The environment to deploy. The only parameter without a default.')
param environment environmentName

@description('Where it stands; the deployment\'s own location unless named.')
param location string = deployment().location

@description('How large it is.')
param size environmentSize = sizeOf(environment)

@description('Where it stands by, where the size says that it does.')
param secondLocation string = factsOf(location).pair

@description('Which region serves. The other one answers only when the first one\'s gateway does not, and takes no messages. Turned by a regional failover.')
param serving 'primary' | 'secondary' = 'primary'

@description('Whether PostgreSQL\'s copy has yet to be made. False once it is there, and for ever after a switchover.')
param makeReplica bool = true

@description('Percent of requests that the canary answers. The pipeline moves it.')
@minValue(0)
@maxValue(100)
param canaryWeight int = 0

@description('Issuer of access tokens: the tenant that deploys, unless customers have one of their own.')
param tokenIssuer string = '${az.environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'

@description('Audience of access tokens.')
param tokenAudience string = 'api://order-catalog-service'

@description('Claim that names the customer.')
param customerClaim string = 'oid'

@description('Who is told when something is wrong.')
param alertEmails string[] = ['oncall@company.com']

@description('Whom API Management writes to.')
param publisherEmail string = 'platform@company.com'

@description('Addresses (CIDR) that the firewall refuses.')
param blockedAddresses string[] = []

@description('Addresses (CIDR) that may use /api/v1/ops and the page /ops. Empty: whoever has an admin\'s token.')
param operatorAddresses string[] = []

@description('A group of people who may administer PostgreSQL.')
param databaseOperators { objectId: string, name: string }?

@description('When version 1 of the API is deprecated (RFC 9745, as in @1798761600), when it ends (an HTTP date), and where to. Not yet.')
param deprecation { since: string, sunset: string, successor: string } = {
  since: 'none'
  sunset: 'none'
  successor: 'none'
}

@description('First month of the budget.')
param budgetStart string = '2026-11-01'

var resourceTags tags = { service: 'order-catalog', environment: environment, managedBy: 'bicep' }

// ---- where ----

var primary deploymentRegion = {
  location: location
  code: factsOf(location).code
  zones: factsOf(location).zones
  octet: 10
  primary: true
}
var secondary deploymentRegion = {
  location: secondLocation
  code: factsOf(secondLocation).code
  zones: factsOf(secondLocation).zones
  octet: 20
  primary: false
}
var regions = size.secondRegion ? [primary, secondary] : [primary]
var groups = map(regions, region => localName('rg', environment, region.code))
var seeds = map(regions, region => uniqueString(subscription().id, environment, region.location))
var gatewayInjected = size.apim.sku == 'Premium'

// ---- who: names of identities by region ----

var apps = map(regions, region => localName('id', environment, region.code))
var collectors = map(regions, region => localName('id-otel', environment, region.code))
var canaryIdentity = localName('id-can', environment, primary.code)
var gatewayIdentity = localName('id-apim', environment, primary.code)
var databaseIdentity = localName('id-dba', environment, primary.code)
var stableIdentities = map(range(0, length(regions)), i => { name: apps[i], group: groups[i] })
var handlerIdentities = concat(stableIdentities, [{ name: canaryIdentity, group: groups[0] }])
// The database's administrator is last: it is looked for by its place.
var identities = concat(
  handlerIdentities,
  map(range(0, length(regions)), i => { name: collectors[i], group: groups[i] }),
  [{ name: gatewayIdentity, group: groups[0] }, { name: databaseIdentity, group: groups[0] }]
)

// ---- what is called what ----

var databases = map(range(0, length(regions)), i => worldName('psql', environment, regions[i].code, seeds[i]))
var bus = worldName('sb', environment, primary.code, seeds[0])
var vaultName = shortName('kv', environment, primary.code, seeds[0])
var gatewayName = worldName('apim', environment, primary.code, seeds[0])
var gatewayId = resourceId(subscription().subscriptionId, groups[0], 'Microsoft.ApiManagement/service', gatewayName)
var databaseHosts = map(databases, name => '${name}.postgres.database.azure.com')
// The one that takes writes is looked for, so a switchover needs no new setting.
var pooledHosts = join(map(databaseHosts, host => '${host}:6432'), ',')
var directHosts = join(map(databaseHosts, host => '${host}:5432'), ',')
var databaseOptions = 'sslmode=verify-full&target_session_attrs=read-write'

// Functions that messages and timers start: they run in the region that serves, and never in the canary.
var triggered = [
  'housekeeping'
  'ops-dead-deliveries'
  'ops-dead-events'
  'ops-dead-requests'
  'orders-queued'
  'outbox'
  'webhooks-deliver'
  'webhooks-fanout'
  'webhooks-sweep'
]

resource resourceGroups 'Microsoft.Resources/resourceGroups@2025-04-01' = [
  for (region, i) in regions: {
    name: groups[i]
    location: region.location
    tags: resourceTags
  }
]

module identity '../bicep/modules/identity/identity.bicep' = [
  for one in identities: {
    scope: resourceGroup(one.group)
    params: {
      name: one.name
      location: regions[indexOf(groups, one.group)].location
      resourceTags: resourceTags
    }
    dependsOn: [resourceGroups]
  }
]

// ---- what everything writes to ----

module logs '../bicep/modules/monitoring/logs.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    days: size.logs.days
    dailyQuotaGb: size.logs.dailyQuotaGb
    writers: concat(handlerIdentities, [{ name: gatewayIdentity, group: groups[0] }])
  }
  dependsOn: [identity]
}

// ---- networks ----

module network '../bicep/modules/network/region.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      region: region
      environment: environment
      resourceTags: resourceTags
      gatewayInjected: gatewayInjected
      workspaceId: logs.outputs.workspaceId
    }
    dependsOn: [resourceGroups]
  }
]

// ---- stores and wire ----

module storage '../bicep/modules/data/storage.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      region: region
      environment: environment
      resourceTags: resourceTags
      seed: seeds[i]
      apps: i == 0 ? [apps[i], canaryIdentity] : [apps[i]]
      packages: i == 0 ? ['package-stable', 'package-canary'] : ['package-stable']
      workspaceId: logs.outputs.workspaceId
    }
    dependsOn: [identity]
  }
]

module vault '../bicep/modules/data/vault.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    readers: handlerIdentities
    workspaceId: logs.outputs.workspaceId
  }
  dependsOn: [identity]
}

module postgres '../bicep/modules/data/postgres.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    size: size.postgres
    geoBackup: size.secondRegion
    #disable-next-line what-if-short-circuiting // an administrator is named by what only Entra knows
    administrator: { name: databaseIdentity, principalId: identity[length(identities) - 1].outputs.principalId }
    operators: databaseOperators
    workspaceId: logs.outputs.workspaceId
  }
}

module replica '../bicep/modules/data/replica.bicep' = if (size.secondRegion && makeReplica) {
  scope: resourceGroup(last(groups)!)
  params: {
    region: last(regions)!
    environment: environment
    resourceTags: resourceTags
    seed: last(seeds)!
    size: size.postgres
    sourceId: postgres.outputs.serverId
    workspaceId: logs.outputs.workspaceId
  }
}

module endpointPair '../bicep/modules/data/endpointPair.bicep' = if (size.secondRegion && makeReplica) {
  scope: resourceGroup(groups[0])
  params: { environment: environment, code: primary.code, seed: seeds[0], replica: last(databases)! }
  dependsOn: [replica]
}

module redis '../bicep/modules/data/redis.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      region: region
      environment: environment
      resourceTags: resourceTags
      seed: seeds[i]
      sku: size.redis.sku
      highAvailability: size.redis.highAvailability
      apps: i == 0 ? [apps[i], canaryIdentity] : [apps[i]]
      workspaceId: logs.outputs.workspaceId
    }
    dependsOn: [identity]
  }
]

module messages '../bicep/modules/messaging/bus.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    units: size.busUnits
    copyTo: size.secondRegion ? secondLocation : ''
    senders: handlerIdentities
    receivers: stableIdentities
    workspaceId: logs.outputs.workspaceId
  }
  dependsOn: [identity]
}

// ---- the way to them, in each region by addresses of its own ----

var zones = {
  blob: 'privatelink.blob.${az.environment().suffixes.storage}'
  queue: 'privatelink.queue.${az.environment().suffixes.storage}'
  table: 'privatelink.table.${az.environment().suffixes.storage}'
  vault: 'privatelink.vaultcore.azure.net'
  postgresqlServer: 'privatelink.postgres.database.azure.com'
  redisEnterprise: 'privatelink.redis.azure.net'
  namespace: 'privatelink.servicebus.windows.net'
  sites: 'privatelink.azurewebsites.net'
}

module names '../bicep/modules/network/dns.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      resourceTags: resourceTags
      vnetId: network[i].outputs.vnetId
      zones: map(items(zones), zone => zone.value)
    }
  }
]

// A region reaches its own storage, Redis and functions, and what there is once or what may become the primary: vault, bus
// and both databases.
var targets = flatten(map(
  range(0, length(regions)),
  at =>
    concat(
      map(['blob', 'queue', 'table'], part => {
        at: at
        label: 'st-${part}'
        part: part
        group: groups[at]
        type: 'Microsoft.Storage/storageAccounts'
        name: shortName('st', environment, regions[at].code, seeds[at])
      }),
      [
        { at: at, label: 'kv', part: 'vault', group: groups[0], type: 'Microsoft.KeyVault/vaults', name: vaultName }
        { at: at, label: 'sb', part: 'namespace', group: groups[0], type: 'Microsoft.ServiceBus/namespaces', name: bus }
        {
          at: at
          label: 'redis'
          part: 'redisEnterprise'
          group: groups[at]
          type: 'Microsoft.Cache/redisEnterprise'
          name: worldName('redis', environment, regions[at].code, seeds[at])
        }
        {
          at: at
          label: 'func'
          part: 'sites'
          group: groups[at]
          type: 'Microsoft.Web/sites'
          name: worldName('func', environment, regions[at].code, seeds[at])
        }
      ],
      at == 0
        ? [
            {
              at: at
              label: 'func-can'
              part: 'sites'
              group: groups[at]
              type: 'Microsoft.Web/sites'
              name: worldName('func-can', environment, regions[at].code, seeds[at])
            }
          ]
        : [],
      map(range(0, length(databases)), i => {
        at: at
        label: 'psql-${regions[i].code}'
        part: 'postgresqlServer'
        group: groups[i]
        type: 'Microsoft.DBforPostgreSQL/flexibleServers'
        name: databases[i]
      })
    )
))

module endpoints '../bicep/modules/network/endpoint.bicep' = [
  for target in targets: {
    scope: resourceGroup(groups[target.at])
    params: {
      name: '${localName('pep', environment, regions[target.at].code)}-${target.label}'
      location: regions[target.at].location
      resourceTags: resourceTags
      subnetId: network[target.at].outputs.endpointsSubnetId
      targetId: resourceId(subscription().subscriptionId, target.group, target.type, target.name)
      part: target.part
      zone: zones[target.part]
    }
    dependsOn: [names, storage, vault, messages, redis, postgres, replica, stable, canary]
  }
]

// ---- the public side, first half: the handler and the gateway must know its name ----

module frontDoor '../bicep/modules/edge/frontDoor.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    perAddress: 20000
    blockedAddresses: blockedAddresses
    operatorAddresses: operatorAddresses
    workspaceId: logs.outputs.workspaceId
  }
}

// ---- the handler ----

// What handler/config.go reads and has no good default for. A test holds the two against each other.
var settings = {
  SERVICEBUS_CONNECTION__fullyQualifiedNamespace: '${bus}.servicebus.windows.net'
  AUTH_ISSUER: tokenIssuer
  AUTH_AUDIENCE: tokenAudience
  AUTH_CUSTOMER_CLAIM: customerClaim
  // The handler reads the two secrets itself, and again when they are rotated; everything else takes tokens of its identity.
  KEY_VAULT_URL: 'https://${vaultName}${az.environment().suffixes.keyvaultDns}'
  DATABASE_IDENTITY: 'true'
  REDIS_IDENTITY: 'true'
  // The collector takes metrics; Application Insights takes traces and logs of the host only, by tokens that no exporter of ours shows.
  OTEL_TRACES_EXPORTER: 'none'
  OTEL_LOGS_EXPORTER: 'none'
  RATE_LIMIT_PROCESSES: string(max(size.functions.alwaysReady, 1))
}

module stable '../bicep/modules/compute/functionApp.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      region: region
      environment: environment
      resourceTags: resourceTags
      seed: seeds[i]
      size: size.functions
      role: 'stable'
      identityName: apps[i]
      package: 'package-stable'
      subnetId: network[i].outputs.functionsSubnetId
      insightsConnection: logs.outputs.insightsConnection
      settings: union(settings, {
        DATABASE_URL: 'postgres://${apps[i]}@${pooledHosts}/orders?${databaseOptions}&default_query_exec_mode=cache_describe'
        MIGRATIONS_DATABASE_URL: 'postgres://${apps[i]}@${directHosts}/orders?${databaseOptions}&options=-c%20role%3Dorders_owner'
        OTEL_EXPORTER_OTLP_ENDPOINT: collector[i].outputs.endpoint
        REDIS_URL: 'rediss://${identity[i].outputs.principalId}@${redis[i].outputs.host}:10000'
        PUBLIC_BASE_URL: 'https://${frontDoor.outputs.host}'
      })
      standsBy: region.primary != (serving == 'primary')
      triggered: triggered
      workspaceId: logs.outputs.workspaceId
    }
    dependsOn: [storage]
  }
]

module canary '../bicep/modules/compute/functionApp.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    size: size.functions
    role: 'canary'
    identityName: canaryIdentity
    package: 'package-canary'
    subnetId: network[0].outputs.functionsSubnetId
    insightsConnection: logs.outputs.insightsConnection
    settings: union(settings, {
      DATABASE_URL: 'postgres://${canaryIdentity}@${pooledHosts}/orders?${databaseOptions}&default_query_exec_mode=cache_describe'
      MIGRATIONS_DATABASE_URL: 'postgres://${canaryIdentity}@${directHosts}/orders?${databaseOptions}&options=-c%20role%3Dorders_owner'
      OTEL_EXPORTER_OTLP_ENDPOINT: collector[0].outputs.endpoint
      REDIS_URL: 'rediss://${identity[length(regions)].outputs.principalId}@${redis[0].outputs.host}:10000'
      PUBLIC_BASE_URL: 'https://${frontDoor.outputs.host}'
    })
    standsBy: true
    triggered: triggered
    workspaceId: logs.outputs.workspaceId
  }
  dependsOn: [storage]
}

// ---- the gateway ----

module gateway '../bicep/modules/apim/service.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    regions: regions
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    size: size.apim
    publisherEmail: publisherEmail
    subnetIds: [for i in range(0, length(regions)): network[i].outputs.gatewaySubnetId]
    addressIds: [for i in range(0, length(regions)): network[i].outputs.gatewayAddressId]
    identityName: gatewayIdentity
    frontDoorId: frontDoor.outputs.frontDoorId
    values: {
      'openid-configuration': '${tokenIssuer}/.well-known/openid-configuration'
      'token-issuer': tokenIssuer
      'token-audience': tokenAudience
      // As the gateway calls its regions.
      'secondary-region': size.secondRegion ? factsOf(secondLocation).title : 'none'
      'v1-deprecation': deprecation.since
      'v1-sunset': deprecation.sunset
      'v1-successor': deprecation.successor
    }
    insightsId: logs.outputs.insightsId
    insightsConnection: logs.outputs.insightsConnection
    workspaceId: logs.outputs.workspaceId
  }
  dependsOn: [identity]
}

module apis '../bicep/modules/apim/apis.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    serviceName: gatewayName
    stable: [for i in range(0, length(regions)): { host: stable[i].outputs.host }]
    canary: { host: canary.outputs.host }
    canaryWeight: canaryWeight
  }
  dependsOn: [gateway, endpoints]
}

// ---- the public side, second half ----

module origins '../bicep/modules/edge/origins.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    environment: environment
    seed: seeds[0]
    gateways: gatewayInjected
      ? map(regions, region => '${gatewayName}-${region.location}-01.regional.azure-api.net')
      : ['${gatewayName}.azure-api.net']
    first: serving == 'primary' ? 0 : 1
  }
  dependsOn: [gateway, frontDoor]
}

// ---- metrics, alerts, and the few containers ----

module actions '../bicep/modules/monitoring/actions.bicep' = {
  scope: resourceGroup(groups[0])
  params: { environment: environment, resourceTags: resourceTags, emails: alertEmails }
  dependsOn: [resourceGroups]
}

module prometheus '../bicep/modules/monitoring/prometheus.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    seed: seeds[0]
    actionGroupId: actions.outputs.actionGroupId
    workspaceId: logs.outputs.workspaceId
  }
}

module alerts '../bicep/modules/monitoring/alerts.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    actionGroupId: actions.outputs.actionGroupId
    parts: {
      bus: resourceId(subscription().subscriptionId, groups[0], 'Microsoft.ServiceBus/namespaces', bus)
      postgres: resourceId(
        subscription().subscriptionId,
        groups[0],
        'Microsoft.DBforPostgreSQL/flexibleServers',
        databases[0]
      )
      replica: size.secondRegion
        ? resourceId(
            subscription().subscriptionId,
            last(groups)!,
            'Microsoft.DBforPostgreSQL/flexibleServers',
            last(databases)!
          )
        : null
      redis: resourceId(
        subscription().subscriptionId,
        groups[0],
        'Microsoft.Cache/redisEnterprise',
        worldName('redis', environment, primary.code, seeds[0])
      )
      gateway: gatewayId
      gatewayClassic: gatewayInjected ? gatewayId : null
      gatewayV2: gatewayInjected ? null : gatewayId
      vault: resourceId(subscription().subscriptionId, groups[0], 'Microsoft.KeyVault/vaults', vaultName)
      frontDoor: resourceId(
        subscription().subscriptionId,
        groups[0],
        'Microsoft.Cdn/profiles',
        'afd-orders-${environment}'
      )
    }
    limits: { maxConnections: size.postgres.maxConnections }
    insightsId: logs.outputs.insightsId
    host: frontDoor.outputs.host
    budget: size.budget
    budgetStart: budgetStart
  }
  dependsOn: [messages, postgres, replica, redis, gateway, vault, origins]
}

module containers '../bicep/modules/compute/containers.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      region: region
      environment: environment
      resourceTags: resourceTags
      subnetId: network[i].outputs.containersSubnetId
      workspaceId: logs.outputs.workspaceId
    }
  }
]

module containerNames '../bicep/modules/network/containerNames.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      resourceTags: resourceTags
      vnetId: network[i].outputs.vnetId
      #disable-next-line what-if-short-circuiting // the domain is the platform's to choose
      domain: containers[i].outputs.domain
      address: containers[i].outputs.address
    }
  }
]

module metricsWriter '../bicep/modules/monitoring/metricsWriter.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup('MA_${localName('amw', environment, primary.code)}_${primary.location}_managed')
    params: {
      ruleName: localName('amw', environment, primary.code)
      writer: { name: collectors[i], group: groups[i] }
    }
    dependsOn: [prometheus, identity]
  }
]

module collector '../bicep/modules/compute/collector.bicep' = [
  for (region, i) in regions: {
    scope: resourceGroup(groups[i])
    params: {
      region: region
      environment: environment
      resourceTags: resourceTags
      containersId: containers[i].outputs.containersId
      identityName: collectors[i]
      remoteWriteUrl: prometheus.outputs.remoteWriteUrl
    }
    dependsOn: [identity]
  }
]

module bootstrap '../bicep/modules/compute/bootstrap.bicep' = {
  scope: resourceGroup(groups[0])
  params: {
    region: primary
    environment: environment
    resourceTags: resourceTags
    containersId: containers[0].outputs.containersId
    administrator: databaseIdentity
    databaseHost: postgres.outputs.host
    identities: concat(apps, [canaryIdentity])
  }
}

@description('The resource groups, the primary one first.')
output resourceGroups string[] = groups

@description('Where the shop is.')
output host string = frontDoor.outputs.host

@description('The function apps that serve, the primary one first.')
output functionApps string[] = [for i in range(0, length(regions)): stable[i].outputs.appName]

@description('The canary.')
output canaryApp string = canary.outputs.appName

@description('API Management.')
output gatewayName string = gatewayName

@description('The vault that wants the two secrets.')
output vaultName string = vaultName

@description('The job that makes the database\'s roles.')
output rolesJob string = bootstrap.outputs.jobName

@description('The workspace that logs go to.')
output workspaceId string = logs.outputs.workspaceId

@description('Where people look at metrics.')
output grafanaUrl string = prometheus.outputs.grafanaUrl
