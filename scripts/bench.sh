#!/usr/bin/env bash
# The benches of the core (criterion) and the budgets: instruction counts, host calls, fuel, size, memory.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
use_toolchain
scripts/build-filter.sh >/dev/null
cargo bench --package graylane-benches "$@"
