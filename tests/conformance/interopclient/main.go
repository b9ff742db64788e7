// SPDX-License-Identifier: Apache-2.0

// interopclient runs one case of gRPC's interoperability tests. The cases are grpc-go's own (package
// interop); its own client program is not used because it pulls in several times as much code to build.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

func main() {
	port := flag.Int("server_port", 0, "port of the test service on 127.0.0.1")
	name := flag.String("test_case", "", "the case to run")
	flag.Parse()
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", *port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer conn.Close()
	ctx := context.Background()
	tc := testgrpc.NewTestServiceClient(conn)

	simple := map[string]func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption){
		"empty_unary":                 interop.DoEmptyUnaryCall,
		"large_unary":                 interop.DoLargeUnaryCall,
		"client_streaming":            interop.DoClientStreaming,
		"server_streaming":            interop.DoServerStreaming,
		"ping_pong":                   interop.DoPingPong,
		"empty_stream":                interop.DoEmptyStream,
		"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
		"cancel_after_begin":          interop.DoCancelAfterBegin,
		"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
		"status_code_and_message":     interop.DoStatusCodeAndMessage,
		"special_status_message":      interop.DoSpecialStatusMessage,
		"custom_metadata":             interop.DoCustomMetadata,
	}
	// A case that fails ends the program with a message and status 1.
	switch run := simple[*name]; {
	case run != nil:
		run(ctx, tc)
	case *name == "unimplemented_method":
		interop.DoUnimplementedMethod(ctx, conn)
	case *name == "unimplemented_service":
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
	default:
		fmt.Fprintf(os.Stderr, "there is no case %q\n", *name)
		os.Exit(2)
	}
}
