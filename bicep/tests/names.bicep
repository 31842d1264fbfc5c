metadata description = 'The names that the functions of types/ give, for a test to look at: nothing here is deployed.'

import { environmentName, shortName, worldName } from '../types/common.bicep'
import { factsOf } from '../types/regions.bicep'

@description('Environments.')
param environments environmentName[]

@description('Regions; the last one is none that the table knows.')
param locations string[]

var cases = flatten(map(
  environments,
  environment =>
    map(
      locations,
      location => { environment: environment, code: factsOf(location).code, seed: uniqueString(location, environment) }
    )
))

@description('Short names.')
output short string[] = map(cases, one => shortName('st', one.environment, one.code, one.seed))

@description('Long names.')
output world string[] = map(cases, one => worldName('func-can', one.environment, one.code, one.seed))

@description('What each region is paired with.')
output pairs string[] = map(locations, location => factsOf(location).pair)
