using 'names.bicep'

param environments = ['dev', 'staging', 'prod']
param locations = ['eastus', 'eastus2', 'centralus', 'westus', 'westus2', 'westus3', 'northeurope', 'westeurope', 'switzerlandnorth']
