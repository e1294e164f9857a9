#!/usr/bin/env bash
# Writes the ecds/*.json of every scenario: what `graylane render` makes of its release files.
#
#   envoy-configs/render.sh [FOLDER]      FOLDER receives the files instead; default: envoy-configs
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-$PWD}
graylane=${GRAYLANE:-../target/debug/graylane}
# As the Envoys see it, which are started in the folders of their scenarios.
module=../../target/filter/graylane_filter.wasm

releases_of() {
  local file
  for file in "$1"/release/*.yaml; do
    [ "${file##*/}" = proxies.yaml ] || { echo ---; cat "$file"; }
  done
}

# ecds/cart-outbound.json is for the outbound side; so the name of the file tells the role.
render() {
  local scenario=$1 file=$2 role
  role=${file%.json}
  role=${role##*-}
  mkdir -p "$out/$scenario/ecds"
  releases_of "$scenario" | "$graylane" render -f - --role "$role" --output ecds --module "$module" \
    >"$out/$scenario/ecds/$file"
}

for proxies in */release/proxies.yaml; do
  scenario=${proxies%%/*}
  grep -o 'ecds/[a-z-]*\.json' "$proxies" | while read -r path; do
    render "$scenario" "${path#ecds/}"
  done
done
