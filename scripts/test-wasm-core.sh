#!/usr/bin/env bash
# Runs the tests of graylane-policy compiled for wasm32-unknown-unknown, under node.
#
#   scripts/test-wasm-core.sh [ARGS for the test binary]
#
# wasm-bindgen-test needs its runner in exactly the version of the wasm-bindgen crate in Cargo.lock.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/wasm-toolchain.sh"

TARGET=wasm32-unknown-unknown

main() {
  local version runner
  cd "$ROOT"
  need node "It runs the wasm tests: https://nodejs.org, or on Debian: apt-get install nodejs."
  use_toolchain
  version=$(locked_version wasm-bindgen)
  [ -n "$version" ] || die "Cargo.lock names no wasm-bindgen; is wasm-bindgen-test still a dev-dependency of graylane-policy?"
  with_lock wasm-bindgen install_runner "$version"
  runner=$TOOLS/wasm-bindgen-$version/bin/wasm-bindgen-test-runner
  wasm_way $TARGET
  say "wasm-core: compiling for $TARGET ($WASM_WAY)"
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$runner
  export RUST_BACKTRACE=0 # of the runner itself, which says nothing about a failed test
  WASM_DIR=wasm-core wasm_cargo $TARGET test --package graylane-policy --lib --tests -- "$@" | tee "$TOOLS/wasm-core.log"
  grep -qE '[1-9][0-9]* passed' "$TOOLS/wasm-core.log" ||
    die "no test ran on $TARGET: test files must take #[test] from wasm_bindgen_test there (see filter/policy/tests)"
}

locked_version() {
  cargo metadata --format-version 1 >/dev/null # writes Cargo.lock where it is missing or stale
  awk -v name="\"$1\"" '$1 == "name" { found = ($3 == name) } found && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' Cargo.lock
}

# A debug build: the runner has little to do, and it compiles in half the time.
install_runner() {
  local folder=$TOOLS/wasm-bindgen-$1
  local install=(cargo install --quiet --debug --root "$folder" --no-default-features
    --bin wasm-bindgen-test-runner --version "$1" wasm-bindgen-cli)
  [ -x "$folder/bin/wasm-bindgen-test-runner" ] && return 0
  say "installing wasm-bindgen-cli $1 from crates.io into target/tools (once, about a minute)"
  # Its own lock file first; a registry mirror may not have all of it yet.
  "${install[@]}" --locked 2>/dev/null || "${install[@]}" >&2 ||
    die "wasm-bindgen-cli $1 could not be installed. Try by hand: cargo install --version $1 wasm-bindgen-cli"
}

main "$@"
