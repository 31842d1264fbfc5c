#!/usr/bin/env bash
# Asks a running shop what a client would ask first. Ends with 1 at the first answer that is wrong.
#
#   BASE_URL           https://orders-prod-....azurefd.net, without a slash at its end
#   TOKEN              an access token with catalog:read
#   SUBSCRIPTION_KEY   the gateway's key; not needed where there is no gateway
set -euo pipefail
: "${BASE_URL:?}" "${TOKEN:?}"

body=$(mktemp)
head=$(mktemp)
trap 'rm -f "$body" "$head"' EXIT

# ask STATUS PATH [curl's arguments]
ask() {
	local want=$1 path=$2 status
	shift 2
	status=$(curl -sS -m 20 --retry 3 --retry-connrefused -o "$body" -D "$head" -w '%{http_code}' \
		-H "Ocp-Apim-Subscription-Key: ${SUBSCRIPTION_KEY:-}" "$@" "$BASE_URL$path")
	if [ "$status" != "$want" ]; then
		echo "smoke: $path answered $status, not $want:" >&2
		head -c 500 "$body" >&2
		exit 1
	fi
	echo "smoke: $path $status"
}

# says TEXT: the last answer's body has it.
says() {
	grep -qi -- "$1" "$body" || {
		echo "smoke: the answer doesn't say $1" >&2
		exit 1
	}
}

ask 200 /openapi.json
says '"openapi"'
ask 200 /docs/problems/sold-out
ask 401 /api/v1/products
says '"status"'
correlation="smoke-$(date +%s)"
ask 200 '/api/v1/products?pageSize=1' -H "Authorization: Bearer $TOKEN" -H "X-Correlation-ID: $correlation"
says '"items"'
grep -qi "^x-correlation-id: $correlation" "$head" || {
	echo "smoke: the correlation id did not come back" >&2
	exit 1
}
ask 404 /api/v1/products/018cc251-0000-7000-8000-ffffffffffff -H "Authorization: Bearer $TOKEN"
ask 404 /housekeeping -X POST -H 'Content-Type: application/json' -d '{"Data": {"timer": {}}}'
for internal in /health/ready /metrics; do
	[ -n "${SUBSCRIPTION_KEY:-}" ] || continue # only a gateway hides them
	ask 404 "$internal"
done
echo "smoke: all well"
