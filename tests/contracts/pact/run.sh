#!/usr/bin/env bash
# Fetches the contracts' native library, in the version and with the digest of package-lock.json, once into .local/, and
# runs the command given with what compiles and links against it:
#
#     tests/contracts/pact/run.sh go test -tags contracts ./tests/contracts/...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)

missing() {
	[ -z "${CI:-}" ] || { echo "contracts: $1: CI proves the contracts" >&2; exit 1; }
	echo "contracts: NOT PROVEN HERE: $1" >&2
	exit 0
}

[ "$(uname -sm)" = "Linux x86_64" ] || missing "the library that is pinned is for Linux on x86-64"
for tool in npm gcc; do
	command -v "$tool" >/dev/null || missing "$tool is not on PATH"
done

digest=$(sha256sum "$here/package-lock.json" | cut -c1-16)
library=$root/.local/pact-$digest
if ! [ -d "$library" ]; then
	mkdir -p "$root/.local"
	aside=$(mktemp -d "$root/.local/pact-new-XXXXXX")
	trap 'rm -rf "$aside"' EXIT
	cp "$here/package.json" "$here/package-lock.json" "$aside/"
	(cd "$aside" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error)
	mv -T "$aside" "$library" 2>/dev/null || [ -d "$library" ] # another run was first
fi
lib=$(dirname "$(find "$library" -name libpact_ffi.so -print -quit)")

# Where gcc and the loader look, so that nothing else has to be compiled anew for it (as with CGO_LDFLAGS).
export CGO_ENABLED=1
export LIBRARY_PATH=$lib${LIBRARY_PATH:+:$LIBRARY_PATH}
export LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PACT_DO_NOT_TRACK=true
exec "$@"
