metadata description = 'Types and names that all modules share.'

@export()
@description('Where a deployment stands: dev and staging are small, prod is what customers meet.')
type environmentName = 'dev' | 'staging' | 'prod'

@export()
@description('Tags of every resource.')
type tags = {
  @description('The service that the resource belongs to.')
  service: string
  @description('The environment that it stands in.')
  environment: environmentName
  @description('Who deployed it: nothing here is made by hand.')
  managedBy: 'bicep'
}

@export()
@description('One region of a deployment.')
type deploymentRegion = {
  @description('Its name, as in eastus.')
  location: string
  @description('Its short name in resource names, as in eus.')
  code: string
  @description('Its availability zones; empty where it has none.')
  zones: string[]
  @description('The second octet of its address space: regions must not overlap.')
  octet: int
  @description('The region that the deployment was made for. The other one stands by.')
  primary: bool
}

@export()
@description('An identity that gets a role, and the resource group that it is in.')
type identityPlace = {
  @description('The resource group.')
  group: string
  @description('The identity.')
  name: string
}

@export()
@description('A name inside of a resource group: kind, service, environment, region.')
func localName(kind string, environment environmentName, code string) string => '${kind}-orders-${environment}-${code}'

@export()
@description('A name that must be unique in the world: the same with six letters that no other subscription gets.')
func worldName(kind string, environment environmentName, code string, seed string) string =>
  '${kind}-orders-${environment}-${code}-${take(seed, 6)}'

@export()
@description('A unique name without dashes, at most 24 long, as storage accounts and key vaults want it.')
func shortName(kind string, environment environmentName, code string, seed string) string =>
  toLower('${kind}ord${take(environment, 4)}${take(code, 5)}${take(seed, 8)}')
