"""Asks a sidecar for WebSockets and checks that what it sends comes back.

echo_client.py PROTOCOL PORT HOST BYTES...: PROTOCOL is http1 or http2, HOST the service, BYTES the sizes of messages.
Prints one line a check, `ok WHAT` or `failed WHAT: WHY`.
"""

import contextlib
import os
import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
import websockets.exceptions
import websockets.sync.client
import wsproto.connection
import wsproto.events
import wsproto.frame_protocol

SECONDS_MAX = 120


class Http1Socket:
    """A WebSocket of the package websockets."""

    def __init__(self, port, host, compression=None):
        self.ws = websockets.sync.client.connect(
            f"ws://{host}/echo?room=1",
            sock=socket.create_connection(("127.0.0.1", port), SECONDS_MAX),
            subprotocols=["talk", "chat"],
            compression=compression,
            max_size=None,
            open_timeout=SECONDS_MAX,
            # hypercorn leaves its stream of HTTP/2 open after a close that its client began.
            close_timeout=1,
            ping_interval=None,
        )
        self.subprotocol = self.ws.subprotocol

    def echo(self, message):
        self.ws.send(message)
        return self.ws.recv(SECONDS_MAX)

    def echo_in_parts(self, parts):
        self.ws.send(iter(parts))
        return self.ws.recv(SECONDS_MAX)

    def ping(self, payload):
        return self.ws.ping(payload).wait(SECONDS_MAX)

    def close(self, code):
        self.ws.close(code, "done")
        return self.ws.protocol.close_rcvd.code

    def be_closed(self, code):
        self.ws.send(f"close {code}")
        try:
            self.ws.recv(SECONDS_MAX)
        except websockets.exceptions.ConnectionClosed as closed:
            return closed.rcvd.code
        return 0


class Http2Socket:
    """A WebSocket by extended CONNECT (RFC 8441): frames of wsproto in a stream of h2."""

    def __init__(self, port, host, compression=None):
        del compression
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS_MAX)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.frames = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
        self.status = None
        self.subprotocol = None
        self.received = []
        self.has_ended = False
        self.flush()
        while not self.h2.remote_settings.enable_connect_protocol:
            self.pump()
        self.stream = self.h2.get_next_available_stream_id()
        fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/echo?room=1"),
            (":authority", host),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "talk, chat"),
        ]
        self.h2.send_headers(self.stream, fields)
        self.flush()
        while self.status is None:
            self.pump()
        if self.status != "200":
            raise RuntimeError(f"status {self.status}")

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def pump(self):
        data = self.sock.recv(65536)
        if data == b"":
            raise RuntimeError("the connection has ended")
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                headers = dict(event.headers)
                self.status = headers[":status"]
                self.subprotocol = headers.get("sec-websocket-protocol")
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                # The end of the stream may come right behind the close, in a frame of its own.
                if event.data:
                    self.frames.receive_data(event.data)
                    self.received.extend(self.frames.events())
            elif isinstance(event, h2.events.StreamEnded):
                self.has_ended = True
            elif isinstance(event, h2.events.StreamReset):
                raise RuntimeError(f"the stream was reset with {event.error_code}")
        self.flush()

    def send(self, event):
        data = self.frames.send(event)
        while data:
            room = min(self.h2.local_flow_control_window(self.stream), self.h2.max_outbound_frame_size, len(data))
            if room == 0:
                self.pump()
                continue
            self.h2.send_data(self.stream, data[:room])
            data = data[room:]
            self.flush()

    def next(self, kinds):
        while True:
            while self.received:
                event = self.received.pop(0)
                if isinstance(event, kinds):
                    return event
            self.pump()

    def message(self):
        parts = []
        while True:
            event = self.next((wsproto.events.TextMessage, wsproto.events.BytesMessage))
            parts.append(event.data)
            if event.message_finished:
                return ("" if isinstance(parts[0], str) else b"").join(parts)

    def echo(self, message):
        return self.echo_in_parts([message])

    def echo_in_parts(self, parts):
        for place, part in enumerate(parts):
            kind = wsproto.events.TextMessage if isinstance(part, str) else wsproto.events.BytesMessage
            self.send(kind(data=part, message_finished=place == len(parts) - 1))
        return self.message()

    def ping(self, payload):
        self.send(wsproto.events.Ping(payload=payload))
        return bytes(self.next(wsproto.events.Pong).payload) == payload

    def close(self, code):
        self.send(wsproto.events.CloseConnection(code=code, reason="done"))
        return self.next(wsproto.events.CloseConnection).code

    def be_closed(self, code):
        self.send(wsproto.events.TextMessage(data=f"close {code}"))
        event = self.next(wsproto.events.CloseConnection)
        self.send(event.response())
        return event.code


def check(what, run):
    try:
        why = run()
    except Exception as error:  # noqa: BLE001
        why = f"{type(error).__name__}: {error}"
    print(f"ok {what}" if why is None else f"failed {what}: {why}", flush=True)


def same(sent, got):
    if got == sent and type(got) is type(sent):
        return None
    return f"{len(got)} of type {type(got).__name__} for {len(sent)} of type {type(sent).__name__}"


def main():
    protocol, port, host, *sizes = sys.argv[1:]
    kind = Http1Socket if protocol == "http1" else Http2Socket

    def opened(**how):
        return kind(int(port), host, **how)

    ws = opened()
    check("subprotocol", lambda: None if ws.subprotocol == "chat" else f"{ws.subprotocol}")
    for size in map(int, sizes):
        binary = os.urandom(size)
        text = ("ä€🙂x" * (size // 10 + 1)).encode()[:size].decode(errors="ignore")
        check(f"binary of {size}", lambda: same(binary, ws.echo(binary)))
        check(f"text of {size}", lambda: same(text, ws.echo(text)))
    parts = [os.urandom(size) for size in (1, 0, 125, 70_000)]
    check("fragments", lambda: same(b"".join(parts), ws.echo_in_parts(parts)))
    words = ["a", "", "€", "b" * 1000]
    check("fragments of text", lambda: same("".join(words), ws.echo_in_parts(words)))
    check("ping", lambda: None if ws.ping(b"are you there") else "no pong")
    check("ping of 125", lambda: None if ws.ping(b"p" * 125) else "no pong")
    for code in (1000, 3000, 4999):
        check(f"close with {code}", lambda: expect(code, opened().close(code)))
        check(f"being closed with {code}", lambda: expect(code, opened().be_closed(code)))
    if protocol == "http1":
        check("compression", lambda: same(b"abc" * 100_000, opened(compression="deflate").echo(b"abc" * 100_000)))
    with contextlib.suppress(Exception):
        ws.close(1000)


def expect(wanted, got):
    return None if got == wanted else f"{got} instead of {wanted}"


main()
