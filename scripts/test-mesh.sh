#!/usr/bin/env bash
# The tests on a real mesh: the API server, istiod, Istio's agent, docker-registry, and an Envoy in every pod.
#
#   scripts/test-mesh.sh [TEST NAME...]      default: all; names are matched in part
#
#   SMOKE=1     only the tests whose name begins with smoke
#   HOLD=1      leave the bed of a failed test as it is, and say how to look into it
#   ENVOY=path  use this Envoy instead of the pinned one from PyPI
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/bed.sh"

main() {
  bed_components mesh
  ENVOY_BIN=$(scripts/envoy.sh newest)
  GRAYLANE_FILTER=$(scripts/build-filter.sh)
  export ENVOY_BIN GRAYLANE_FILTER
  run_in_bed mesh "$@"
}

main "$@"
