#!/usr/bin/env bash
# The tests on a real API server: etcd, kube-apiserver and kube-controller-manager.
#
#   scripts/test-cluster.sh [TEST NAME...]      default: all; names are matched in part
#
#   SMOKE=1     only the tests whose name begins with smoke
#   HOLD=1      leave the bed of a failed test as it is, and say how to look into it
#   RELEASE=1   run a release build of graylane, of which costs are judged too
#
# What was measured is shown as a table at the end, and kept in target/bench/cluster.json.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/bed.sh"

main() {
  bed_components cluster
  ENVOY_BIN=$(scripts/envoy.sh newest)
  export ENVOY_BIN
  # The short ones measure nothing, and wait more than they work.
  case ${SMOKE:-} in '' | 0 | no) ;; *) export RUST_TEST_THREADS=${RUST_TEST_THREADS:-3} ;; esac
  with_figures cluster run_in_bed cluster "$@"
}

main "$@"
