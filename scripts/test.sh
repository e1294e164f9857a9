#!/usr/bin/env bash
# Runs all tests, the fast ones first.
#
#   scripts/test.sh [STAGE...]      the stages are listed in STAGES, and run in that order
#
# What the stages api and envoy measure is shown as a table at their end, and kept in target/bench/STAGE.json.
#
# Cargo is always called for the whole workspace, so that every stage shares one set of compiled
# dependencies: naming single packages would select other features and compile them again.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/wasm-toolchain.sh"

STAGES=(fmt clippy rustdoc native api doc filter prometheus wasm-core envoy fuzz generate)

main() {
  local stage
  cd "$ROOT"
  use_toolchain
  for stage in "$@"; do
    [[ " ${STAGES[*]} " == *" $stage "* ]] || die "no stage '$stage'. The stages: ${STAGES[*]}"
  done
  [ $# -gt 0 ] || set -- "${STAGES[@]}"
  for stage in "${STAGES[@]}"; do
    [[ " $* " == *" $stage "* ]] && run_stage "$stage"
  done
  printf '\nall stages passed: %s (%d s)\n' "$*" $SECONDS
}

run_stage() {
  local began=$SECONDS
  printf '\n=== %s: %s\n' "$1" "$("about_${1//-/_}")"
  "stage_${1//-/_}"
  printf -- '--- %s took %d s\n' "$1" $((SECONDS - began))
}

about_fmt() { echo "formatting"; }
stage_fmt() { cargo fmt --all --check; }

about_clippy() { echo "clippy on all native targets, warnings denied"; }
stage_clippy() { cargo clippy --workspace --all-targets --quiet -- -D warnings; }

about_rustdoc() { echo "documentation, warnings denied"; }
stage_rustdoc() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }

# The CLI binary is built here too: the Envoy tests run it. Tests on an API server or a mesh have
# commands of their own, make test-cluster and make test-mesh.
about_native() { echo "unit tests, properties, stream stories, the CLI"; }
stage_native() {
  local targets=() name
  for name in $(integration_tests | grep -vxE 'envoy|cluster|mesh|prometheus'); do targets+=(--test "$name"); done
  cargo build --workspace --lib --bins --tests
  cargo test --workspace --lib --bins "${targets[@]}"
}

# Names of all integration test targets in the workspace.
integration_tests() {
  cargo metadata --no-deps --format-version 1 |
    grep -o '"kind":\["test"\],"crate_types":\["bin"\],"name":"[^"]*"' | sed 's/.*"name":"//; s/"$//'
}

about_api() { echo "schemathesis against the live analysis API, and how fast it answers"; }
stage_api() {
  cargo build --workspace --lib --bins --tests
  scripts/test-api.sh
  with_figures api cargo test --workspace --test api an_answer_under_load
}

about_doc() { echo "examples in the documentation"; }
stage_doc() { cargo test --workspace --doc --quiet; }

about_filter() { echo "the shipped module and its twin that traps on demand; clippy for wasm"; }
stage_filter() {
  need node "It checks the module's imports and exports: https://nodejs.org, or on Debian: apt-get install nodejs."
  scripts/build-filter.sh >/dev/null
  scripts/build-filter.sh --features trap-on-demand --out graylane_filter_trap >/dev/null
  node scripts/check-module.mjs target/filter/graylane_filter.wasm
  clippy_wasm
}

# Only rustup's toolchain has clippy together with a wasm standard library.
clippy_wasm() {
  wasm_way wasm32-wasip1
  if [ "$WASM_WAY" = rustup ]; then
    WASM_DIR=wasm-check wasm_cargo wasm32-wasip1 clippy --package graylane-filter --quiet -- -D warnings
  else
    say "skipped: clippy for wasm32-wasip1, because Debian's Rust comes without clippy; the native clippy has run"
  fi
}

about_prometheus() { echo "questions to a real Prometheus, and releases on real Envoys that it judges"; }
stage_prometheus() {
  local components envoy
  components=$(scripts/components.sh prometheus)
  envoy=$(scripts/envoy.sh newest)
  cargo build --workspace --lib --bins --tests
  # They wait for windows of half a minute, and do little else.
  PROMETHEUS_BIN=$components/bin/prometheus ENVOY_BIN=$envoy RUST_TEST_THREADS=${RUST_TEST_THREADS:-4} \
    cargo test --workspace --test prometheus
}

about_wasm_core() { echo "the policy core on wasm32-unknown-unknown, under node"; }
stage_wasm_core() { scripts/test-wasm-core.sh; }

about_envoy() { echo "the shipped module in real Envoys, $ENVOY_VERSION and $ENVOY_OLDEST"; }
stage_envoy() {
  local newest oldest
  need curl "The scenarios are told as curl commands: apt-get install curl."
  need openssl "It makes the certificates of the mTLS tests: apt-get install openssl."
  newest=$(scripts/envoy.sh newest)
  oldest=$(scripts/envoy.sh oldest)
  cargo build --workspace --lib --bins --tests
  # More tests at once than cores: most of them wait for an Envoy or for time to pass.
  ENVOY_BIN=$newest ENVOY_OLDEST_BIN=$oldest RUST_TEST_THREADS=$((2 * $(nproc))) \
    with_figures envoy cargo test --workspace --test envoy
}

about_fuzz() { echo "a short run of every fuzz target"; }
stage_fuzz() { scripts/fuzz-smoke.sh; }

about_generate() { echo "generated files are what the code generates"; }
stage_generate() { scripts/generate.sh --check; }

main "$@"
