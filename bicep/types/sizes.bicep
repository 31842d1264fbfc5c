metadata description = 'How large each environment is: the one table to change for money or for load.'

@export()
@description('The size of one environment.')
type environmentSize = {
  @description('Whether a second region stands by.')
  secondRegion: bool
  @description('API Management.')
  apim: {
    @description('Premium stands in the network and in both regions; StandardV2 reaches into it.')
    sku: 'StandardV2' | 'Premium'
    @description('Units in the primary region. Premium wants as many as zones, or a multiple.')
    units: int
  }
  @description('The function app.')
  functions: {
    @description('Memory of an instance: 2048 has one core.')
    memoryMb: 512 | 2048 | 4096
    @minValue(40)
    @maxValue(1000)
    @description('Most instances of one scale group. Flex Consumption takes no less than 40.')
    maximumInstances: int
    @description('Instances that always wait for HTTP. Zone redundancy wants two.')
    alwaysReady: int
    @description('Requests that one instance works on before another one is started.')
    httpConcurrency: int
  }
  @description('PostgreSQL.')
  postgres: {
    @description('Machine. Burstable ones have no PgBouncer.')
    sku: string
    @description('Disk in GiB; it grows by itself.')
    storageGb: int
    @description('A second server in another zone (or in the same one, where there are no zones).')
    standby: bool
    @description('max_connections: what the machine has by default, written down so that the sums can be checked.')
    maxConnections: int
    @description('Server connections that PgBouncer holds for each identity.')
    poolSize: int
    @description('Days of backups.')
    backupDays: int
  }
  @description('Azure Managed Redis.')
  redis: {
    @description('Size; B0 has 0.5 GB.')
    sku: string
    @description('Two nodes, in two zones where there are any.')
    highAvailability: bool
  }
  @description('Service Bus: messaging units.')
  busUnits: 1 | 2 | 4 | 8 | 16
  @description('Logs.')
  logs: {
    @description('Days that they are kept.')
    days: int
    @description('Most gigabytes a day: a logging loop shall not cost a fortune.')
    dailyQuotaGb: int
  }
  @description('Budget in US dollars a month; 80 and 100 % of it are told.')
  budget: int
}

var sizes = {
  dev: {
    secondRegion: false
    apim: { sku: 'StandardV2', units: 1 }
    functions: { memoryMb: 2048, maximumInstances: 40, alwaysReady: 0, httpConcurrency: 100 }
    postgres: {
      sku: 'Standard_D2ds_v5'
      storageGb: 64
      standby: false
      maxConnections: 859
      poolSize: 100
      backupDays: 7
    }
    redis: { sku: 'Balanced_B0', highAvailability: false }
    busUnits: 1
    logs: { days: 30, dailyQuotaGb: 2 }
    budget: 2200
  }
  staging: {
    secondRegion: false
    apim: { sku: 'StandardV2', units: 1 }
    functions: { memoryMb: 2048, maximumInstances: 40, alwaysReady: 1, httpConcurrency: 100 }
    postgres: {
      sku: 'Standard_D4ds_v5'
      storageGb: 128
      standby: true
      maxConnections: 1718
      poolSize: 200
      backupDays: 14
    }
    redis: { sku: 'Balanced_B1', highAvailability: true }
    busUnits: 1
    logs: { days: 30, dailyQuotaGb: 5 }
    budget: 3000
  }
  prod: {
    secondRegion: true
    apim: { sku: 'Premium', units: 3 }
    functions: { memoryMb: 2048, maximumInstances: 100, alwaysReady: 4, httpConcurrency: 200 }
    postgres: {
      sku: 'Standard_D8ds_v5'
      storageGb: 512
      standby: true
      maxConnections: 3437
      poolSize: 400
      backupDays: 35
    }
    redis: { sku: 'Balanced_B5', highAvailability: true }
    busUnits: 2
    logs: { days: 90, dailyQuotaGb: 50 }
    budget: 22000
  }
}

@export()
@description('The size of an environment.')
func sizeOf(environment 'dev' | 'staging' | 'prod') environmentSize => sizes[environment]
