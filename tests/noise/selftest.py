#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Is the protocol in ../lib/wgproto.py right? Needs neither root nor a module.

selftest.py [WORD...]: run the tests, or those with the words in their names
selftest.py --write:   write vectors.json anew

That the whole agrees with WireGuard is shown elsewhere: ../t/handshake.py sends
the messages of vectors.json to the in-tree module, and to ours.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import tap  # noqa: E402
import wgproto as wg  # noqa: E402

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json")
suite = tap.Suite()


def refuses(function, *args):
    try:
        function(*args)
    except wg.ProtocolError:
        return
    raise AssertionError(f"{function.__name__} accepted what it must not")


def pair(psk=wg.ZERO):
    ours, theirs = wg.generate_private(), wg.generate_private()
    return (wg.Initiator(ours, wg.public_of(theirs), psk),
            wg.Responder(theirs, {wg.public_of(ours): psk}))


def shake_hands(initiator, responder):
    request = responder.consume_initiation(initiator.create_initiation())
    message, theirs = responder.create_response(request)
    return initiator.consume_response(message), theirs


# --- vectors: everything that is random in a handshake, given ---

def number(text):
    return wg.blake2s(b"wgtrunk test vector: " + text)


def make_vector(name, psk):
    initiator_private = wg.clamp(number(b"initiator"))
    responder_private = wg.clamp(number(b"responder"))
    initiator = wg.Initiator(initiator_private, wg.public_of(responder_private), psk)
    responder = wg.Responder(responder_private, {initiator.public: psk})
    # 2024-02-29 12:34:56 UTC and a number of nanoseconds that is as coarse as the module's
    timestamp = wg.tai64n(1709210096 * 10**9 + 7 * 2**24)
    initiation = initiator.create_initiation(0x01020304, wg.clamp(number(b"initiator ephemeral")),
                                             timestamp)
    response, theirs = responder.create_response(responder.consume_initiation(initiation),
                                                 0xa1a2a3a4,
                                                 wg.clamp(number(b"responder ephemeral")))
    reader = wg.MacReader(responder.public, number(b"cookie secret"))
    reply = reader.create_cookie_reply(initiation, ("192.0.2.1", 51820),
                                       nonce=number(b"cookie nonce")[:24])
    ours = initiator.consume_response(response)
    values = {
        "initiator_private": initiator_private, "responder_private": responder_private,
        "initiator_public": initiator.public, "responder_public": responder.public,
        "initiator_ephemeral": initiator.ephemeral,
        "responder_ephemeral": wg.clamp(number(b"responder ephemeral")),
        "psk": psk, "timestamp": timestamp, "initiation": initiation, "response": response,
        "cookie_secret": reader.secret, "cookie_reply": reply,
        "send_key": ours.send_key, "recv_key": ours.recv_key,
        "data_from_initiator": ours.encrypt(b"from initiator"),
        "data_from_responder": theirs.encrypt(b"from responder"),
    }
    return {"name": name, **{k: v.hex() for k, v in values.items()}}


def make_vectors():
    return [make_vector("without a pre-shared key", wg.ZERO),
            make_vector("with a pre-shared key", number(b"psk"))]


# --- tests ---

@suite.test("BLAKE2s of RFC 7693, appendix B")
def _():
    assert wg.blake2s(b"abc").hex() == (
        "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")


@suite.test("HChaCha20 of draft-irtf-cfrg-xchacha, section 2.2.1")
def _():
    key = bytes(range(32))
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    assert wg.hchacha20(key, nonce).hex() == (
        "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")


@suite.test("XChaCha20Poly1305 of draft-irtf-cfrg-xchacha, appendix A.3.1")
def _():
    plain = (b"Ladies and Gentlemen of the class of '99: If I could offer you "
             b"only one tip for the future, sunscreen would be it.")
    ad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    key, nonce = bytes(range(0x80, 0xa0)), bytes(range(0x40, 0x58))
    sealed = wg.xseal(key, nonce, plain, ad)
    assert sealed[:8].hex() == "bd6d179d3e83d43b"
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"
    assert wg.xunseal(key, nonce, sealed, ad) == plain


@suite.test("what every handshake starts from")
def _():
    t = wg.Transcript(b"", wg.IDENTIFIER)
    assert t.chain.hex() == "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36"
    h = wg.blake2s(t.chain + wg.IDENTIFIER)
    assert h.hex() == "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3"
    assert t.hash == wg.blake2s(h)


@suite.test("messages have the lengths of the paper")
def _():
    initiator, responder = pair()
    initiation = initiator.create_initiation()
    response, session = responder.create_response(responder.consume_initiation(initiation))
    reply = responder.reader.create_cookie_reply(initiation, ("127.0.0.1", 1))
    assert (len(initiation), len(response), len(reply)) == (148, 92, 64)
    assert len(session.encrypt()) == 32 and len(session.encrypt(b"x")) == 48


for with_psk in (False, True):
    @suite.test(f"both sides get the same keys, {'with' if with_psk else 'without'} a psk")
    def _(with_psk=with_psk):
        ours, theirs = shake_hands(*pair(os.urandom(32) if with_psk else wg.ZERO))
        assert ours.send_key == theirs.recv_key and ours.recv_key == theirs.send_key
        assert ours.send_key != ours.recv_key
        assert ours.remote_index == theirs.local_index
        assert theirs.decrypt(ours.encrypt(b"hello"))[1].rstrip(b"\0") == b"hello"
        assert ours.decrypt(theirs.encrypt(b"world", 77))[0] == 77


@suite.test("a wrong psk, static key, mac, receiver or bit is refused")
def _():
    initiator, responder = pair(os.urandom(32))
    initiation = initiator.create_initiation()
    for i in range(len(initiation) - 16):
        flipped = initiation[:i] + bytes([initiation[i] ^ 1]) + initiation[i + 1:]
        if 4 <= i < 8 or i >= 116:
            refuses(responder.consume_initiation, flipped)
        else:
            refuses(responder.consume_initiation, initiator.macs.stamp(flipped))
    refuses(responder.consume_initiation, initiation[:-1])

    request = responder.consume_initiation(initiation)
    response, theirs = responder.create_response(request)
    refuses(pair()[0].consume_response, response)
    initiator.psk = os.urandom(32)
    refuses(initiator.consume_response, response)
    data = theirs.encrypt(b"x")
    refuses(theirs.decrypt, data)


@suite.test("points of low order are refused")
def _():
    refuses(wg.dh, wg.generate_private(), wg.ZERO)
    refuses(wg.dh, wg.generate_private(), b"\1" + bytes(31))


@suite.test("a cookie goes from one side to the other")
def _():
    initiator, responder = pair()
    here = ("2001:db8::1", 4711)
    initiation = initiator.create_initiation()
    assert responder.reader.has_mac1(initiation)
    assert not responder.reader.has_mac2(initiation, here)
    reply = responder.reader.create_cookie_reply(initiation, here)
    refuses(pair()[0].macs.consume_cookie_reply, reply)
    assert initiator.macs.consume_cookie_reply(reply) == initiator.index
    initiation = initiator.create_initiation()
    assert responder.reader.has_mac2(initiation, here)
    assert not responder.reader.has_mac2(initiation, (here[0], here[1] + 1))


@suite.test("timestamps are ordered as the time is")
def _():
    assert wg.tai64n(0) == bytes.fromhex("400000000000000a00000000")
    assert wg.tai64n(10**9 - 1) < wg.tai64n(10**9) < wg.tai64n(10**9 + 1)


@suite.test("the vectors are what is written down")
def _():
    with open(VECTORS, encoding="ascii") as f:
        assert json.load(f) == make_vectors()


if sys.argv[1:] == ["--write"]:
    with open(VECTORS, "w", encoding="ascii") as out:
        json.dump(make_vectors(), out, indent="\t")
        out.write("\n")
else:
    suite.run_and_exit()
