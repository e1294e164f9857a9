#!/usr/bin/env bash
# A gRPC call with an empty message; prints the status and the message of the answer.
curl -s --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' -X POST -D - "$@" |
  grep -o 'grpc-.*[^[:cntrl:]]'
