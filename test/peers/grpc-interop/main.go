// gRPC's interop service and its test cases, as Go's gRPC has them.
// Usage: grpc-interop serve, which listens on 127.0.0.1 at the port in PORT and prints a line for each call's beginning
// and end; or grpc-interop call ADDRESS AUTHORITY CASE, which ends with 0 where the case passes.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

const caseSecondsMax = 30

func main() {
	arguments := os.Args[1:]
	switch {
	case len(arguments) == 1 && arguments[0] == "serve":
		serve("127.0.0.1:" + os.Getenv("PORT"))
	case len(arguments) == 4 && arguments[0] == "call":
		call(arguments[1], arguments[2], arguments[3])
	default:
		fail(fmt.Errorf("usage: grpc-interop serve | grpc-interop call ADDRESS AUTHORITY CASE"))
	}
}

func serve(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fail(err)
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			told := begin(ctx, info.FullMethod)
			answer, err := handle(ctx, request)
			told(err)
			return answer, err
		}),
		grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			told := begin(stream.Context(), info.FullMethod)
			err := handle(service, stream)
			told(err)
			return err
		}),
	)
	grpc_testing.RegisterTestServiceServer(server, interop.NewTestServer())
	fmt.Println("ready")
	fail(server.Serve(listener))
}

// begin prints that a call has begun, and returns what prints its end.
func begin(ctx context.Context, method string) func(error) {
	left := "none"
	if deadline, has := ctx.Deadline(); has {
		left = fmt.Sprint(time.Until(deadline).Milliseconds())
	}
	fmt.Println("begin", method, left)
	stop := context.AfterFunc(ctx, func() { fmt.Println("cancelled", method) })
	return func(err error) {
		if stop() {
			fmt.Println("end", method, int(status.Code(err)))
		}
	}
}

var cases = map[string]func(context.Context, *grpc.ClientConn){
	"empty_unary":                 test(interop.DoEmptyUnaryCall),
	"large_unary":                 test(interop.DoLargeUnaryCall),
	"client_streaming":            test(interop.DoClientStreaming),
	"server_streaming":            test(interop.DoServerStreaming),
	"ping_pong":                   test(interop.DoPingPong),
	"empty_stream":                test(interop.DoEmptyStream),
	"cancel_after_begin":          test(interop.DoCancelAfterBegin),
	"cancel_after_first_response": test(interop.DoCancelAfterFirstResponse),
	"timeout_on_sleeping_server":  test(interop.DoTimeoutOnSleepingServer),
	"custom_metadata":             test(interop.DoCustomMetadata),
	"status_code_and_message":     test(interop.DoStatusCodeAndMessage),
	"special_status_message":      test(interop.DoSpecialStatusMessage),
	"unimplemented_method":        interop.DoUnimplementedMethod,
	"unimplemented_service": func(ctx context.Context, connection *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, grpc_testing.NewUnimplementedServiceClient(connection))
	},
}

func test(run func(context.Context, grpc_testing.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, connection *grpc.ClientConn) {
		run(ctx, grpc_testing.NewTestServiceClient(connection))
	}
}

// call runs one case; a case that does not pass ends this process by itself.
func call(address, authority, name string) {
	run, is := cases[name]
	if !is {
		fail(fmt.Errorf("no case is called %s", name))
	}
	connection, err := grpc.NewClient(
		"passthrough:///"+address,
		grpc.WithAuthority(authority),
		grpc.WithNoProxy(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		fail(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), caseSecondsMax*time.Second)
	defer cancel()
	run(ctx, connection)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
