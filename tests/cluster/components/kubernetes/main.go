// Kubernetes' API server and controller manager in one program, for tests. The name it is called by says which one it is.
//
// `go install k8s.io/kubernetes/cmd/kube-apiserver@VERSION` cannot work: the published go.mod asks for staging modules at v0.0.0. The go.mod
// beside this file replaces them.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	_ "time/tzdata"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	programs := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
	}
	called := filepath.Base(os.Args[0])
	command, known := programs[called]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: call this program by the name kube-apiserver or kube-controller-manager\n", called)
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}
