// Command h2spec runs the published HTTP/2 conformance suite against a server on loopback, every case, strictly.
// Usage: h2spec PORT. It ends with 1 when a case failed.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "usage: h2spec PORT")
		os.Exit(2)
	}
	settings := &config.Config{
		Host:         "127.0.0.1",
		Port:         port,
		Path:         "/",
		Timeout:      2 * time.Second,
		MaxHeaderLen: 4000,
		Strict:       true,
	}
	hasPassed, err := h2spec.Run(settings)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !hasPassed {
		os.Exit(1)
	}
}
