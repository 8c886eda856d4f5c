// Command h2spec runs the published HTTP/2 conformance suite against a server on loopback, every case, strictly.
// Usage: h2spec PORT [NAME]. Requests name the server as NAME, which is loopback, whatever DNS says; 127.0.0.1 unless
// given. It ends with 1 when a case failed.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "usage: h2spec PORT [NAME]")
		os.Exit(2)
	}
	host := "127.0.0.1"
	if len(os.Args) > 2 {
		host = os.Args[2]
		net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: dialLoopbackNames}
	}
	settings := &config.Config{
		Host:         host,
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

// dialLoopbackNames connects to a name server that knows every name as 127.0.0.1.
func dialLoopbackNames(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for answerName(far) == nil {
		}
	}()
	return near, nil
}

// answerName answers one query, framed as over TCP.
func answerName(conn net.Conn) error {
	length := make([]byte, 2)
	if _, err := io.ReadFull(conn, length); err != nil {
		return err
	}
	packet := make([]byte, binary.BigEndian.Uint16(length))
	if _, err := io.ReadFull(conn, packet); err != nil {
		return err
	}
	var query dnsmessage.Message
	if err := query.Unpack(packet); err != nil {
		return err
	}
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true},
		Questions: query.Questions,
	}
	for _, question := range query.Questions {
		if question.Type != dnsmessage.TypeA {
			continue
		}
		answer.Answers = append(answer.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		})
	}
	packed, err := answer.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
	return err
}
