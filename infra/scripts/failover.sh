#!/usr/bin/env bash
# Makes the other region the one that serves, in the order in which nothing is lost that need not be. Run it by hand:
# whether a region is gone for good is a decision, not an alert.
#
#   failover.sh planned|forced ENVIRONMENT LOCATION SECOND_LOCATION
#
# SERVING=primary is the way back: then LOCATION is the second region and SECOND_LOCATION the first.
# planned: both regions answer; nothing is lost. forced: the first one is gone; what it had not copied yet is lost.
set -euo pipefail
if [ $# != 4 ] || { [ "$1" != planned ] && [ "$1" != forced ]; }; then
	sed -n '2,8p' "$0" >&2
	exit 2
fi
mode=$1 environment=$2 location=$3 second=$4
here=$(dirname "$0")

# Names end in letters that only the subscription knows, so what is meant is looked up.
lookup() { az resource list --resource-type "$1" --location "$2" --tag environment="$environment" --query '[0].id' --output tsv; }
replica=$(lookup Microsoft.DBforPostgreSQL/flexibleServers "$second")
bus=$(lookup Microsoft.ServiceBus/namespaces "$location")
app=$(lookup Microsoft.Web/sites "$second")
: "${replica:?there is no PostgreSQL in $second}" "${bus:?there is no Service Bus of $environment}" "${app:?there is no function app in $second}"

echo "1/3 PostgreSQL: $replica becomes the primary"
az postgres flexible-server replica promote --ids "$replica" --promote-mode switchover --promote-option "$mode" --yes

echo "2/3 Service Bus: the copy in $second becomes the primary"
force=false
[ "$mode" = planned ] || force=true
az rest --method post --url "$bus/failover?api-version=2026-01-01" \
	--body "{\"properties\": {\"primaryLocation\": \"$second\", \"force\": $force}}"

if [ "$mode" = planned ]; then
	echo "3/3 Front Door and the functions: $second serves"
	az deployment sub create --name "failover-$(date +%Y%m%d%H%M%S)" --location "$location" \
		--template-file "$here/../main.bicep" --parameters environment="$environment" serving="${SERVING:-secondary}" makeReplica=false --output none
else
	# A deployment would wait for the region that is gone. Front Door has left it by itself; messages and timers are what
	# is missing over there.
	echo "3/3 the functions in $second take messages"
	az functionapp config appsettings list --ids "$app" --query "[?starts_with(name, 'AzureWebJobs.')].name" --output tsv |
		xargs az functionapp config appsettings delete --ids "$app" --output none --setting-names
fi
echo "failover: $second serves. Redis there is empty and fills by itself."
