"""`owners.toml` from any text, and whose a service is."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from logllm.errors import ConfigError
from logllm.notify.routing.owners import Owners
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 900

_SAMPLE = Path(__file__).parents[2] / "samples" / "owners.toml"


@cache
def _memory() -> int:
    """A file without a place on disk."""
    return os.memfd_create("owners.toml")


def check(data: bytes) -> None:
    """A text is teams, of which a service belongs to the one that trying every pattern gives, or is refused."""
    choices = Choices(data)
    length = choices.below(64)
    rest = choices.rest()
    service, text = rest[:length].decode("utf-8", "surrogateescape"), rest[length:]
    file = _memory()
    os.ftruncate(file, 0)
    os.pwrite(file, text, 0)
    path = f"/proc/self/fd/{file}"
    try:
        owners = Owners.load(path)
    except ConfigError as error:
        check_refusal(error, path)
        return
    for name in (service, service * 20, ""):
        assert owners.of(name) == _by_trying(owners, name[:256])


def _by_trying(owners: Owners, service: str) -> str:
    best = ((-1, False), "")
    for name, team in owners.teams.items():
        for pattern in team.services:
            rank = (sum(char not in "*?" for char in pattern), "*" not in pattern and "?" not in pattern)
            if rank > best[0] and _fits(pattern, service):
                best = (rank, name)
    return best[1]


def _fits(pattern: str, text: str) -> bool:
    """`*` and `?`, one column at a time."""
    reached = [True] + [False] * len(text)
    for char in pattern:
        if char == "*":
            for at in range(1, len(reached)):
                reached[at] |= reached[at - 1]
        else:
            reached = [False] + [reached[at] and char in ("?", text[at]) for at in range(len(text))]
    return reached[-1]


def seeds() -> list[bytes]:
    """The sample's parts, and what a team can have."""
    parts = [part for part in _SAMPLE.read_bytes().split(b"\n\n") if part.strip()]
    made = [
        b'[teams.a]\nservices = ["checkout-*", "?ay*"]\n[teams.b]\nservices = ["*", "pay", "p?y", "[p]ay"]\nto = ["x"]',
        b'[teams.shop]\nescalate = [{after_s = 300, to = ["boss"]}]\nhours = "office"\n',
        b'[teams."a b"]\nservices = [""]\n', b"[teams.a]\nservices = 1\n", b"teams = 1", b"x = 1", b"\xff",
        b"[[teams]]", b"[teams.a]\nservices = [" + b'"*a*b*c*d*e*f*g", ' * 20 + b"]\n",
    ]  # fmt: skip
    names = (b"pay", b"checkout-cart", b"payments", b"", b"a" * 40)
    texts = [part[:850] for part in (*parts, *made)]
    later = b'[teams.x]\nservices = ["*", "p*"]\n[teams.y]\nservices = ["pay*", "?heckout*"]\n'
    pairs = [(names[number % 5], text) for number, text in enumerate(texts)] + [(name, later) for name in names]
    return [bytes([len(name)]) + name + text for name, text in pairs]
