#!/usr/bin/env bash
# Good and bad releases in virtual time, judged by ours and by other rules on the same traces; prints
# tables and writes target/bench/release.json. Seeds are held out from every choice of a setting.
#
#   scripts/bench-release.sh [--scale PERCENT] [--tuning]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  cd "$ROOT"
  use_toolchain
  mkdir -p target/bench
  cargo run --quiet --release --package graylane-bench-release -- --out target/bench/release.json "$@"
}

main "$@"
