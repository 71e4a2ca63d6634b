# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""WireGuard's protocol from the paper, for tests: it shares nothing with the module.

An initiator:                               A responder:
    me = Initiator(private, remote_public)      me = Responder(private, {their_public: psk})
    send(me.create_initiation())                request = me.consume_initiation(receive())
    session = me.consume_response(receive())    message, session = me.create_response(request)
                                                send(message)
    send(session.encrypt(packet))
    counter, packet = session.decrypt(receive())

Whatever is random or taken from a clock can be given instead. What does not
verify raises ProtocolError. Nothing here remembers what was seen before:
replayed messages are the business of whoever is tested.
"""

import hashlib
import hmac
import os
import socket
import struct
import time
from collections import namedtuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
LABEL_COOKIE = b"cookie--"

INITIATION, RESPONSE, COOKIE_REPLY, DATA = 1, 2, 3, 4
INITIATION_LEN, RESPONSE_LEN, COOKIE_REPLY_LEN, DATA_MIN_LEN = 148, 92, 64, 32
TAI64_BASE = 2**62 + 10
REJECT_AFTER_MESSAGES = 2**64 - 2**13 - 1
ZERO = bytes(32)


class ProtocolError(Exception):
    """A message that must not be accepted."""


# --- primitives ---

def blake2s(data, length=32, key=b""):
    return hashlib.blake2s(data, digest_size=length, key=key).digest()


def derive(count, chain, secret):
    """The paper's KDF_n: a list of @count keys."""
    extracted = hmac.digest(chain, secret, hashlib.blake2s)
    keys = [b""]
    for i in range(count):
        keys.append(hmac.digest(extracted, keys[-1] + bytes([i + 1]), hashlib.blake2s))
    return keys[1:]


def generate_private():
    return clamp(os.urandom(32))


def clamp(key):
    return bytes([key[0] & 248]) + key[1:31] + bytes([key[31] & 127 | 64])


def public_of(private):
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def dh(private, public):
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ProtocolError("public key is a point of low order") from None


def seal(key, counter, plain, ad=b""):
    return ChaCha20Poly1305(key).encrypt(bytes(4) + struct.pack("<Q", counter), plain, ad)


def unseal(key, counter, sealed, ad=b""):
    return _open(key, bytes(4) + struct.pack("<Q", counter), sealed, ad)


def _open(key, nonce, sealed, ad):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        raise ProtocolError("authentication failed") from None


def hchacha20(key, nonce):
    """The key that XChaCha20 uses for a nonce's first 16 bytes."""
    words = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def half(a, b, c, rotation):
        words[a] = (words[a] + words[b]) & 0xffffffff
        mixed = words[c] ^ words[a]
        words[c] = (mixed << rotation | mixed >> (32 - rotation)) & 0xffffffff

    def quarter(a, b, c, d):
        for x, y, z, rotation in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            half(x, y, z, rotation)

    for _ in range(10):
        for i in range(4):
            quarter(i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12)
    return struct.pack("<8I", *words[:4], *words[12:])


def xseal(key, nonce, plain, ad=b""):
    inner = hchacha20(key, nonce[:16])
    return ChaCha20Poly1305(inner).encrypt(bytes(4) + nonce[16:], plain, ad)


def xunseal(key, nonce, sealed, ad=b""):
    return _open(hchacha20(key, nonce[:16]), bytes(4) + nonce[16:], sealed, ad)


def tai64n(nanoseconds=None):
    """A timestamp of nanoseconds since 1970, by default of now."""
    if nanoseconds is None:
        nanoseconds = time.time_ns()
    return struct.pack(">QI", TAI64_BASE + nanoseconds // 10**9, nanoseconds % 10**9)


def random_index():
    return struct.unpack("<I", os.urandom(4))[0]


# --- messages: named fields of what is on the wire ---

class _Layout:
    """parse() and build() for a message of fixed length."""

    def __init__(self, name, kind, layout, fields):
        self.kind, self.layout = kind, struct.Struct(layout)
        self.fields = namedtuple(name, fields)

    def parse(self, message):
        if len(message) != self.layout.size:
            raise ProtocolError(f"{self.fields.__name__} of {len(message)} bytes")
        parsed = self.fields(*self.layout.unpack(message))
        if parsed.type != self.kind:
            raise ProtocolError(f"type {parsed.type:#x}, not {self.kind}")
        return parsed

    def build(self, *values):
        return self.layout.pack(self.kind, *values)


Initiation = _Layout("Initiation", INITIATION, "<II32s48s28s16s16s",
                     "type sender ephemeral sealed_static sealed_timestamp mac1 mac2")
Response = _Layout("Response", RESPONSE, "<III32s16s16s16s",
                   "type sender receiver ephemeral sealed_nothing mac1 mac2")
CookieReply = _Layout("CookieReply", COOKIE_REPLY, "<II24s32s",
                      "type receiver nonce sealed_cookie")
DataHeader = _Layout("DataHeader", DATA, "<IIQ", "type receiver counter")


def message_type(message):
    """The first four bytes as a number: the reserved three count, too."""
    return struct.unpack_from("<I", message)[0] if len(message) >= 4 else None


# --- MACs and cookies ---

class MacWriter:
    """MACs of handshake messages to the owner of a public key."""

    def __init__(self, remote_public):
        self.mac1_key = blake2s(LABEL_MAC1 + remote_public)
        self.cookie_key = blake2s(LABEL_COOKIE + remote_public)
        self.cookie = None
        self.last_mac1 = None

    def stamp(self, message):
        """Fill in the last 32 bytes of a whole message."""
        body = message[:-32]
        self.last_mac1 = blake2s(body, 16, self.mac1_key)
        body += self.last_mac1
        return body + (blake2s(body, 16, self.cookie) if self.cookie else bytes(16))

    def consume_cookie_reply(self, message):
        """Remember the cookie; returns the index that the reply is for."""
        reply = CookieReply.parse(message)
        if self.last_mac1 is None:
            raise ProtocolError("a cookie reply to nothing")
        self.cookie = xunseal(self.cookie_key, reply.nonce, reply.sealed_cookie, self.last_mac1)
        return reply.receiver


class MacReader:
    """MACs of handshake messages to us; addresses as of a socket."""

    def __init__(self, own_public, secret=None):
        self.mac1_key = blake2s(LABEL_MAC1 + own_public)
        self.cookie_key = blake2s(LABEL_COOKIE + own_public)
        self.secret = secret or os.urandom(32)

    def has_mac1(self, message):
        return hmac.compare_digest(blake2s(message[:-32], 16, self.mac1_key), message[-32:-16])

    def cookie_for(self, address):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        where = socket.inet_pton(family, address[0]) + struct.pack(">H", address[1])
        return blake2s(where, 16, self.secret)

    def has_mac2(self, message, address):
        mac = blake2s(message[:-16], 16, self.cookie_for(address))
        return hmac.compare_digest(mac, message[-16:])

    def create_cookie_reply(self, message, address, receiver=None, nonce=None):
        """The answer to a handshake message that came from @address."""
        if receiver is None:
            receiver = struct.unpack_from("<I", message, 4)[0]
        nonce = nonce or os.urandom(24)
        sealed = xseal(self.cookie_key, nonce, self.cookie_for(address), message[-32:-16])
        return CookieReply.build(receiver, nonce, sealed)


# --- handshake ---

class Transcript:
    """Noise's symmetric state: a hash of what was said, a chaining key of what was agreed on."""

    def __init__(self, responder_public, prologue=IDENTIFIER):
        self.chain = self.hash = blake2s(CONSTRUCTION)
        self.key = None
        self.mix_hash(prologue)
        self.mix_hash(responder_public)

    def mix_hash(self, data):
        self.hash = blake2s(self.hash + data)

    def mix_key(self, secret):
        self.chain, self.key = derive(2, self.chain, secret)

    def mix_ephemeral(self, public):
        self.mix_hash(public)
        self.mix_key(public)

    def mix_psk(self, psk):
        self.chain, tau, self.key = derive(3, self.chain, psk)
        self.mix_hash(tau)

    def seal(self, plain):
        sealed = seal(self.key, 0, plain, self.hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        plain = unseal(self.key, 0, sealed, self.hash)
        self.mix_hash(sealed)
        return plain


class Initiator:
    """Begins handshakes with one peer; only the last one can be finished."""

    def __init__(self, private, remote_public, psk=ZERO, prologue=IDENTIFIER):
        self.private, self.public = private, public_of(private)
        self.remote_public, self.psk, self.prologue = remote_public, psk, prologue
        self.macs = MacWriter(remote_public)
        self.reader = MacReader(self.public)
        self.index = self.ephemeral = self.transcript = None

    def create_initiation(self, index=None, ephemeral=None, timestamp=None):
        self.index = random_index() if index is None else index
        self.ephemeral = ephemeral or generate_private()
        t = self.transcript = Transcript(self.remote_public, self.prologue)
        ephemeral_public = public_of(self.ephemeral)
        t.mix_ephemeral(ephemeral_public)
        t.mix_key(dh(self.ephemeral, self.remote_public))
        sealed_static = t.seal(self.public)
        t.mix_key(dh(self.private, self.remote_public))
        sealed_timestamp = t.seal(timestamp or tai64n())
        return self.macs.stamp(Initiation.build(
            self.index, ephemeral_public, sealed_static, sealed_timestamp, bytes(16), bytes(16)))

    def consume_response(self, message):
        response = Response.parse(message)
        if not self.reader.has_mac1(message):
            raise ProtocolError("mac1 is wrong")
        if response.receiver != self.index:
            raise ProtocolError("a response to something else")
        t = self.transcript
        t.mix_ephemeral(response.ephemeral)
        t.mix_key(dh(self.ephemeral, response.ephemeral))
        t.mix_key(dh(self.private, response.ephemeral))
        t.mix_psk(self.psk)
        if t.open(response.sealed_nothing):
            raise ProtocolError("a response with something in it")
        return Session(t, True, self.index, response.sender)


Request = namedtuple("Request", "sender ephemeral static timestamp transcript")


class Responder:
    """Answers handshakes; @psks has the pre-shared key of each public key that is known."""

    def __init__(self, private, psks, prologue=IDENTIFIER):
        self.private, self.public = private, public_of(private)
        self.psks, self.prologue = psks, prologue
        self.reader = MacReader(self.public)
        self.macs = {public: MacWriter(public) for public in psks}

    def consume_initiation(self, message):
        initiation = Initiation.parse(message)
        if not self.reader.has_mac1(message):
            raise ProtocolError("mac1 is wrong")
        t = Transcript(self.public, self.prologue)
        t.mix_ephemeral(initiation.ephemeral)
        t.mix_key(dh(self.private, initiation.ephemeral))
        static = t.open(initiation.sealed_static)
        if static not in self.psks:
            raise ProtocolError("an initiation by a stranger")
        t.mix_key(dh(self.private, static))
        timestamp = t.open(initiation.sealed_timestamp)
        return Request(initiation.sender, initiation.ephemeral, static, timestamp, t)

    def create_response(self, request, index=None, ephemeral=None):
        index = random_index() if index is None else index
        ephemeral = ephemeral or generate_private()
        t = request.transcript
        ephemeral_public = public_of(ephemeral)
        t.mix_ephemeral(ephemeral_public)
        t.mix_key(dh(ephemeral, request.ephemeral))
        t.mix_key(dh(ephemeral, request.static))
        t.mix_psk(self.psks[request.static])
        message = self.macs[request.static].stamp(Response.build(
            index, request.sender, ephemeral_public, t.seal(b""), bytes(16), bytes(16)))
        return message, Session(t, False, index, request.sender)


# --- transport ---

class Session:
    """The keys of one finished handshake, as one side has them."""

    def __init__(self, transcript, initiator, local_index, remote_index):
        first, second = derive(2, transcript.chain, b"")
        self.send_key, self.recv_key = (first, second) if initiator else (second, first)
        self.local_index, self.remote_index = local_index, remote_index
        self.sent = 0

    def encrypt(self, packet=b"", counter=None, pad=True, receiver=None):
        """A transport message; without @packet it is a keepalive."""
        if counter is None:
            counter, self.sent = self.sent, self.sent + 1
        if pad:
            packet += bytes(-len(packet) % 16)
        header = DataHeader.build(self.remote_index if receiver is None else receiver, counter)
        return header + seal(self.send_key, counter, packet)

    def decrypt(self, message):
        """Counter and padded packet of a transport message."""
        if len(message) < DATA_MIN_LEN:
            raise ProtocolError(f"data of {len(message)} bytes")
        header = DataHeader.parse(message[:16])
        if header.receiver != self.local_index:
            raise ProtocolError("data of another session")
        return header.counter, unseal(self.recv_key, header.counter, message[16:])
