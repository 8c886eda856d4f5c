// Command spiffe-client is a program that has never heard of Troth: it obtains its identity by SPIFFE's own Go library,
// at the endpoint in SPIFFE_ENDPOINT_SOCKET, and prints what it gets, a line each.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Every message of the stream is a line: what it holds, and when it came.
type watcher struct{}

func (watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	svid := c.DefaultSVID()
	fmt.Printf("update %s %x %d\n", svid.ID, svid.Certificates[0].SerialNumber, time.Now().UnixMilli())
}

func (watcher) OnX509ContextWatchError(err error) {
	fmt.Printf("error %v\n", err)
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("expected watch, jwt or mtls"))
	}
	ctx := context.Background()
	switch os.Args[1] {
	case "watch":
		fail(workloadapi.WatchX509Context(ctx, watcher{}))
	case "jwt":
		tokens(ctx)
	case "mtls":
		mutualTLS(ctx)
	}
}

// A token of its own, checked by the bundles that the Workload API gives, and by the Workload API itself.
func tokens(ctx context.Context) {
	source, err := workloadapi.NewJWTSource(ctx)
	fail(err)
	defer source.Close()
	svid, err := source.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "ledger"})
	fail(err)
	_, err = jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{"ledger"})
	fail(err)
	_, err = workloadapi.ValidateJWTSVID(ctx, svid.Marshal(), "ledger")
	fail(err)
	_, err = workloadapi.ValidateJWTSVID(ctx, svid.Marshal(), "other")
	fmt.Printf("jwt %s refusedForOthers=%t\n", svid.ID, err != nil)
}

// A server and a client over one source, a call on a new connection for each line on standard input.
func mutualTLS(ctx context.Context) {
	source, err := workloadapi.NewX509Source(ctx)
	fail(err)
	defer source.Close()
	mine, err := source.GetX509SVID()
	fail(err)
	authorize := tlsconfig.AuthorizeID(mine.ID)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(source, source, authorize))
	fail(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%x", r.TLS.PeerCertificates[0].SerialNumber)
	})}
	go server.Serve(listener)
	wrong := tlsconfig.AuthorizeID(spiffeid.RequireFromString("spiffe://test.example/somebody/else"))
	fmt.Printf("serving %s\n", mine.ID)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		serial, err := get(listener.Addr(), source, source, authorize)
		fail(err)
		_, err = get(listener.Addr(), source, source, wrong)
		fmt.Printf("called %s strangerRefused=%t\n", serial, err != nil)
	}
}

func get(to net.Addr, svid x509svid.Source, bundle x509bundle.Source, authorize tlsconfig.Authorizer) (string, error) {
	transport := &http.Transport{TLSClientConfig: tlsconfig.MTLSClientConfig(svid, bundle, authorize), DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	response, err := client.Get("https://" + to.String())
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func fail(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
