"""Repeats every message of a WebSocket, over HTTP/1.1 and HTTP/2, at the port in PORT; closes when it is told to."""

import asyncio
import os

from hypercorn.asyncio import serve
from hypercorn.config import Config


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
    else:
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return


async def echo(scope, receive, send):
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    wanted = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": wanted})
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            return
        text = event.get("text")
        if text is not None and text.startswith("close "):
            await send({"type": "websocket.close", "code": int(text[6:]), "reason": "as told"})
            return
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


config = Config()
config.bind = [f"127.0.0.1:{os.environ['PORT']}"]
config.websocket_max_message_size = 64 * 1024 * 1024
config.accesslog = None
asyncio.run(serve(application, config))
