"""Signed links: any token opened, anything signed, and what was signed changed."""

from __future__ import annotations

from logllm.errors import ProtocolError
from logllm.wire.signed import MAX_TOKEN_CHARS, Signer
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 700

_SIGNER, _ANOTHER = Signer(bytes(range(32))), Signer(bytes(32))
_NOW_S = 1_715_700_000
_URLSAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def check(data: bytes) -> None:
    """Only what was signed here opens, for as long as it is good, unchanged, and says what it said."""
    choices = Choices(data)
    kind, change, ahead_s = choices.below(3), choices.below(256), choices.below(256)
    text = choices.rest().decode("utf-8", "surrogateescape")
    if kind == 0:
        _refused(text, _NOW_S)
        return
    subject, _, verb = text.partition("\n")
    try:
        token = _SIGNER.sign(subject, verb, _NOW_S + ahead_s)
    except ProtocolError as error:
        check_refusal(error, "a link cannot be signed: ")
        return
    assert set(token) <= _URLSAFE
    assert len(token) <= MAX_TOKEN_CHARS
    if ahead_s:
        assert _SIGNER.open(token, _NOW_S) == (subject, verb)
    _refused(token, _NOW_S + ahead_s)
    if kind == 2:
        at = change % len(token)
        for other in "A_9\n=\u0131":
            if token[at] != other:
                _refused(token[:at] + other + token[at + 1 :], _NOW_S)
        _refused(token[:at], _NOW_S)
        _refused(token + "A" * (change % 4 + 1), _NOW_S)
    try:
        _ANOTHER.open(token, _NOW_S)
    except ProtocolError as error:
        check_refusal(error)
        return
    raise AssertionError("a token of another secret was opened")


def _refused(token: str, now_s: int) -> None:
    try:
        found = _SIGNER.open(token, now_s)
    except ProtocolError as error:
        check_refusal(error)
        return
    raise AssertionError(f"{token!r} says {found}")


def seeds() -> list[bytes]:
    """Tokens of this secret that are over, and what may be signed."""
    past = [_SIGNER.sign(f"inc-{number}", "acknowledge", number).encode() for number in range(3)]
    other = _ANOTHER.sign("inc-1", "approve:act-5d0e9f3a1b27", _NOW_S + 60).encode()
    found = [b"\0\0\0" + token for token in (*past, other, other + b"=", b"A" * 600, b"A" * 601, b"")]
    signed = (b"inc-1\nacknowledge", b"\nx", b"x\n", b"a" * 257 + b"\nb", b"a\n" + b"b" * 129, b"\xff\n\xff", b"a\n\0")
    return found + [bytes([kind, 7 * kind, 60]) + text for kind in (1, 2) for text in signed]
