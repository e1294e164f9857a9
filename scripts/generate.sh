#!/usr/bin/env bash
# Rewrites the files that are made from code; with --check, says whether that changed any of them.
#
#   scripts/generate.sh [--check]
#
# The recipes are the lines of generate(). A generated file is committed, so that a change of a
# published format is seen in review.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

GENERATED=(docs/schema docs/crd.md control/crds istio/install envoy-configs)

main() {
  cd "$ROOT"
  use_toolchain
  case ${1:-} in
    '') generate ;;
    --check)
      generate
      unchanged
      ;;
    *) die "unknown argument: $1 (only --check)" ;;
  esac
}

generate() {
  cargo build --quiet --workspace --lib --bins --tests # as test.sh builds it
  local graylane=${CARGO_TARGET_DIR:-$ROOT/target}/debug/graylane
  mkdir -p docs/schema control/crds
  to docs/schema/filter-config.json "$graylane" schema
  to docs/schema/gray-release.json "$graylane" schema --release
  to docs/schema/analysis-api.json "$graylane" schema --api
  to docs/crd.md "$graylane" crd --output reference
  to control/crds/graylane.io_grayreleases.yaml "$graylane" crd
  to istio/install/graylane.yaml install
  GRAYLANE=$graylane envoy-configs/render.sh
}

# The kustomization of istio/install as one file.
install() {
  cat control/crds/graylane.io_grayreleases.yaml
  echo ---
  cat istio/install/controller.yaml
}

# to FILE COMMAND...: a command that fails leaves the file as it was.
to() {
  local file=$1
  shift
  "$@" >"$file.new"
  mv "$file.new" "$file"
}

# Cargo.lock as well: a build that changes it was committed without it.
unchanged() {
  local changed
  have git && git rev-parse --git-dir >/dev/null 2>&1 || die "--check compares with git, and this is no git work tree."
  changed=$(git status --porcelain -- "${GENERATED[@]}" Cargo.lock)
  [ -z "$changed" ] && say "generated files: unchanged" && return 0
  git --no-pager diff -- "${GENERATED[@]}" Cargo.lock | head -100 >&2
  die "generated files differ from the committed ones. Run 'make generate' and commit the result:
$changed"
}

main "$@"
