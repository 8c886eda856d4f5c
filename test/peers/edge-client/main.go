// Asks hosts over TLS at one address with Go's own client and says what it got: edge-client ADDRESS CA.pem REQUESTS HOST...
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	address, requests := os.Args[1], 0
	pem, err := os.ReadFile(os.Args[2])
	if err == nil {
		requests, err = strconv.Atoi(os.Args[3])
	}
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}}
	for _, host := range os.Args[4:] {
		counts := map[string]int{}
		for n := 0; n < requests; n++ {
			response, err := client.Get("https://" + host + "/")
			if err != nil {
				counts[err.Error()]++
				continue
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				counts[err.Error()]++
				continue
			}
			response.Body.Close()
			counts[response.Proto+" "+strconv.Itoa(response.StatusCode)]++
		}
		for what, count := range counts {
			fmt.Printf("%s %d %s\n", host, count, what)
		}
	}
}
