#!/usr/bin/env bash
# Puts a package into function apps, one after the other.
#
#   publish.sh ZIP "APP..."
set -euo pipefail
[ $# = 2 ] || {
	sed -n '2,4p' "$0" >&2
	exit 2
}
for app in $2; do
	group=$(az functionapp list --query "[?name=='$app'].resourceGroup" --output tsv)
	: "${group:?there is no app $app}"
	echo "publish: $app"
	az functionapp deployment source config-zip --resource-group "$group" --name "$app" --src "$1" --output none
done
