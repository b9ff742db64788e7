// SPDX-License-Identifier: Apache-2.0

// Kubeload is the cluster test's own client of kube-apiserver: it writes ConfigMaps and remembers what was
// acknowledged, and afterwards says whether the cluster still knows it.
//
//	kubeload write        write until SIGTERM, then save the ledger
//	kubeload check-ledger is everything acknowledged there, and nothing else?
//	kubeload check-watch  did a watch see every acknowledged write, in order?
//	kubeload compare      is what the store holds what the apiserver serves?
//
// It uses the standard library alone, so that it builds in seconds and fits every Kubernetes version.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

type options struct {
	server   string
	pki      string
	ledger   string
	etcdctl  string
	workers  int
	names    int
	rate     int
	seconds  int
	seed     int64
	cacheToo bool
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: kubeload write|check-ledger|check-watch|compare|rate [flags]; -h after a verb lists them")
	os.Exit(2)
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	verbs := map[string]func(options) error{
		"write":        runWrite,
		"check-ledger": runCheckLedger,
		"check-watch":  runCheckWatch,
		"compare":      runCompare,
		"rate":         runRate,
	}
	run, known := verbs[os.Args[1]]
	if !known {
		usage()
	}

	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.server, "server", "", "URL of the apiserver")
	flags.StringVar(&o.pki, "pki", "", "folder with ca.crt, admin.crt and admin.key")
	flags.StringVar(&o.ledger, "ledger", "", "folder of the ledger")
	flags.StringVar(&o.etcdctl, "etcdctl", "etcdctl", "path of etcdctl; its ETCDCTL_* variables say which store")
	flags.IntVar(&o.workers, "workers", 8, "writers at a time")
	flags.IntVar(&o.names, "names", 60, "ConfigMaps alive per writer")
	flags.IntVar(&o.rate, "rate", 60, "writes per second, all writers together")
	flags.IntVar(&o.seconds, "seconds", 15, "how long rate writes, after a warm-up")
	flags.Int64Var(&o.seed, "seed", 1, "seed of the choice of operations")
	flags.BoolVar(&o.cacheToo, "cache", true, "compare also lists that the watch cache answers")
	_ = flags.Parse(os.Args[2:])

	if err := run(o); err != nil {
		fmt.Fprintf(os.Stderr, "kubeload %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func (o options) ledgerFile() string { return filepath.Join(o.ledger, "ledger.jsonl") }
func (o options) watchFile() string  { return filepath.Join(o.ledger, "watch.json") }
