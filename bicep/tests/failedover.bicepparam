// Production with a canary that answers a tenth, after a failover to the other region: for a test to look at.
using '../../infra/main.bicep'

param environment = 'prod'
param canaryWeight = 10
param serving = 'secondary'
param makeReplica = false
