// Command tlog-go reads a published trust log with Go's own implementation of notes and transparency logs
// (golang.org/x/mod/sumdb), which shares no code with Troth.
//
//	tlog-go <folder> <verifier key> [<older size>]
//
// It checks that the checkpoint is signed by the key, that the hash tiles and the entry bundles make up its root, that
// records are proved to be in the tree, and that the tree of the older size is its beginning. The facts that it found go
// to standard output as JSON.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight

	provedRecordsMax = 1000
	provedEvery      = 251
)

type facts struct {
	Origin    string `json:"origin"`
	Size      int64  `json:"size"`
	Root      string `json:"root"`
	Records   int64  `json:"records"`
	OlderRoot string `json:"olderRoot,omitempty"`
}

func main() {
	found, err := check(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(args []string) (*facts, error) {
	if len(args) > 0 && args[0] == "--proof" {
		return checkProof(args[1:])
	}
	if len(args) < 2 {
		return nil, errors.New("usage: tlog-go <folder> <verifier key> [<older size>]")
	}
	log := published{folder: args[0]}
	origin, tree, err := log.checkpoint(args[1])
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	hashes := tlog.TileHashReader(tree, log)
	found := &facts{Origin: origin, Size: tree.N, Root: tree.Hash.String()}
	if err := log.checkRecords(tree, hashes, found); err != nil {
		return nil, err
	}
	if len(args) < 3 {
		return found, nil
	}
	older, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(older, hashes)
	if err != nil {
		return nil, err
	}
	proof, err := tlog.ProveTree(tree.N, older, hashes)
	if err != nil {
		return nil, err
	}
	found.OlderRoot = root.String()
	return found, tlog.CheckTree(proof, tree.N, tree.Hash, older, root)
}

// published is a log as a folder of files with the paths of C2SP tlog-tiles.
type published struct{ folder string }

// checkpoint opens the note and reads its three lines. tlog.ParseTree is of no use here: it insists on the first line
// of the Go checksum database, where C2SP tlog-checkpoint has the origin.
func (p published) checkpoint(key string) (string, tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return "", tlog.Tree{}, err
	}
	bytes, err := os.ReadFile(filepath.Join(p.folder, "checkpoint"))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return "", tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return "", tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return lines[0], tlog.Tree{N: size, Hash: root}, err
}

// checkRecords hashes the entries of all bundles to a tree of its own, which must have the checkpoint's root, and proves
// records by the published tiles: all of them in a small log, some of every tile in a large one.
func (p published) checkRecords(tree tlog.Tree, hashes tlog.HashReader, found *facts) error {
	var stored []tlog.Hash
	own := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		read := make([]tlog.Hash, len(indexes))
		for at, index := range indexes {
			read[at] = stored[index]
		}
		return read, nil
	})
	for at := int64(0); at*tileWidth < tree.N; at++ {
		width := min(tileWidth, tree.N-at*tileWidth)
		bundle, err := p.read(tlog.Tile{H: tileHeight, L: -1, N: at, W: int(width)})
		if err != nil {
			return err
		}
		for ; len(bundle) > 0; found.Records++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("bundle %d is cut off", at)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			record := bundle[2:end]
			bundle = bundle[end:]
			more, err := tlog.StoredHashes(found.Records, record, own)
			if err != nil {
				return err
			}
			stored = append(stored, more...)
			if tree.N > provedRecordsMax && found.Records%provedEvery != 0 {
				continue
			}
			proof, err := tlog.ProveRecord(tree.N, found.Records, hashes)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, found.Records, tlog.RecordHash(record)); err != nil {
				return fmt.Errorf("record %d: %w", found.Records, err)
			}
		}
	}
	if found.Records != tree.N {
		return fmt.Errorf("%d records under a checkpoint of %d", found.Records, tree.N)
	}
	root, err := tlog.TreeHash(tree.N, own)
	if err == nil && root != tree.Hash {
		err = errors.New("the records do not make up the root")
	}
	return err
}

// read gives a tile's bytes. Go names the tile's height first and calls the level of entries "data"
// (tile/8/0/x001/234, tile/8/data/000); C2SP leaves the height out and calls it "entries".
func (p published) read(tile tlog.Tile) ([]byte, error) {
	path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
	path = strings.Replace(path, "tile/8/", "tile/", 1)
	return os.ReadFile(filepath.Join(p.folder, filepath.FromSlash(path)))
}

// Height, ReadTiles and SaveTiles make a tlog.TileReader, which checks all tiles against the tree's hash.
func (p published) Height() int { return tileHeight }

func (p published) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for at, tile := range tiles {
		bytes, err := p.read(tile)
		if err != nil {
			return nil, err
		}
		data[at] = bytes
	}
	return data, nil
}

func (p published) SaveTiles([]tlog.Tile, [][]byte) {}
