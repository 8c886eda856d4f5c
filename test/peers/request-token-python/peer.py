"""Mints and reads request tokens as docs/specs/request-token.md has them, and shares nothing with Troth but that page.

    peer.py encode   each line of standard input is a case in JSON; answers keys and token
    peer.py decode   each line of standard input is a text in JSON; answers its fields, or the reason
"""

import base64
import hashlib
import hmac
import json
import re
import struct
import sys

MODES = {"per-request": 1, "granted": 2}


def lp(text):
    encoded = text.encode()
    return struct.pack(">I", len(encoded)) + encoded


def mac(key, message):
    return hmac.digest(key, message, "sha256")


def hkdf(key, salt, info):
    """RFC 5869 with SHA-256, for as many bytes as one block has."""
    return mac(mac(salt, key), info + b"\x01")


def encode(case):
    mode = bytes([MODES[case["mode"]]])
    issued_at = case["issuedAtMillis"]
    period = issued_at // 600_000
    fingerprint = bytes.fromhex(case["certificateFingerprint"])
    names = {name: lp(case[name]) for name in ("audience", "spiffeId", "source", "destination")}
    audience_key = hkdf(
        bytes.fromhex(case["rootKey"]),
        struct.pack(">Q", period),
        b"troth/1 request-token audience key\0" + names["audience"],
    )
    client_key = hkdf(
        audience_key,
        fingerprint,
        b"troth/1 request-token client key\0" + mode + names["destination"] + names["spiffeId"],
    )
    digest = hashlib.sha256(
        b"troth/1 request-token request\0"
        + lp(case["method"])
        + names["destination"]
        + lp(case["path"])
        + lp(case["contentDigest"])
    ).digest()
    head = b"\x01" + mode + struct.pack(">IQ", period, issued_at) + bytes.fromhex(case["nonce"]) + fingerprint + digest
    tag = mac(
        client_key,
        b"troth/1 request-token\0"
        + head
        + bytes.fromhex(case["channelBinding"])
        + names["audience"]
        + names["spiffeId"]
        + names["source"],
    )
    text = base64.urlsafe_b64encode(head + tag).decode()
    return f"{audience_key.hex()} {client_key.hex()} {text}"


def decode(text):
    if not re.fullmatch(r"[A-Za-z0-9_-]{168}", text):
        return "request-token-malformed"
    token = base64.urlsafe_b64decode(text)
    version, mode, period, issued_at, nonce, fingerprint, digest, tag = struct.unpack(">BBIQ16s32s32s32s", token)
    if issued_at >= 2**53:
        return "request-token-malformed"
    if version != 1:
        return "request-token-version"
    name = next((name for name, byte in MODES.items() if byte == mode), None)
    if name is None:
        return "request-token-mode"
    return f"{name} {period} {issued_at} {nonce.hex()} {fingerprint.hex()} {digest.hex()} {tag.hex()}"


if __name__ == "__main__":
    answer = {"encode": encode, "decode": decode}[sys.argv[1]]
    for line in sys.stdin:
        print(answer(json.loads(line)))
