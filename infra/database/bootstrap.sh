#!/bin/sh
# Makes the roles of the service's identities. Runs as a job inside of the network, as the server's Entra administrator,
# with what Alpine's postgres image has. Needs PGHOST, PGUSER, IDENTITIES, AZURE_CLIENT_ID and the platform's IDENTITY_*.
set -eu

# No pipe: with one, a refusal would look like an empty token.
answer=$(wget -q -O - --header "X-IDENTITY-HEADER: $IDENTITY_HEADER" \
	"$IDENTITY_ENDPOINT?api-version=2019-08-01&client_id=$AZURE_CLIENT_ID&resource=https://ossrdbms-aad.database.windows.net")
PGPASSWORD=${answer#*\"access_token\":\"}
PGPASSWORD=${PGPASSWORD%%\"*}
PGOPTIONS="-c orders.identities=$IDENTITIES"
export PGPASSWORD PGOPTIONS PGSSLMODE=verify-full PGSSLROOTCERT=system

printf '%s' "$PRINCIPALS_SQL" | psql -v ON_ERROR_STOP=1 -X -d postgres -f -
# The owner is a role of ours: what the template makes belongs to Azure's.
test "$(psql -X -A -t -d postgres -c "SELECT count(*) FROM pg_database WHERE datname = 'orders'")" = 1 ||
	psql -v ON_ERROR_STOP=1 -X -d postgres -c 'CREATE DATABASE orders OWNER orders_owner'
printf '%s' "$GRANTS_SQL" | psql -v ON_ERROR_STOP=1 -X -d orders -f -
echo "roles of $IDENTITIES are there"
