#!/usr/bin/env bash
# Starts the chain: for each pod an application and its sidecar, and the gateway. Ctrl-C ends it all.
# ENVOY and GRAYLANE name other binaries than those of the PATH.
set -euo pipefail
cd "$(dirname "$0")"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM

proxy() {
  "${ENVOY:-envoy}" -c "$1.yaml" --concurrency 1 --disable-hot-restart -l warning --component-log-level wasm:info \
    >"$1.access.log" 2>"$1.log" &
}

# pod NAME APP [OUTBOUND NEXT]: where the application listens, and how it calls the next service.
pod() {
  "${GRAYLANE:-graylane}" app --name "$1" --listen "$2" ${3:+--call "$3" --host "$4"} >/dev/null &
  proxy "$1"
}

proxy gateway
pod frontend-stable 127.0.0.1:10112 127.0.0.1:10111 cart
pod frontend-canary 127.0.0.1:10122 127.0.0.1:10121 cart
pod cart-stable 127.0.0.1:10132 127.0.0.1:10131 orders
pod orders-stable 127.0.0.1:10142 127.0.0.1:10141 payment
pod orders-canary 127.0.0.1:10152 127.0.0.1:10151 payment
pod payment-stable 127.0.0.1:10162
wait
