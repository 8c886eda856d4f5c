// go-spiffe at the borders of a trust domain: it fetches bundles as a federated domain does, and is a workload of SPIRE
// that calls and serves over mutual TLS. What it has done is one line on standard output.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	args := os.Args[2:]
	var err error
	switch os.Args[1] {
	case "fetch-spiffe":
		err = fetchSpiffe(ctx, args[0], args[1], args[2], args[3])
	case "fetch-web":
		err = fetchWeb(ctx, args[0], args[1], args[2])
	case "call":
		err = call(ctx, args[0], args[1], args[2])
	case "serve":
		err = serve(ctx, args[0], args[1])
	default:
		err = fmt.Errorf("no command %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fetchSpiffe asks an endpoint that is to have exactly this SPIFFE ID under the bundle in a file.
func fetchSpiffe(ctx context.Context, url, domain, endpoint, file string) error {
	trustDomain := spiffeid.RequireTrustDomainFromString(domain)
	known, err := spiffebundle.Load(trustDomain, file)
	if err != nil {
		return err
	}
	id, err := spiffeid.FromString(endpoint)
	if err != nil {
		return err
	}
	return show(federation.FetchBundle(ctx, trustDomain, url, federation.WithSPIFFEAuth(known, id)))
}

// fetchWeb asks an endpoint that is to have a certificate for the host of the URL under the CAs in a file.
func fetchWeb(ctx context.Context, url, domain, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trustDomain := spiffeid.RequireTrustDomainFromString(domain)
	return show(federation.FetchBundle(ctx, trustDomain, url, federation.WithWebPKIRoots(roots)))
}

func show(bundle *spiffebundle.Bundle, err error) error {
	if err != nil {
		return err
	}
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	fmt.Printf("%d authorities, sequence %d, refresh hint %s\n", len(bundle.X509Authorities()), sequence, hint)
	return nil
}

// call asks an address, which is to have this SPIFFE ID, as the workload that the Workload API says this process is.
func call(ctx context.Context, socket, url, server string) error {
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+socket)))
	if err != nil {
		return err
	}
	defer source.Close()
	id, err := spiffeid.FromString(server)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(id))}
	client := &http.Client{Transport: transport}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Printf("%d %s\n", response.StatusCode, body)
	return err
}

// serve answers every request of exactly this SPIFFE ID until it is ended; first it says where.
func serve(ctx context.Context, socket, client string) error {
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+socket)))
	if err != nil {
		return err
	}
	id, err := spiffeid.FromString(client)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(id)))
	if err != nil {
		return err
	}
	fmt.Printf("serves at %s\n", listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		caller := request.TLS.PeerCertificates[0].URIs[0]
		fmt.Fprintf(response, "hello %s", caller)
	}))
}
