#!/usr/bin/env bash
# Watches the canary until there is enough to judge, then says go (0) or stop (1). Too few requests in half an hour is
# stop too: nobody has seen it work.
#
#   gate.sh WORKSPACE_CUSTOMER_ID
set -euo pipefail
[ $# = 1 ] || {
	sed -n '2,5p' "$0" >&2
	exit 2
}
query=$(dirname "$0")/gate.kql
for _ in $(seq "${GATE_TRIES:-30}"); do
	# Logs are a few minutes late; the query looks ten minutes back.
	sleep "${GATE_PAUSE:-60}"
	row=$(az monitor log-analytics query --workspace "$1" --analytics-query "@$query" --query '[0]' --output json)
	verdict=$(printf '%s' "$row" | sed -n 's/.*"verdict": *"\([^"]*\)".*/\1/p')
	echo "gate: ${verdict:-no requests yet} $(printf '%s' "$row" | tr -d '\n ')"
	case $verdict in
	go) exit 0 ;;
	stop*) exit 1 ;;
	esac
done
echo "gate: the canary got too few requests to judge it" >&2
exit 1
