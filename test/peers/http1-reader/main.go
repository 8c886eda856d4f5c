// Reads HTTP/1 byte streams as Go's net/http does, a job a line on standard input, and says what it found in each, a
// line of JSON on standard output: the requests that a server would have served, or the responses a client would have
// taken.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// job is one stream. Methods are those of the requests that responses answer; nil where the stream is of requests.
type job struct {
	Bytes   []byte   `json:"bytes"`
	Methods []string `json:"methods"`
}

// field is a name in small letters and a value, whose bytes are code points.
type field [2]string

// message is a request or a response as it was read.
type message struct {
	Method   string  `json:"method,omitempty"`
	Target   string  `json:"target,omitempty"`
	Host     string  `json:"host,omitempty"`
	Status   int     `json:"status,omitempty"`
	Framing  string  `json:"framing,omitempty"`
	Headers  []field `json:"headers"`
	Body     string  `json:"body"`
	Trailers []field `json:"trailers"`
	IsWhole  bool    `json:"isWhole"`
}

// answer is what was found in a stream. IsRefused says that something in it was no HTTP/1 to this reader.
type answer struct {
	Messages  []message `json:"messages"`
	IsRefused bool      `json:"isRefused"`
}

func main() {
	server := newServer()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<30)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked job
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var found answer
		if asked.Methods == nil {
			found = server.read(asked.Bytes)
		} else {
			found = readResponses(asked)
		}
		if err := out.Encode(found); err != nil {
			os.Exit(1)
		}
	}
}

// server is net/http's own, over connections that are bytes in memory.
type server struct {
	conns chan net.Conn
}

func newServer() *server {
	s := &server{conns: make(chan net.Conn)}
	served := &http.Server{
		Handler:                      http.HandlerFunc(note),
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:                     log.New(io.Discard, "", 0),
		MaxHeaderBytes:               1 << 17,
		DisableGeneralOptionsHandler: true,
	}
	go func() { _ = served.Serve(s) }()
	return s
}

type connKey struct{}

func (s *server) Accept() (net.Conn, error) { return <-s.conns, nil }
func (s *server) Close() error              { return nil }
func (s *server) Addr() net.Addr            { return &net.TCPAddr{} }

func (s *server) read(stream []byte) answer {
	conn := &memoryConn{in: bytes.NewReader(stream), closed: make(chan struct{})}
	s.conns <- conn
	<-conn.closed
	conn.mutex.Lock()
	defer conn.mutex.Unlock()
	// What this program's handler did not write is net/http's own refusal.
	statuses := strings.Count(conn.out.String(), "HTTP/1.1 ") - strings.Count(conn.out.String(), "HTTP/1.1 100 ")
	served := strings.Count(conn.out.String(), "HTTP/1.1 200 ")
	return answer{Messages: append([]message{}, conn.found...), IsRefused: statuses > served}
}

func note(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	framing := fmt.Sprint(r.ContentLength)
	if len(r.TransferEncoding) > 0 {
		framing = strings.Join(r.TransferEncoding, ",")
	}
	headers := r.Header.Clone()
	headers.Del("Content-Length")
	conn, _ := r.Context().Value(connKey{}).(*memoryConn)
	conn.mutex.Lock()
	conn.found = append(conn.found, message{
		Method:   r.Method,
		Target:   latin1(r.RequestURI),
		Host:     latin1(r.Host),
		Framing:  framing,
		Headers:  fieldsOf(headers),
		Body:     latin1(string(body)),
		Trailers: fieldsOf(r.Trailer),
		IsWhole:  err == nil,
	})
	conn.mutex.Unlock()
	w.Header().Set("X-Noted", "yes")
}

func readResponses(asked job) answer {
	found := answer{Messages: []message{}}
	reader := bufio.NewReader(bytes.NewReader(asked.Bytes))
	for next := 0; next < len(asked.Methods); {
		if _, err := reader.Peek(1); err != nil {
			return found
		}
		response, err := http.ReadResponse(reader, &http.Request{Method: asked.Methods[next]})
		if err != nil {
			found.IsRefused = true
			return found
		}
		body, err := io.ReadAll(response.Body)
		headers := response.Header.Clone()
		headers.Del("Content-Length")
		if response.StatusCode >= 200 {
			next++
			found.Messages = append(found.Messages, message{
				Status:   response.StatusCode,
				Headers:  fieldsOf(headers),
				Body:     latin1(string(body)),
				Trailers: fieldsOf(response.Trailer),
				IsWhole:  err == nil,
			})
		}
		if err != nil {
			return found
		}
	}
	// Whatever is left answers nothing.
	if _, err := reader.Peek(1); err == nil {
		found.IsRefused = true
	}
	return found
}

func fieldsOf(header http.Header) []field {
	fields := []field{}
	for name, values := range header {
		for _, value := range values {
			fields = append(fields, field{strings.ToLower(name), latin1(value)})
		}
	}
	sort.SliceStable(fields, func(left, right int) bool { return fields[left][0] < fields[right][0] })
	return fields
}

func latin1(text string) string {
	runes := make([]rune, 0, len(text))
	for _, one := range []byte(text) {
		runes = append(runes, rune(one))
	}
	return string(runes)
}

// memoryConn gives the bytes of a stream, then its end, and keeps what is answered.
type memoryConn struct {
	in     *bytes.Reader
	mutex  sync.Mutex
	out    bytes.Buffer
	found  []message
	closed chan struct{}
	once   sync.Once
}

func (c *memoryConn) Read(into []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.in.Read(into)
}

func (c *memoryConn) Write(from []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.out.Write(from)
}

func (c *memoryConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }
