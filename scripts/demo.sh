#!/usr/bin/env bash
# Builds the filter and graylane, gets Envoy, and runs the demo.
#
#   KEEP=1      leave everything running afterwards and print the addresses to try with curl
#   ENVOY=path  use this Envoy instead of the pinned one from PyPI
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  local filter envoy args=()
  cd "$ROOT"
  use_toolchain
  filter=$(scripts/build-filter.sh)
  envoy=$(scripts/envoy.sh newest)
  say "graylane: compiling"
  cargo build --quiet --package graylane
  case ${KEEP:-} in
    '' | 0 | no) ;;
    *) args+=(--keep) ;;
  esac
  # In place of this shell, so that an interrupt reaches the demo, which ends what it started.
  exec "${CARGO_TARGET_DIR:-$ROOT/target}/debug/graylane" demo --envoy "$envoy" --filter "$filter" "${args[@]}" "$@"
}

main "$@"
