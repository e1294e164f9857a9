#!/usr/bin/env bash
# The benches of the core (criterion) and the budgets: instructions, host calls, fuel, size, memory.
#
#   scripts/bench.sh [gates | NAME...]    gates: only the budgets; NAME: only criterion benches with it in their name
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  cd "$ROOT"
  use_toolchain
  mkdir -p target/bench
  if [ "${1:-}" != gates ]; then
    cargo bench --package graylane-benches --bench core -- "$@"
    [ $# -eq 0 ] || return 0
  fi
  gates
}

# All budgets are held before the first that was missed ends the run.
gates() {
  local missed=0
  scripts/build-filter.sh >/dev/null
  printf '\n=== module size and exports\n'
  node scripts/check-module.mjs target/filter/graylane_filter.wasm || missed=1
  printf '\n=== host calls of a request\n'
  cargo test --quiet --package graylane-benches --test gates -- --nocapture || missed=1
  printf '\n=== instructions of the core (callgrind)\n'
  cargo build --quiet --release --package graylane-benches --bin instructions
  target/release/instructions || missed=1
  printf '\n=== fuel and memory of the shipped module (wasmtime)\n'
  cargo build --release --manifest-path benches/wasm/Cargo.toml --target-dir target/bench/wasmtime
  target/bench/wasmtime/release/graylane-benches-wasm || missed=1
  [ $missed -eq 0 ] || die "a figure is out of its budget, see above"
}

main "$@"
