#!/usr/bin/env bash
# Good and bad releases in virtual time, judged by the shipped engine and by other rules on the same users, and then
# releases on real Envoys; prints tables and writes target/bench/release.json. Seeds are held out from every
# choice of a setting, unless --tuning or --burnt says otherwise.
#
#   scripts/bench-release.sh [--scale PERCENT] [--tuning | --burnt] [--real ROUNDS] [--kind WORD]
#
# Eleven releases on real Envoys are a round, some seven minutes; four rounds unless said otherwise. With --kind only
# those whose name has the word in it, in virtual time as well.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  local filter envoy
  cd "$ROOT"
  use_toolchain
  mkdir -p target/bench
  filter=$(scripts/build-filter.sh)
  envoy=$(scripts/envoy.sh newest)
  cargo run --quiet --release --package graylane-bench-release -- \
    --out target/bench/release.json --filter "$filter" --envoy "$envoy" --real 4 "$@"
}

main "$@"
