// Judges SPIFFE IDs, X.509-SVIDs, JWT-SVIDs, WIT-SVIDs and bundles as go-spiffe does: a job a line on standard input, and
// for each a line of JSON on standard output with what is wrong with it, or nothing.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/exp/svid/witsvid"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// job is something to be judged. Bundles are SPIFFE bundles by trust domain.
type job struct {
	Kind     string            `json:"kind"`
	Text     string            `json:"text"`
	Audience string            `json:"audience"`
	Chain    [][]byte          `json:"chain"`
	Bundles  map[string]string `json:"bundles"`
}

// answer says what is wrong; nothing where all is well.
type answer struct {
	Error string `json:"error"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked job
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		said := answer{}
		if err := judge(asked); err != nil {
			said.Error = err.Error()
		}
		if err := out.Encode(said); err != nil {
			os.Exit(1)
		}
	}
}

func judge(asked job) error {
	if asked.Kind == "id" {
		_, err := spiffeid.FromString(asked.Text)
		return err
	}
	bundles := spiffebundle.NewSet()
	for name, text := range asked.Bundles {
		trustDomain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return err
		}
		bundle, err := spiffebundle.Parse(trustDomain, []byte(text))
		if err != nil {
			return err
		}
		bundles.Add(bundle)
	}
	switch asked.Kind {
	case "bundle":
		return nil
	case "jwt":
		_, err := jwtsvid.ParseAndValidate(asked.Text, bundles, []string{asked.Audience})
		return err
	case "wit":
		_, err := witsvid.ParseAndValidate(asked.Text, bundles)
		return err
	case "x509":
		_, _, err := x509svid.ParseAndVerify(asked.Chain, bundles)
		return err
	}
	return errors.New("no such kind of job")
}
