targetScope = 'subscription'

metadata description = 'Everything that runs in Azure, from one command: az deployment sub create --location eastus --template-file infra/main.bicep --parameters environment=prod. So far: the resource group and its log workspace.'

import { environmentName, resourceName, tags } from '../bicep/types/common.bicep'

@description('The environment to deploy. The only parameter without a default.')
param environment environmentName

@description('Where it stands; the deployment\'s own location unless named.')
param location string = deployment().location

var resourceTags tags = { service: 'order-catalog', environment: environment }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceName('rg', environment)
  location: location
  tags: resourceTags
}

module logs '../bicep/modules/monitoring/logs.bicep' = {
  scope: group
  params: { location: location, environment: environment, resourceTags: resourceTags }
}

@description('The resource group of everything.')
output resourceGroup string = group.name

@description('The workspace that diagnostics go to.')
output workspaceId string = logs.outputs.workspaceId
