#!/usr/bin/env bash
# CPU of an Envoy process for one request: alone, with native routes, with Lua, with stock modules, with
# ours, in interleaved slots. Takes some six minutes; QUICK=1 about one.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  cd "$ROOT"
  use_toolchain
  scripts/build-filter.sh >/dev/null
  scripts/build-bench-modules.sh >/dev/null
  ENVOY_BIN=$(scripts/envoy.sh)
  export ENVOY_BIN
  cargo bench --package graylane-benches --bench load
}

main "$@"
