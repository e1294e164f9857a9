#!/usr/bin/env bash
# Builds the modules that ours is compared with: target/bench/modules/{count,empty,probe}.wasm.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/wasm-toolchain.sh"

TARGET=wasm32-wasip1

main() {
  local name out=$ROOT/target/bench/modules
  wasm_way $TARGET
  (cd "$ROOT/benches/modules" && WASM_DIR=bench/wasm wasm_cargo $TARGET build --release --workspace >&2)
  mkdir -p "$out"
  for name in count empty probe; do
    cp "$ROOT/target/bench/wasm/$WASM_WAY/$TARGET/release/graylane_bench_$name.wasm" "$out/$name.wasm"
  done
  printf '%s\n' "$out"
}

with_lock bench-modules main
