import { chunked, host, sized } from "./corpus-row.ts";

const head = `GET /row HTTP/1.1\r\nHost: ${host}\r\n`;

/** Messages that stop in their middle: answered 408 and closed when their time is over (RFC 9110, 15.5.9). */
export const stalledRows: readonly { readonly name: string; readonly bytes: string }[] = [
  { name: "a letter", bytes: "G" },
  { name: "a method", bytes: "GET " },
  { name: "a request line without its LF", bytes: "GET /row HTTP/1.1\r" },
  { name: "a request line", bytes: "GET /row HTTP/1.1\r\n" },
  { name: "half a Host", bytes: head.slice(0, -6) },
  { name: "a head without its last line", bytes: head },
  { name: "a head without its last LF", bytes: `${head}\r` },
  { name: "a body without its last byte", bytes: sized("Content-Length: 4") },
  { name: "a body that has not begun", bytes: sized("Content-Length: 4", "") },
  { name: "chunks that have not begun", bytes: chunked("") },
  { name: "a chunk size without its LF", bytes: chunked("3\r") },
  { name: "half a chunk", bytes: chunked("3\r\na") },
  { name: "chunks without the last one", bytes: chunked("3\r\nabc\r\n") },
  { name: "chunks without the last line", bytes: chunked("3\r\nabc\r\n0\r\n") },
  { name: "a chunk of 4 GiB", bytes: chunked("ffffffff\r\nabc") },
];
