metadata description = 'The Log Analytics workspace that everything else writes to.'

import { environmentName, resourceName, tags } from '../../types/common.bicep'

@description('Where the workspace stands.')
param location string

@description('The environment that it serves.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('Most gigabytes a day: a logging loop shall not cost a fortune.')
param dailyQuotaGb int = 20

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: resourceName('log', environment)
  location: location
  tags: resourceTags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: environment == 'prod' ? 90 : 30
    workspaceCapping: { dailyQuotaGb: dailyQuotaGb }
    features: { disableLocalAuth: true, enableLogAccessUsingOnlyResourcePermissions: true }
  }
}

@description('The id that diagnostic settings and Application Insights name.')
output workspaceId string = workspace.id
