# shellcheck shell=bash
# What the test beds share. Source it after lib.sh.

# bed_components WHICH: everything the beds run, built or installed.
bed_components() {
  cd "$ROOT" || exit
  use_toolchain
  need openssl "It makes the key of service accounts: apt-get install openssl."
  GRAYLANE_COMPONENTS=$(scripts/components.sh "$1")
  export GRAYLANE_COMPONENTS
}

# run_in_bed TEST-BINARY [NAME...]: compiles outside, where there is a network, and runs inside, where there is none.
run_in_bed() {
  local test=$1 binary
  shift
  [ $# -gt 0 ] || case ${SMOKE:-} in '' | 0 | no) ;; *) set -- smoke ;; esac
  # What is measured is graylane as it is shipped; what is only tested need not be compiled for long.
  local how=(--workspace)
  case ${RELEASE:-} in '' | 0 | no) ;; *) how=(--release --package graylane --package graylane-tests) ;; esac
  say "tests/$test: compiling"
  cargo build --quiet "${how[@]}" --lib --bins --tests
  binary=$(cargo test "${how[@]}" --test "$test" --no-run --message-format=json 2>/dev/null |
    grep -o '"executable":"[^"]*/'"$test"'-[0-9a-f]*"' | sed 's/.*:"//; s/"$//' | tail -n 1)
  [ -x "$binary" ] || die "cargo built no test binary '$test'"
  cd "$ROOT/tests" || exit
  # A bed is several servers: two at once are enough for two cores.
  RUST_TEST_THREADS=${RUST_TEST_THREADS:-2} exec "$ROOT/scripts/in-bed.sh" "$binary" "$@"
}
