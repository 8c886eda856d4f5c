// Reads a revocation list as crypto/x509 does: crl-go ISSUER LIST CERTIFICATE…, all DER files.
package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type answer struct {
	Number  string         `json:"number"`
	Current bool           `json:"current"`
	Revoked map[string]int `json:"revoked"`
}

func main() {
	said, err := read(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(said)
}

func read(files []string) (*answer, error) {
	if len(files) < 2 {
		return nil, fmt.Errorf("crl-go ISSUER LIST CERTIFICATE…")
	}
	issuer, err := certificate(files[0])
	if err != nil {
		return nil, err
	}
	der, err := os.ReadFile(files[1])
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, err
	}
	now := time.Now()
	said := &answer{
		Number:  list.Number.String(),
		Current: now.After(list.ThisUpdate) && now.Before(list.NextUpdate),
		Revoked: map[string]int{},
	}
	for _, file := range files[2:] {
		leaf, err := certificate(file)
		if err != nil {
			return nil, err
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				said.Revoked[file] = entry.ReasonCode
			}
		}
	}
	return said, nil
}

func certificate(file string) (*x509.Certificate, error) {
	der, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
