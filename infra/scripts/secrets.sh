#!/usr/bin/env bash
# Puts the secrets that the service makes up for itself into the vault, once. What is there stays: a new signing key would
# make every cursor that clients hold void, and a new webhook secret would lock every endpoint's.
#
# It goes through the control plane, so it works from outside of the network and needs no role on what is in the vault.
#
#   secrets.sh RESOURCE_GROUP VAULT
set -euo pipefail
[ $# = 2 ] || {
	sed -n '2,7p' "$0" >&2
	exit 2
}
id=$(az keyvault show --resource-group "$1" --name "$2" --query id --output tsv)
body=$(mktemp)
trap 'rm -f "$body"' EXIT
for name in JwtSigningKey WebhookSecret; do
	url="$id/secrets/$name?api-version=2026-02-01"
	if az rest --method get --url "$url" --output none 2>/dev/null; then
		echo "secrets: $name is there"
		continue
	fi
	# In a file that only we can read, and on no command line: those are seen by everyone on the machine.
	printf '{"properties": {"value": "%s", "contentType": "text/plain"}}' "$(openssl rand -base64 48)" >"$body"
	az rest --method put --url "$url" --body "@$body" --output none
	echo "secrets: $name was made"
done
