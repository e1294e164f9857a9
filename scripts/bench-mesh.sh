#!/usr/bin/env bash
# What control costs, of a release build: weight changes beside those of a plain VirtualService, faults, verdicts, a
# new leader, others who change its config, a version that goes and comes, an undo, bad weather, a thousand releases. All
# figures are shown as one table at the end, and kept in target/bench/mesh.json; one that misses its bound fails.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  local result=0 bench=$ROOT/target/bench
  export RELEASE=1
  "$ROOT/scripts/test-mesh.sh" weights faults judging recovery throughout readiness what_has_become || result=$?
  "$ROOT/scripts/test-cluster.sh" a_thousand elections kills storms drift || result=$?
  python3 "$ROOT/scripts/figures.py" "$bench/mesh.jsonl" "$bench/cluster.jsonl" "$bench/mesh.json"
  return $result
}

main "$@"
