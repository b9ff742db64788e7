// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package conformance pins the versions of the programs that run.sh builds.
package conformance

import (
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "google.golang.org/grpc/interop/server"
)
