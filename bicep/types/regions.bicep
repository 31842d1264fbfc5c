metadata description = 'What a region is called in names, which zones it has and which one it is paired with.'

@export()
@description('The facts of one region.')
type regionFacts = {
  @description('Short name.')
  code: string
  @description('What API Management calls it.')
  title: string
  @description('Availability zones.')
  zones: string[]
  @description('The region that its geo-redundant backups go to.')
  pair: string
}

var three = ['1', '2', '3']

@export()
@description('The regions that this was planned for. Another one works too: without zones, and paired with West US.')
var regions = {
  eastus: { code: 'eus', title: 'East US', zones: three, pair: 'westus' }
  eastus2: { code: 'eus2', title: 'East US 2', zones: three, pair: 'centralus' }
  centralus: { code: 'cus', title: 'Central US', zones: three, pair: 'eastus2' }
  westus: { code: 'wus', title: 'West US', zones: [], pair: 'eastus' }
  westus2: { code: 'wus2', title: 'West US 2', zones: three, pair: 'westcentralus' }
  westus3: { code: 'wus3', title: 'West US 3', zones: three, pair: 'eastus' }
  northeurope: { code: 'neu', title: 'North Europe', zones: three, pair: 'westeurope' }
  westeurope: { code: 'weu', title: 'West Europe', zones: three, pair: 'northeurope' }
}

@export()
@description('What is known of a region.')
func factsOf(location string) regionFacts =>
  regions[?location] ?? { code: take(location, 5), title: location, zones: [], pair: 'westus' }
