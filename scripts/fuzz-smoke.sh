#!/usr/bin/env bash
# Runs every fuzz target of tests/fuzz for a short time (FUZZ_SECONDS each, default 10).
#
#   scripts/fuzz-smoke.sh [TARGET...]
#
# The core holds no unsafe code, so the sanitizers are left out: coverage guidance alone works on the
# pinned stable toolchain. An input that fails is kept below target/fuzz/artifacts, with the command that
# runs it again.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

WORK=$ROOT/target/fuzz
FUZZ=$TOOLS/cargo-fuzz-$CARGO_FUZZ_VERSION/bin/cargo-fuzz

main() {
  local targets
  cd "$ROOT"
  use_toolchain
  [ $# -gt 0 ] || mapfile -t targets < <(sed -n 's|^path = "targets/\(.*\)\.rs"|\1|p' tests/fuzz/Cargo.toml)
  [ $# -eq 0 ] || targets=("$@")
  with_lock cargo-fuzz install_cargo_fuzz || skip "cargo-fuzz $CARGO_FUZZ_VERSION could not be installed from crates.io"
  have c++ || have g++ || have clang++ || skip "libFuzzer wants a C++ compiler (Debian: apt-get install g++)"
  export CARGO_TARGET_DIR=$WORK
  "$FUZZ" build --fuzz-dir tests/fuzz --sanitizer none >&2
  run_targets "${targets[@]}"
}

# Two at a time: each runs for a time, not to an end.
run_targets() {
  local target pid pids=()
  for target in "$@"; do
    run_target "$target" &
    pids+=($!)
    if [ ${#pids[@]} -eq 2 ]; then
      wait "${pids[0]}"
      pids=("${pids[@]:1}")
    fi
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}

# A machine that cannot fuzz may skip it, except in CI, where nobody would notice.
skip() {
  [ -z "${CI:-}" ] || die "fuzzing must not be skipped in CI: $1"
  say "skipped: fuzzing, because $1"
  exit 0
}

install_cargo_fuzz() {
  local install=(cargo install --quiet --debug --root "${FUZZ%/bin/*}" --version "$CARGO_FUZZ_VERSION" cargo-fuzz)
  [ -x "$FUZZ" ] && return 0
  say "installing cargo-fuzz $CARGO_FUZZ_VERSION from crates.io into target/tools (once, about a minute)"
  "${install[@]}" --locked 2>/dev/null || "${install[@]}" >&2
}

run_target() {
  local target=$1 seconds=${FUZZ_SECONDS:-10} corpus=$WORK/corpus/$1 log=$WORK/$1.log
  local options=("-max_total_time=$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048
    "-artifact_prefix=$WORK/artifacts/$target/" -print_final_stats=1)
  mkdir -p "$corpus" "$WORK/artifacts/$target"
  seed "$target" "$corpus"
  dictionary "$target" && options+=("-dict=$WORK/$target.dict")
  if ! "$FUZZ" run --fuzz-dir tests/fuzz --sanitizer none "$target" "$corpus" -- "${options[@]}" >"$log" 2>&1; then
    tail -40 "$log" >&2
    die "fuzz target $target failed. Run it again: cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none $target $(ls -t "$WORK/artifacts/$target/"* 2>/dev/null | head -1)"
  fi
  printf 'fuzz %s: %s runs in %s s, nothing found\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds"
}

# Documents to start from: those of the scenarios, and what is handed in below tests/fuzz/seeds.
seed() {
  local target=$1 corpus=$2 file number=0
  if [ -d "tests/fuzz/seeds/$target" ]; then cp tests/fuzz/seeds/"$target"/* "$corpus/"; fi
  [ "$target" = config ] || return 0
  for file in envoy-configs/*/ecds/*.json; do
    number=$((number + 1))
    sed -n 's/^ *"value": "\(.*\)",\{0,1\}$/\1/p' "$file" | sed 's/\\"/"/g' >"$corpus/scenario-$number"
  done
}

# Words to try: a hand-written list, or for documents every name and constant of their JSON Schema.
dictionary() {
  local target=$1 schema=docs/schema/filter-config.json
  if [ -f "tests/fuzz/dict/$target" ]; then
    cp "tests/fuzz/dict/$target" "$WORK/$target.dict"
  elif [ "$target" = config ] && [ -f $schema ]; then
    grep -oE '"[A-Za-z_-]{1,40}"' $schema | sort -u | sed 's/^"\(.*\)"$/"\\"\1\\""/' >"$WORK/$target.dict"
  else
    return 1
  fi
}

main "$@"
