#!/usr/bin/env bash
# Holds the analysis API of a running `graylane run --local` against its own OpenAPI document.
#
#   scripts/test-api.sh
#
# The binary has to be built. schemathesis is installed from PyPI into target/tools.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

TOKEN=a-token-of-this-test

main() {
  cd "$ROOT"
  local tool folder address graylane=${CARGO_TARGET_DIR:-$ROOT/target}/debug/graylane
  need "$graylane" "Run 'cargo build --workspace --bins'."
  tool=$(with_lock schemathesis schemathesis)
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$folder'; end" EXIT
  release "$folder"
  "$graylane" run --local "$folder/run" --api-address 127.0.0.1:0 --api-token-file "$folder/token" 2>"$folder/log" &
  SERVER=$!
  address=$(bound "$folder/log")
  seen "$address" || die "the release is not judged: $(tail -n 5 "$folder/log")"
  expectations >"$folder/schemathesis.toml"
  # It leaves what it found where it is.
  cd "$folder"
  "$tool" --config-file "$folder/schemathesis.toml" run "http://$address/openapi.json" \
    --header "Authorization: Bearer $TOKEN" --checks all \
    --max-examples "${EXAMPLES:-200}" --seed 1 --workers 1 --suppress-health-check all
}

end() { [ -z "${SERVER:-}" ] || kill "$SERVER" 2>/dev/null || true; }

# Which answers a question gets that the document allows: a number or none (200), or the document cannot know
# that it is in vain: there is no such release (404); a time that no calendar has, a window that ends before it
# begins, a label that only some metrics need (422). 400, 413 and 415 are for what the document forbids.
expectations() {
  cat <<'TOML'
[checks.positive_data_acceptance]
expected-statuses = ["200", "404", "422"]
TOML
}

# A release that is judged from its first second, though no proxy runs it.
release() {
  mkdir -p "$1/run/ecds"
  # Nobody loads it: no Envoy runs.
  : >"$1/run/filter.wasm"
  printf '%s\n' "$TOKEN" >"$1/token"
  cat >"$1/run/release.yaml" <<'YAML'
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  lanes: [{name: canary}]
  members: [{service: orders}]
  rules: [{name: testers, lane: canary, when: {match: {field: {header: x-tester}, is: present}}}]
  steps: [{analysis: {duration: 1h}}]
  analysis: {latency: [{overMs: 250, share: 95%}]}
YAML
  cat >"$1/run/proxies.yaml" <<YAML
module: filter.wasm
proxies:
- {name: gateway, admin: "127.0.0.1:1", filters: [{role: gateway, ecds: ecds/gateway.json}]}
YAML
}

# The address that the server says it has taken.
bound() {
  local tries found
  for tries in $(seq 200); do
    found=$(sed -n 's/.*analysis API is served.*address=\([0-9.:]*\).*/\1/p' "$1" | tail -n 1)
    [ -n "$found" ] && printf '%s\n' "$found" && return 0
    kill -0 "$SERVER" 2>/dev/null || break
    sleep 0.1
  done
  die "the server did not start (after $tries looks): $(cat "$1")"
}

# Whether the release is known to the API, soon.
seen() {
  for _ in $(seq 100); do
    curl -sf -o /dev/null -H "Authorization: Bearer $TOKEN" -H 'content-type: application/json' "http://$1/metrics/analysis" \
      -d '{"metricName":"success_rate","labels":{"release":"shop/summer","lane":"canary"}}' && return 0
    sleep 0.2
  done
  return 1
}

schemathesis() {
  local into=$TOOLS/schemathesis-$SCHEMATHESIS_VERSION
  if [ ! -x "$into/bin/st" ]; then
    need python3 "It runs schemathesis: apt-get install python3 python3-venv."
    say "schemathesis: installing $SCHEMATHESIS_VERSION from PyPI into target/tools"
    rm -rf "$into"
    python3 -m venv "$into" >&2 || die "python3 has no venv module. Run: apt-get install python3-venv."
    "$into/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS_VERSION" >&2 ||
      die "PyPI gave no schemathesis $SCHEMATHESIS_VERSION. Check the network."
  fi
  printf '%s\n' "$into/bin/st"
}

main "$@"
