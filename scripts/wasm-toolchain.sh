# shellcheck shell=bash
# How a wasm target is compiled on this machine. Source it after lib.sh, then:
#
#   wasm_way TARGET                   sets WASM_WAY to `rustup` or `debian`, installing what is missing
#   wasm_small_std TARGET             from here on wasm_cargo compiles the standard library along, so that
#                                     a panic is one instruction; false where its sources cannot be had
#   wasm_cargo TARGET VERB ARGS...    runs `cargo VERB ARGS...` that way, in the target folder of that way
#
# The ordinary way is rustup's prebuilt standard library. Where rustup cannot download one, Debian's
# rustc-web builds the standard library from source. GRAYLANE_WASM=rustup|debian decides by hand.

WASM_WAY=
WASM_SMALL_STD=
# Sorting and printing numbers in less code: nothing that a request does.
BUILD_STD=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=optimize_for_size")

wasm_way() {
  case ${GRAYLANE_WASM:-} in
    rustup | debian)
      WASM_WAY=$GRAYLANE_WASM
      [ "$WASM_WAY" = debian ] && debian_toolchain
      return 0
      ;;
    '') ;;
    *) die "GRAYLANE_WASM=$GRAYLANE_WASM: say rustup or debian, or unset it." ;;
  esac
  use_toolchain
  if rustup_target "$1"; then
    WASM_WAY=rustup
  else
    say "no prebuilt standard library for $1 here: building it from source with Debian's rustc-web"
    debian_toolchain
    WASM_WAY=debian
  fi
}

# True when the pinned toolchain can compile for the target, now or after a download.
rustup_target() {
  local target=$1
  [ -d "$(cd "$ROOT" && rustc --print sysroot)/lib/rustlib/$target/lib" ] && return 0
  have rustup || return 1
  say "running: rustup target add $target"
  # A network that swallows packets must not hang the build.
  (cd "$ROOT" && with_timeout 180 rustup target add "$target" >&2) || return 1
  [ -d "$(cd "$ROOT" && rustc --print sysroot)/lib/rustlib/$target/lib" ]
}

with_timeout() {
  local seconds=$1
  shift
  if have timeout; then timeout "$seconds" "$@"; else "$@"; fi
}

# Panics of the prebuilt standard library format a message, which brings a third more code. The module
# has no use for the message: it has no panics of its own, and Envoy logs a trap by itself. Leaving them
# out is still behind RUSTC_BOOTSTRAP=1 (-Cpanic=immediate-abort), which changes no other part of rustc.
wasm_small_std() {
  if [ "$WASM_WAY" = rustup ] && ! rustup_std_sources "$1"; then
    return 1
  fi
  WASM_SMALL_STD=yes
}

# True when the pinned toolchain has the sources of the standard library and cargo the crates they use,
# now or after a download.
rustup_std_sources() {
  if [ ! -f "$(cd "$ROOT" && rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; then
    have rustup || return 1
    say "running: rustup component add rust-src"
    (cd "$ROOT" && with_timeout 180 rustup component add rust-src >&2) || return 1
  fi
  (cd "$ROOT" && RUSTC_BOOTSTRAP=1 with_timeout 180 cargo fetch --quiet --target "$1" "${BUILD_STD[@]}" >&2)
}

debian_toolchain() {
  local packages
  read -ra packages <<<"$DEBIAN_WASM_PACKAGES"
  apt_install "${packages[@]}" ||
    die "no way to compile for wasm. Either make 'rustup target add' work, or on Debian install: $DEBIAN_WASM_PACKAGES"
  [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust/library ] ||
    die "rustc-web and rust-web-src are installed but /usr/bin/rustc or its sources are not there; reinstall them."
}

# The linker of the rustup toolchain where there is one: it fits the object files of a new rustc better
# than the distribution's.
wasm_linker() {
  local host linker
  host=$(cd "$ROOT" && rustc -vV 2>/dev/null | sed -n 's/^host: //p')
  linker=$(cd "$ROOT" && rustc --print sysroot 2>/dev/null)/lib/rustlib/$host/bin/rust-lld
  if [ -x "$linker" ]; then
    printf '%s\n' "$linker"
  else
    command -v wasm-ld || ls /usr/bin/wasm-ld-* 2>/dev/null | tail -1
  fi
}

# WASM_DIR (default `wasm`) names the folder below target/: each way and each feature set has its own,
# because cargo gives a cdylib no hash in its name and would mix up two variants in one folder.
wasm_cargo() {
  local target=$1 verb=$2 flags=${RUSTFLAGS:-} upper
  shift 2
  # Local: a caller that goes on with native builds must find its own compiled dependencies again.
  local -x CARGO_TARGET_DIR=$ROOT/target/${WASM_DIR:-wasm}/$WASM_WAY
  [ -z "$WASM_SMALL_STD" ] || flags="$flags -Zunstable-options -Cpanic=immediate-abort"
  if [ "$WASM_WAY" = rustup ]; then
    if [ -z "$WASM_SMALL_STD" ]; then
      cargo "$verb" --target "$target" "$@"
    else
      env RUSTC_BOOTSTRAP=1 "RUSTFLAGS=$flags" cargo "$verb" --target "$target" "${BUILD_STD[@]}" "$@"
    fi
    return
  fi
  upper=$(printf '%s' "$target" | tr 'a-z-' 'A-Z_')
  [ "$target" != wasm32-wasip1 ] || flags="$flags -L/usr/lib/wasm32-wasi"
  env "CARGO_TARGET_${upper}_LINKER=$(wasm_linker)" "RUSTFLAGS=$flags" \
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc \
    /usr/bin/cargo "$verb" --target "$target" "${BUILD_STD[@]}" "$@"
}
