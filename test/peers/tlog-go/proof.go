package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkProof reads the proof of one entry as a file (C2SP tlog-proof) and checks it:
//
//	tlog-go --proof <file> <entry file> <verifier key>
func checkProof(args []string) (*facts, error) {
	if len(args) != 3 {
		return nil, errors.New("usage: tlog-go --proof <file> <entry file> <verifier key>")
	}
	proof, err := os.ReadFile(args[0])
	if err != nil {
		return nil, err
	}
	entry, err := os.ReadFile(args[1])
	if err != nil {
		return nil, err
	}
	head, checkpoint, found := strings.Cut(string(proof), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, errors.New("not a proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return nil, err
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		bytes, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(bytes) != tlog.HashSize {
			return nil, fmt.Errorf("not a hash: %q", line)
		}
		path = append(path, tlog.Hash(bytes))
	}
	verifier, err := note.NewVerifier(args[2])
	if err != nil {
		return nil, err
	}
	opened, err := note.Open([]byte(checkpoint), note.VerifierList(verifier))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	text := strings.Split(opened.Text, "\n")
	if len(text) != 4 || text[0] != verifier.Name() {
		return nil, fmt.Errorf("not a checkpoint: %q", opened.Text)
	}
	size, err := strconv.ParseInt(text[1], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := tlog.ParseHash(text[2])
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckRecord(path, size, root, index, tlog.RecordHash(entry)); err != nil {
		return nil, err
	}
	return &facts{Origin: text[0], Size: size, Root: root.String(), Records: 1}, nil
}
