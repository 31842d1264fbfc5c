#!/usr/bin/env bash
# Sends a share of requests to the canary, within seconds: only the gateway's pools change.
#
#   weight.sh RESOURCE_GROUP GATEWAY PERCENT
set -euo pipefail
[ $# = 3 ] || {
	sed -n '2,4p' "$0" >&2
	exit 2
}
group=$1 gateway=$2 percent=$3
case $percent in
'' | *[!0-9]*) percent=101 ;;
esac
if [ "$percent" -gt 100 ]; then
	echo "weight: the share is a number from 0 to 100" >&2
	exit 2
fi

id=$(az apim show --resource-group "$group" --name "$gateway" --query id --output tsv)
for surface in api graphql docs openapi-json ops; do
	member() { printf '{"id": "%s/backends/%s", "weight": %s, "priority": 1}' "$id" "$1" "$2"; }
	services=$(member "$surface-stable-primary" $((100 - percent)))
	if [ "$percent" -gt 0 ]; then
		services="$services, $(member "$surface-canary" "$percent")"
	fi
	az rest --method patch --headers 'If-Match=*' \
		--url "$id/backends/$surface-primary?api-version=2024-05-01" \
		--body "{\"properties\": {\"pool\": {\"services\": [$services]}}}" --output none
done
echo "weight: the canary answers $percent %"
