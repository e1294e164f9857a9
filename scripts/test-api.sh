#!/usr/bin/env bash
# Holds the analysis API of a running `graylane run --local` against its own OpenAPI document. Its numbers come from a
# real Envoy with the shipped module, and some requests.
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
  need curl "It sends the requests that are counted: apt-get install curl."
  tool=$(from_pypi schemathesis "$SCHEMATHESIS_VERSION" st)
  ENVOY_BIN=$(scripts/envoy.sh newest)
  FILTER=${GRAYLANE_FILTER:-$(scripts/build-filter.sh)}
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now
  trap "end; rm -rf '$folder'" EXIT
  stage "$folder"
  "$graylane" run --local "$folder/run" --api-address 127.0.0.1:0 --api-token-file "$folder/token" 2>"$folder/log" &
  SERVER=$!
  address=$(bound "$folder/log")
  traffic "$folder"
  seen "$address" || die "nothing is counted: $(tail -n 5 "$folder/log" "$folder/envoy.log")"
  expectations >"$folder/schemathesis.toml"
  # It leaves what it found where it is.
  cd "$folder"
  SCHEMATHESIS_HOOKS=$ROOT/scripts/api-hooks.py NUMBERS=$folder/numbers \
    "$tool" --config-file "$folder/schemathesis.toml" run "http://$address/openapi.json" \
    --header "Authorization: Bearer $TOKEN" --checks all \
    --max-examples "${EXAMPLES:-200}" --seed 1 --workers 1 --suppress-health-check all
  numbers "$folder/numbers"
}

end() {
  local pid
  for pid in ${USERS:-} ${PROXY:-} ${SERVER:-}; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}

# Whether answers with a number were among those that were checked, of each metric that counts requests.
numbers() {
  local metric count
  for metric in success_rate error_rate slow_rate request_rate request_count; do
    count=$(grep -c "\"$metric\"" "$1") || die "no answer about $metric had a number, so none was held against the document"
    say "answers about $metric with a number: $count"
  done
}

# Which answers a question gets that the document allows: a number or none (200), or the document cannot know
# that it is in vain: there is no such release (404); a time that no calendar has, a window that ends before it
# begins, a label that only some metrics need (422). 400, 413 and 415 are for what the document forbids.
expectations() {
  cat <<'TOML'
[checks.positive_data_acceptance]
expected-statuses = ["200", "404", "422"]
TOML
}

# The gateway of envoy-configs/weight on ports that are free, one in fifty of whose requests may be asked to fail, and
# a release of it that is judged.
stage() {
  local ports
  cp -r envoy-configs/weight "$1/run"
  rm -rf "$1/run/release"
  ports=$(python3 -c 'import socket; s=[socket.socket() for _ in range(4)]; [x.bind(("127.0.0.1", 0)) for x in s]; print(*[x.getsockname()[1] for x in s])')
  read -r ENTRY ADMIN STABLE CANARY <<<"$ports"
  sed -i -e "s/port_value: 10000/port_value: $ENTRY/; s/port_value: 9901/port_value: $ADMIN/" \
    -e "s/port_value: 10011/port_value: $STABLE/; s/port_value: 10012/port_value: $CANARY/" \
    -e 's|routes: \[{match: {prefix: /}, direct|routes: [{match: {prefix: /broken}, direct_response: {status: 503}}, {match: {prefix: /}, direct|' \
    "$1/run/envoy.yaml"
  mv "$1/run/envoy.yaml" "$1/envoy.yaml"
  printf '%s\n' "$TOKEN" >"$1/token"
  cat >"$1/run/release.yaml" <<'YAML'
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  lanes: [{name: canary}]
  members: [{service: orders, hosts: [127.0.0.1]}]
  stickiness: {unit: [{header: x-user-id}, {query: user}]}
  steps: [{weight: 50%}, {analysis: {duration: 1h}}]
  analysis: {latency: [{overMs: 250, share: 95%}]}
  promotion: {strategy: manual}
YAML
  cat >"$1/run/proxies.yaml" <<YAML
module: $FILTER
proxies:
- {name: gateway, admin: "127.0.0.1:$ADMIN", concurrency: 1, filters: [{role: gateway, entry: true, ecds: ecds/gateway.json}]}
YAML
}

# Starts the gateway and users whose requests it counts.
traffic() {
  (cd "$1/run" && exec "$ENVOY_BIN" -c ../envoy.yaml --concurrency 1 --disable-hot-restart >"$1/access.log" 2>"$1/envoy.log") &
  PROXY=$!
  local users="http://127.0.0.1:$ENTRY"
  (while sleep 0.2; do curl -s -o /dev/null "$users/?user=[1-49]" "$users/broken?user=$RANDOM" || true; done) &
  USERS=$!
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

# Whether the API has numbers about the release, soon.
seen() {
  local answer
  for _ in $(seq 200); do
    answer=$(curl -s -H "Authorization: Bearer $TOKEN" -H 'content-type: application/json' "http://$1/metrics/analysis" \
      -d '{"metricName":"success_rate","labels":{"release":"shop/summer","lane":"canary"}}') || true
    [[ $answer =~ \"value\":[0-9] ]] && say "the API says: $answer" && return 0
    sleep 0.2
  done
  return 1
}

main "$@"
