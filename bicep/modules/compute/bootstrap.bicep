metadata description = 'A job that makes the database roles of the service\'s identities: the server can be reached from inside of the network only. Started by hand (infra/README.md).'

import { deploymentRegion, environmentName, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('The environment of containers.')
param containersId string

@description('The identity of the database\'s administrator, in this resource group.')
param administrator string

@description('The database server.')
param databaseHost string

@description('Names of the identities that the service runs as.')
param identities string[]

@description('The image: psql, wget and a shell.')
param image string = 'docker.io/library/postgres:17-alpine'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: administrator
}

resource job 'Microsoft.App/jobs@2026-01-01' = {
  name: localName('caj-roles', environment, region.code)
  location: region.location
  tags: resourceTags
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    environmentId: containersId
    workloadProfileName: 'Consumption'
    configuration: {
      triggerType: 'Manual'
      replicaTimeout: 300
      replicaRetryLimit: 1
      manualTriggerConfig: { parallelism: 1, replicaCompletionCount: 1 }
    }
    template: {
      containers: [
        {
          name: 'roles'
          image: image
          command: ['/bin/sh', '-c', loadTextContent('../../../infra/database/bootstrap.sh')]
          env: [
            { name: 'PGHOST', value: databaseHost }
            { name: 'PGUSER', value: administrator }
            { name: 'IDENTITIES', value: join(identities, ',') }
            { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId }
            { name: 'PRINCIPALS_SQL', value: loadTextContent('../../../infra/database/principals.sql') }
            { name: 'GRANTS_SQL', value: loadTextContent('../../../infra/database/grants.sql') }
          ]
          resources: { cpu: json('0.25'), memory: '0.5Gi' }
        }
      ]
    }
  }
}

@description('The job, for az containerapp job start.')
output jobName string = job.name
