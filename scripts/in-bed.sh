#!/usr/bin/env bash
# Runs a command in network, mount and process namespaces of its own.
#
#   scripts/in-bed.sh COMMAND...
#
# There it may use any port and make networks of pods; when it ends, every process it left behind ends
# with it. Root needs nothing else; others need user namespaces (most Linux systems allow them).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  [ $# -gt 0 ] || die "say which command to run"
  need unshare "It is part of util-linux: apt-get install util-linux."
  have ip || { [ "$(id -u)" -eq 0 ] && apt_install iproute2; } || need ip "It makes the networks of the pods: apt-get install iproute2."
  local wanted=(--net --mount --pid --fork --mount-proc --kill-child)
  [ "$(id -u)" -eq 0 ] || wanted+=(--user --map-root-user)
  unshare "${wanted[@]}" true || die "this system allows no namespaces (unshare ${wanted[*]}). Run it as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"
  exec unshare "${wanted[@]}" bash -c "$INSIDE" in-bed "$@"
}

# The first process of a process namespace ignores signals that it does not handle; so a shell handles
# them, and all else ends when it does. Network namespaces get names under /run, and Istio's agent
# keeps its modules under /var/lib: both are private here. kubectl remembers for minutes which resources an
# address serves, and the next run gives the same addresses to other servers: what it remembers stays inside.
# shellcheck disable=SC2016 # to be expanded inside
INSIDE='
set -euo pipefail
trap "exit 130" INT TERM HUP
ip link set lo up
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/istio/data
export GRAYLANE_IN_BED=1 KUBECACHEDIR=/run/kubectl
"$@" &
wait $!'

main "$@"
