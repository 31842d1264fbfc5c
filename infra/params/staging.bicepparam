using '../main.bicep'

param environment = 'staging'
