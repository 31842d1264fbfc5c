metadata description = 'The OpenTelemetry Collector. Flex Consumption has no sidecars and cannot be scraped, so handlers push to it.'

import { deploymentRegion, environmentName, localName, tags } from '../../types/common.bicep'

@description('The region.')
param region deploymentRegion

@description('The environment.')
param environment environmentName

@description('Tags of every resource.')
param resourceTags tags

@description('The environment of containers.')
param containersId string

@description('Its identity, in this resource group.')
param identityName string

@description('Where metrics are written to.')
param remoteWriteUrl string

@description('The image.')
param image string = 'docker.io/otel/opentelemetry-collector-contrib:0.140.1'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource collector 'Microsoft.App/containerApps@2026-01-01' = {
  name: localName('ca-otel', environment, region.code)
  location: region.location
  tags: resourceTags
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    environmentId: containersId
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      // External to the environment, which is internal to the network.
      ingress: { external: true, targetPort: 4318, transport: 'http', allowInsecure: false }
    }
    template: {
      containers: [
        {
          name: 'collector'
          image: image
          args: ['--config=env:COLLECTOR_CONFIG']
          env: [
            { name: 'COLLECTOR_CONFIG', value: loadTextContent('../../../infra/collector/config.yaml') }
            { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId }
            { name: 'REMOTE_WRITE_URL', value: remoteWriteUrl }
          ]
          resources: { cpu: json('0.5'), memory: '1Gi' }
          probes: [{ type: 'Liveness', httpGet: { path: '/', port: 13133 }, periodSeconds: 10 }]
        }
      ]
      scale: { minReplicas: environment == 'prod' ? 2 : 1, maxReplicas: 4 }
    }
  }
}

@description('Where handlers push to.')
output endpoint string = 'https://${collector.properties.configuration.ingress.fqdn}'
