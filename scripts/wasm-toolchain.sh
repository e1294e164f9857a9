# shellcheck shell=bash
# How a wasm target is compiled on this machine. Source it after lib.sh, then:
#
#   wasm_way TARGET                   sets WASM_WAY to `rustup` or `debian`, installing what is missing
#   wasm_cargo TARGET VERB ARGS...    runs `cargo VERB ARGS...` that way, in the target folder of that way
#
# The ordinary way is rustup's prebuilt standard library. Where rustup cannot download one, Debian's
# rustc-web builds the standard library from source. GRAYLANE_WASM=rustup|debian decides by hand.

WASM_WAY=

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
  export CARGO_TARGET_DIR=$ROOT/target/${WASM_DIR:-wasm}/$WASM_WAY
  if [ "$WASM_WAY" = rustup ]; then
    cargo "$verb" --target "$target" "$@"
    return
  fi
  upper=$(printf '%s' "$target" | tr 'a-z-' 'A-Z_')
  [ "$target" != wasm32-wasip1 ] || flags="$flags -L/usr/lib/wasm32-wasi"
  env "CARGO_TARGET_${upper}_LINKER=$(wasm_linker)" "RUSTFLAGS=$flags" \
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc \
    /usr/bin/cargo "$verb" --target "$target" -Zbuild-std=std,panic_abort -Zbuild-std-features= "$@"
}
