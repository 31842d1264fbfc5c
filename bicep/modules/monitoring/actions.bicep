metadata description = 'Who is told when something is wrong.'

import { environmentName, tags } from '../../types/common.bicep'

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('Addresses that are written to.')
param emails string[]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-orders-${environment}'
  location: 'global'
  tags: resourceTags
  properties: {
    groupShortName: 'orders-${take(environment, 4)}'
    enabled: true
    emailReceivers: [
      for (email, i) in emails: { name: 'email-${i + 1}', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

@description('The group.')
output actionGroupId string = group.id
