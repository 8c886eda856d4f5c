// Mints and reads request tokens as docs/specs/request-token.md has them, and shares nothing with Troth but that page.
//
//	request-token-go encode   each line of standard input is a case in JSON; answers keys and token
//	request-token-go decode   each line of standard input is a text in JSON; answers its fields, or the reason
package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
)

type testCase struct {
	RootKey, Audience, SpiffeId, Source, Destination, Mode string
	Method, Path, ContentDigest                            string
	CertificateFingerprint, ChannelBinding, Nonce          string
	IssuedAtMillis                                         uint64
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: request-token-go encode|decode")
	}
	answer := map[string]func([]byte) string{"encode": encode, "decode": decode}[os.Args[1]]
	if answer == nil {
		log.Fatal("usage: request-token-go encode|decode")
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		fmt.Fprintln(out, answer(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func encode(line []byte) string {
	var c testCase
	if err := json.Unmarshal(line, &c); err != nil {
		log.Fatal(err)
	}
	mode := map[string]byte{"per-request": 1, "granted": 2}[c.Mode]
	period := c.IssuedAtMillis / 600_000
	fingerprint := unhex(c.CertificateFingerprint)

	audienceInfo := append([]byte("troth/1 request-token audience key\x00"), lp(c.Audience)...)
	audienceKey := hkdf(unhex(c.RootKey), binary.BigEndian.AppendUint64(nil, period), audienceInfo)
	clientInfo := append([]byte("troth/1 request-token client key\x00"), mode)
	clientInfo = append(append(clientInfo, lp(c.Destination)...), lp(c.SpiffeId)...)
	clientKey := hkdf(audienceKey, fingerprint, clientInfo)

	request := sha256.New()
	request.Write([]byte("troth/1 request-token request\x00"))
	for _, part := range []string{c.Method, c.Destination, c.Path, c.ContentDigest} {
		request.Write(lp(part))
	}

	token := []byte{1, mode}
	token = binary.BigEndian.AppendUint32(token, uint32(period))
	token = binary.BigEndian.AppendUint64(token, c.IssuedAtMillis)
	token = append(token, unhex(c.Nonce)...)
	token = append(token, fingerprint...)
	token = request.Sum(token)
	tag := hmac.New(sha256.New, clientKey)
	tag.Write([]byte("troth/1 request-token\x00"))
	tag.Write(token)
	tag.Write(unhex(c.ChannelBinding))
	for _, part := range []string{c.Audience, c.SpiffeId, c.Source} {
		tag.Write(lp(part))
	}
	text := base64.RawURLEncoding.EncodeToString(tag.Sum(token))
	return fmt.Sprintf("%x %x %s", audienceKey, clientKey, text)
}

func decode(line []byte) string {
	var text string
	if err := json.Unmarshal(line, &text); err != nil {
		log.Fatal(err)
	}
	token, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != 168 || base64.RawURLEncoding.EncodeToString(token) != text ||
		binary.BigEndian.Uint64(token[6:]) >= 1<<53 {
		return "request-token-malformed"
	}
	if token[0] != 1 {
		return "request-token-version"
	}
	mode, known := map[byte]string{1: "per-request", 2: "granted"}[token[1]]
	if !known {
		return "request-token-mode"
	}
	return fmt.Sprintf("%s %d %d %x %x %x %x", mode, binary.BigEndian.Uint32(token[2:]),
		binary.BigEndian.Uint64(token[6:]), token[14:30], token[30:62], token[62:94], token[94:])
}

func lp(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// hkdf is RFC 5869 with SHA-256, for as many bytes as one block has.
func hkdf(key, salt, info []byte) []byte {
	extract := hmac.New(sha256.New, salt)
	extract.Write(key)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write(info)
	expand.Write([]byte{1})
	return expand.Sum(nil)
}

func unhex(text string) []byte {
	bytes, err := hex.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return bytes
}
