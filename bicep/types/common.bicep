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
}

@export()
@description('The name of a resource: its kind as an abbreviation, the service, the environment.')
func resourceName(abbreviation string, environment environmentName) string => '${abbreviation}-orders-${environment}'
