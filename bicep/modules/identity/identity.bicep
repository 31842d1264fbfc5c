metadata description = 'An identity: who a part of the service is to the others. It has no secret.'

import { tags } from '../../types/common.bicep'

@description('Its name.')
param name string

@description('Where it stands.')
param location string

@description('Tags of every resource.')
param resourceTags tags

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: resourceTags
}

@description('What roles are given to, and what Redis calls the user.')
output principalId string = identity.properties.principalId
