"""Asks an agent's SPIFFE Workload API for everything, and checks what it answers with other people's libraries.

client.py MODE DESCRIPTORS ADDRESS ID: MODE is `stranger` for a process that no entry fits, or `workload` for one that
is to be ID and nothing else; DESCRIPTORS is a FileDescriptorSet, ADDRESS as SPIFFE_ENDPOINT_SOCKET has it.
Prints one line a check, `ok WHAT` or `failed WHAT: WHY`.
"""

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

SECONDS_MAX = 20
SERVICE = "SpiffeWorkloadAPI"
HEADER = (("workload.spiffe.io", "true"),)
AUDIENCE = "ledger"


class WorkloadApi:
    """The calls of the API, from its descriptors alone."""

    def __init__(self, descriptors, address):
        pool = descriptor_pool.DescriptorPool()
        with open(descriptors, "rb") as file:
            for one in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
                pool.Add(one)
        self.methods = {method.name: method for method in pool.FindServiceByName(SERVICE).methods}
        target = address.removeprefix("tcp://")
        self.channel = grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)])

    def call(self, name, metadata=HEADER, **fields):
        """The answer, or an iterator of the answers where they are a stream."""
        method = self.methods[name]
        request = message_factory.GetMessageClass(method.input_type)(**fields)
        open_call = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        return open_call(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request, timeout=SECONDS_MAX, metadata=metadata)

    def first(self, name, metadata=HEADER, **fields):
        """The answer, or the first of them."""
        answer = self.call(name, metadata, **fields)
        if not self.methods[name].server_streaming:
            return answer
        message = next(answer)
        answer.cancel()
        return message

    def call_unknown(self, path):
        identity = lambda data: data
        return self.channel.unary_unary(path, identity, identity)(b"", timeout=SECONDS_MAX, metadata=HEADER)


# What is asked where a request has to name something before its caller is looked at.
FIELDS = {
    "FetchJWTSVID": {"audience": [AUDIENCE]},
    "ValidateJWTSVID": {"audience": AUDIENCE, "svid": "a.b.c"},
}


def check(what, act):
    """Runs one check and says what came of it; what the check answers goes to those after it."""
    try:
        answer = act()
    except grpc.RpcError as error:
        return say(f"failed {what}: {error.code().name}: {error.details()}")
    except Exception as error:
        return say(f"failed {what}: {type(error).__name__}: {error}")
    say(f"ok {what}")
    return answer


def say(line):
    sys.stdout.write(f"{line}\n")


def refused(act, code, text=None):
    try:
        act()
    except grpc.RpcError as error:
        assert error.code() == code, f"refused with {error.code().name}: {error.details()}"
        assert text is None or error.details() == text, f"refused with the words {error.details()!r}"
        return
    raise AssertionError("served")


def ders(data):
    """The DER values that follow one another."""
    values = []
    while data:
        count = data[1] & 0x7F if data[1] & 0x80 else 0
        length = int.from_bytes(data[2 : 2 + count]) if count else data[1]
        end = 2 + count + length
        values.append(data[:end])
        data = data[end:]
    return values


def certificates(data):
    return [x509.load_der_x509_certificate(value) for value in ders(data)]


def uris(certificate):
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def spki(public_key):
    return public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_x509_svid(message, spiffe_id):
    """The one SVID of a message: its leaf and what issued it, once all of it has been checked."""
    assert [svid.spiffe_id for svid in message.svids] == [spiffe_id]
    svid = message.svids[0]
    leaf, *issuers = certificates(svid.x509_svid)
    roots = certificates(svid.bundle)
    assert uris(leaf) == [spiffe_id]
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not basic.ca and usage.digital_signature and not usage.key_cert_sign and not usage.crl_sign
    key = serialization.load_der_private_key(svid.x509_svid_key, None)
    assert spki(key.public_key()) == spki(leaf.public_key())
    below = leaf
    for issuer in issuers:
        below.verify_directly_issued_by(issuer)
        below = issuer
    assert any(is_issued_by(below, root) for root in roots), "no root of the bundle issued it"
    return leaf, issuers


def is_issued_by(certificate, issuer):
    try:
        certificate.verify_directly_issued_by(issuer)
        return True
    except Exception:
        return False


def read_lists(values, authorities, leaf):
    """Each list is one of an authority that is known, signed by it, and does not name who may call."""
    assert values, "there is none"
    for value in values:
        revocations = x509.load_der_x509_crl(value)
        assert any(
            authority.subject == revocations.issuer and revocations.is_signature_valid(authority.public_key())
            for authority in authorities
        )
        assert revocations.get_revoked_certificate_by_serial_number(leaf.serial_number) is None


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(jwk):
    x, y = (int.from_bytes(unpadded(jwk[name])) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())


def read_token(token, key_set, use):
    """Header and claims of an ES256 token, once a key of the set has verified it."""
    head, body, signature = token.split(".")
    header, claims = json.loads(unpadded(head)), json.loads(unpadded(body))
    assert header["alg"] == "ES256", header
    (key,) = (one for one in json.loads(key_set)["keys"] if one["kid"] == header["kid"])
    assert key["use"] == use, key
    raw = unpadded(signature)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    point(key).public_key().verify(
        encode_dss_signature(r, s), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())
    )
    return header, claims


def check_stranger(api):
    """Who may be nothing gets nothing, and learns nothing; all at once, since each is held for a moment."""

    def check_one(name):
        check(
            f"{name} of a stranger",
            lambda: refused(
                lambda: api.first(name, **FIELDS.get(name, {})),
                grpc.StatusCode.PERMISSION_DENIED,
                "no identity issued",
            ),
        )

    with ThreadPoolExecutor() as threads:
        list(threads.map(check_one, set(api.methods) - {"ValidateJWTSVID"}))


def check_refusals(api):
    for name in api.methods:
        for metadata in ((), (("workload.spiffe.io", "false"),)):
            check(
                f"{name} with {metadata}",
                lambda: refused(
                    lambda: api.first(name, metadata, **FIELDS.get(name, {})),
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "security header missing from request",
                ),
            )
    for path in (f"/{SERVICE}/FetchNothing", "/spiffe.Nothing/FetchX509SVID"):
        check(path, lambda: refused(lambda: api.call_unknown(path), grpc.StatusCode.UNIMPLEMENTED))
    other = {"audience": [AUDIENCE], "spiffe_id": "spiffe://test.example/shop/ledger"}
    check(
        "FetchJWTSVID of another's identity",
        lambda: refused(
            lambda: api.first("FetchJWTSVID", **other),
            grpc.StatusCode.PERMISSION_DENIED,
            "no identity issued",
        ),
    )
    check(
        "FetchJWTSVID without audience",
        lambda: refused(lambda: api.first("FetchJWTSVID"), grpc.StatusCode.INVALID_ARGUMENT),
    )


def check_x509(api, spiffe_id, domain):
    """One stream through a rotation, the bundles beside it."""
    stream = api.call("FetchX509SVID")
    message = check("FetchX509SVID", lambda: next(stream))
    leaf, issuers = check("its certificates and key", lambda: read_x509_svid(message, spiffe_id))
    bundles = check("FetchX509Bundles", lambda: api.first("FetchX509Bundles"))

    def read_bundles():
        assert dict(bundles.bundles) == {domain: message.svids[0].bundle}
        assert not message.federated_bundles

    check("its bundles", read_bundles)
    authorities = [*issuers, *certificates(message.svids[0].bundle)]
    check("crl of FetchX509SVID", lambda: read_lists(message.crl, authorities, leaf))
    check("crl of FetchX509Bundles", lambda: read_lists(bundles.crl, authorities, leaf))

    def rotate():
        for later in stream:
            next_leaf, _ = read_x509_svid(later, spiffe_id)
            if next_leaf.serial_number != leaf.serial_number:
                assert next_leaf.not_valid_after_utc > leaf.not_valid_after_utc
                return
        raise AssertionError("the stream has ended")

    check("a rotation on the same stream", rotate)
    stream.cancel()


def check_jwt(api, spiffe_id, domain):
    answer = check("FetchJWTSVID", lambda: api.first("FetchJWTSVID", audience=[AUDIENCE]))
    bundles = check("FetchJWTBundles", lambda: api.first("FetchJWTBundles").bundles)
    token = answer.svids[0].svid

    def read():
        assert [svid.spiffe_id for svid in answer.svids] == [spiffe_id] and list(bundles) == [domain]
        header, claims = read_token(token, bundles[domain], "jwt-svid")
        assert header.get("typ", "JWT") in ("JWT", "JOSE"), header
        assert claims["sub"] == spiffe_id and claims["aud"] in (AUDIENCE, [AUDIENCE]), claims

    check("its token", read)

    def validate():
        validated = api.first("ValidateJWTSVID", audience=AUDIENCE, svid=token)
        assert validated.spiffe_id == spiffe_id
        assert json_format.MessageToDict(validated.claims)["sub"] == spiffe_id

    check("ValidateJWTSVID", validate)
    forged = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    for what, fields in (
        ("for another audience", {"audience": "other", "svid": token}),
        ("of a forgery", {"audience": AUDIENCE, "svid": forged}),
    ):
        check(
            f"ValidateJWTSVID {what}",
            lambda: refused(lambda: api.first("ValidateJWTSVID", **fields), grpc.StatusCode.INVALID_ARGUMENT),
        )


def check_wit(api, spiffe_id, domain):
    answer = check("FetchWITSVID", lambda: api.first("FetchWITSVID"))
    bundles = check("FetchWITBundles", lambda: api.first("FetchWITBundles").bundles)

    def read():
        assert [svid.spiffe_id for svid in answer.svids] == [spiffe_id] and list(bundles) == [domain]
        svid = answer.svids[0]
        header, claims = read_token(svid.wit_svid, bundles[domain], "wit-svid")
        assert header["typ"] == "wit+jwt" and claims["sub"] == spiffe_id, (header, claims)
        key = json.loads(svid.wit_svid_key)
        private = ec.derive_private_key(int.from_bytes(unpadded(key["d"])), ec.SECP256R1())
        assert private.public_key().public_numbers() == point(claims["cnf"]["jwk"])

    check("its token and key", read)


def main(mode, descriptors, address, spiffe_id):
    api = WorkloadApi(descriptors, address)
    if mode == "stranger":
        return check_stranger(api)
    domain = "/".join(spiffe_id.split("/")[:3])
    check_refusals(api)
    check_x509(api, spiffe_id, domain)
    check_jwt(api, spiffe_id, domain)
    check_wit(api, spiffe_id, domain)


main(*sys.argv[1:])
