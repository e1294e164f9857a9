#!/usr/bin/env bash
# Builds the filter for Envoy: target/filter/<name>.wasm.
#
#   scripts/build-filter.sh [--features trap-on-demand] [--out graylane_filter]
#
# Compiled for wasm32-wasip1, with a standard library without panic messages where its sources can be
# had (see wasm-toolchain.sh for how); then unused exports are removed and wasm-opt is run. Where no
# wasm-opt can be had the module is shipped as linked, and that is said.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/wasm-toolchain.sh"

TARGET=wasm32-wasip1
# What rustc's output uses. `strip` in the profile removes the section that would say so.
WASM_FEATURES=(--enable-bulk-memory --enable-sign-ext --enable-mutable-globals
  --enable-nontrapping-float-to-int --enable-multivalue --enable-reference-types)
EXPORTS=$ROOT/scripts/filter-exports.txt

main() {
  local features='' out=graylane_filter
  while [ $# -gt 0 ]; do
    case $1 in
      --features) features=${2:?--features wants a list} && shift 2 ;;
      --out) out=${2:?--out wants a name} && shift 2 ;;
      *)
        sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
        die "unknown argument: $1"
        ;;
    esac
  done
  with_lock "filter-$out" build "$features" "$out"
}

build() {
  local features=$1 out=$2 linked shipped=$ROOT/target/filter/$2.wasm
  compile "$features"
  linked=$CARGO_TARGET_DIR/$TARGET/filter/graylane_filter.wasm
  [ -f "$linked" ] || die "cargo built no $linked"
  if is_current "$linked" "$shipped"; then
    say "filter: target/filter/$out.wasm is up to date"
  else
    mkdir -p "$ROOT/target/filter"
    finish "$linked" "$shipped.new"
    mv "$shipped.new" "$shipped"
    say "filter: target/filter/$out.wasm, $(wc -c <"$shipped") bytes (as linked: $(wc -c <"$linked"))"
  fi
  printf '%s\n' "$shipped"
}

compile() {
  local args=(build --package graylane-filter --profile filter)
  [ -z "$1" ] || args+=(--features "$1")
  wasm_way $TARGET
  wasm_small_std $TARGET ||
    say "warning: no sources of the standard library to be had: the module works the same, but is about 50 kB larger"
  WASM_DIR=wasm${1:+-$1}
  # Panic messages carry source paths: the module must not depend on whose machine built it.
  RUSTFLAGS="--remap-path-prefix=$ROOT=graylane --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
  export RUSTFLAGS
  say "filter: compiling for $TARGET (${WASM_WAY})${1:+ with feature $1}"
  (cd "$ROOT" && wasm_cargo $TARGET "${args[@]}" >&2)
  CARGO_TARGET_DIR=$ROOT/target/$WASM_DIR/$WASM_WAY
}

is_current() {
  local input
  for input in "$1" "$EXPORTS" "$ROOT/scripts/build-filter.sh"; do
    [ "$2" -nt "$input" ] || return 1
  done
}

# Strip unused exports and optimise.
finish() {
  local linked=$1 shipped=$2 stripped=$2.stripped
  if ! find_binaryen; then
    say "warning: no wasm-opt to be had (npm: binaryen, Debian: binaryen). The module ships unoptimised:"
    say "         it works, each request costs about a fifth more."
    cp "$linked" "$shipped"
    return 0
  fi
  export_graph >"$shipped.graph.json"
  "$METADCE" "${WASM_FEATURES[@]}" --graph-file="$shipped.graph.json" "$linked" -o "$stripped" >/dev/null
  # The lowest kilobyte is the far end of the stack (the linker puts the stack first, 1 MB): no object lies there, so
  # an address of base and offset cannot be one that wrapped around, and the two need not be added by themselves.
  "$WASM_OPT" "${WASM_FEATURES[@]}" -O3 --low-memory-unused --strip-debug --strip-producers "$stripped" -o "$shipped"
  rm -f "$stripped" "$shipped.graph.json"
}

# The reachability graph wasm-metadce wants: one root that reaches the kept exports and no others.
export_graph() {
  sed '/^#/d' "$EXPORTS" | awk '
    { reaches = reaches comma "\"" $1 "\""; nodes = nodes ",{\"name\":\"" $1 "\",\"export\":\"" $1 "\"}"; comma = "," }
    END { print "[{\"name\":\"envoy\",\"root\":true,\"reaches\":[" reaches "]}" nodes "]" }'
}

# Sets WASM_OPT and METADCE. npm's pinned binaryen first, so that the same sources give the same module
# everywhere (and it makes a smaller one than Debian's of 2022); else the system's; else Debian's package.
find_binaryen() {
  local npm_bin=$TOOLS/binaryen-$BINARYEN_NPM/node_modules/.bin
  if with_lock binaryen npm_binaryen "$npm_bin"; then
    WASM_OPT=$npm_bin/wasm-opt METADCE=$npm_bin/wasm-metadce
    return 0
  fi
  have wasm-metadce || { [ "$(id -u)" -eq 0 ] && apt_install binaryen; } || return 1
  say "filter: using the system's $(wasm-opt --version)"
  WASM_OPT=wasm-opt METADCE=wasm-metadce
}

npm_binaryen() {
  [ -x "$1/wasm-metadce" ] && return 0
  have npm && have node || return 1
  say "installing binaryen $BINARYEN_NPM from npm into target/tools"
  npm install --silent --no-fund --no-audit --prefix "$TOOLS/binaryen-$BINARYEN_NPM" "binaryen@$BINARYEN_NPM" >&2 &&
    [ -x "$1/wasm-metadce" ]
}

main "$@"
