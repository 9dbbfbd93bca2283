"""Secrets and personal data out, stable pseudonyms in; addresses put back only for those who may see them."""

from __future__ import annotations

import bisect
import hashlib
import re
import secrets as entropy
import threading
from typing import TYPE_CHECKING, Any

from logllm.errors import StateError
from logllm.explain.redact.hints import may_hold_secret
from logllm.explain.redact.keyed import is_secret_name
from logllm.explain.redact.names import name_spans
from logllm.explain.redact.private_keys import block_spans
from logllm.explain.redact.secrets import phone_spans, secret_spans
from logllm.explain.redact.seen import SeenSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["KINDS", "REVEALABLE", "Redactor", "without_secrets"]

REVEALABLE = ("ip", "host", "email", "mac", "user", "phone")
KINDS = (*REVEALABLE, "secret")

_MAX_PASSES = 8
_MAX_VALUE_CHARS = 1_024
_PSEUDONYM = re.compile(r"<(ip|host|email|mac|user|phone|secret)_([0-9]{1,9}|x[0-9a-f]{8}(?:[0-9a-f]{8})?)>")
_HIDDEN = "<secret_0>"
_SEALED_BYTES = 8
_IN_A_NAME = re.compile(r"[A-Za-z][\w-]*")

_Found = tuple[int, int, str]


class Redactor:
    """Replaces what must not leave by `<ip_1>`, `<host_2>`, `<email_1>`, `<mac_1>`, `<user_1>`, `<secret_1>`.

    The same value gets the same pseudonym for the life of the redactor, and over restarts through `state`. At most
    `max_values` are remembered; later ones get a pseudonym from a keyed hash (`<ip_x1f3a9c00>`), stable too, but never
    put back. Of a secret only a keyed hash is remembered. Safe to call from several threads; linear in the text.

    A value that stood behind the name of a secret once (`password=hunter2-xyz`) is replaced from then on where it
    stands bare too; see `SeenSecrets` for which, and for what that misses.

    Loopback addresses and accounts every system has (`root`, `postgres`) stay as they are. Names of Java classes and
    files are not taken for hosts. docs/redaction.md lists what is known and what is not.

    >>> redactor = Redactor()
    >>> redactor.mask("Failed password for invalid user carol from 203.0.113.9 port 22 token=s3cr3t-value")
    'Failed password for invalid user <user_1> from <ip_1> port 22 token=<secret_1>'
    >>> redactor.reveal("<user_1> at <ip_1> with <secret_1>")
    'carol at 203.0.113.9 with <secret_1>'
    """

    def __init__(self, *, max_values: int = 100_000, key: bytes | None = None) -> None:
        self._max_values = max_values
        self._key = key or entropy.token_bytes(16)
        self._lock = threading.Lock()
        self._number: dict[tuple[str, str | bytes], int] = {}
        self._values: dict[str, list[str | bytes]] = {kind: [] for kind in KINDS}
        self._seen = SeenSecrets(self._key)
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)

    def mask(self, text: str) -> str:
        """`text` with every secret, address, name it recognises replaced. Masking twice changes nothing more."""
        # A value that touched another shows only once that one is replaced: again until nothing is found.
        for _ in range(_MAX_PASSES):
            found = _spans(text)
            found += [(start, end, "secret") for start, end in self._seen.spans(text)]
            if all(kind == "kept" for _, _, kind in found):
                break
            text = _replaced(text, found, self._pseudonym)
        return text

    def sealed(self, text: str) -> str:
        """`text` with each secret as `<secret_x...>`, 64 bits of a keyed hash; nothing else changes, here neither.

        For what is written down: the same secret is the same over restarts, and no pseudonym is used up.
        """
        return _without(text, self._seal, self._seen)

    def sealed_ids(self, name: str, ids: list[str]) -> list[str]:
        """Values of a field, or of what a pattern finds: each sealed whole where a word of `name` names a secret.

        >>> Redactor(key=bytes(16)).sealed_ids("session_id", ["b1946ac9"]), Redactor().sealed_ids("order", ["17"])
        (['<secret_xd10ee1ab253acda2>'], ['17'])
        """
        if not any(map(is_secret_name, _IN_A_NAME.findall(name))):
            return ids
        return [self._seal(one) for one in ids]

    def _seal(self, value: str) -> str:
        return f"<secret_x{self._digest('secret', value)[:_SEALED_BYTES].hex()}>"

    def _digest(self, kind: str, value: str) -> bytes:
        raw = value.encode(errors="surrogatepass")
        return hashlib.blake2b(raw, key=self._key, digest_size=16, person=kind.encode()).digest()

    def mask_lines(self, texts: Sequence[str]) -> list[str]:
        """Each of the texts masked, as `mask` does, and what shows only in their order: the records of one incident.

        A private key that came one line a record is recognised, and what one of them names as a secret is replaced in
        those before it too.
        """
        blocks = block_spans(texts)
        masked = [
            self.mask(
                _replaced(text, [(start, end, "secret") for start, end in block], self._pseudonym) if block else text
            )
            for text, block in zip(texts, blocks, strict=True)
        ]
        return [self.mask(text) for text in masked]

    def reveal(self, text: str, kinds: Collection[str] = REVEALABLE) -> str:
        """Put back the values of these kinds. Secrets never come back, whatever `kinds` says."""

        def value(match: re.Match[str]) -> str:
            kind, number = match[1], match[2]
            if kind not in kinds or kind == "secret" or number.startswith("x"):
                return match[0]
            known = self._values[kind]
            place = int(number) - 1
            return str(known[place]) if 0 <= place < len(known) else match[0]

        return _PSEUDONYM.sub(value, text)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on with the same pseudonyms: msgpack-able, holds no secret."""
        with self._lock:
            return {
                "version": 1,
                "key": self._key,
                "values": {kind: list(known) for kind, known in self._values.items()},
                "seen": self._seen.state(),
            }

    @classmethod
    def from_state(cls, state: dict[str, Any], *, max_values: int = 100_000) -> Redactor:
        """The redactor `state` was taken of.

        Raises:
            StateError: the state is not one of ours.
        """
        try:
            if state["version"] != 1:
                raise StateError(f"redactor state: Expected version 1, got {state['version']!r}")
            redactor = cls(max_values=max_values, key=bytes(state["key"]))
            for kind in KINDS:
                for value in state["values"].get(kind, []):
                    known = bytes(value) if kind == "secret" else str(value)
                    redactor._values[kind].append(known)
                    redactor._number[kind, known] = len(redactor._values[kind])
            redactor._seen.restore(state.get("seen", []))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(
                f"redactor state: Expected version, key and values, got {type(error).__name__}: {error}"
            ) from None
        return redactor

    def _pseudonym(self, kind: str, value: str) -> str:
        digest = self._digest(kind, value)
        known: str | bytes = digest if kind == "secret" else value
        with self._lock:
            if kind == "secret":
                self._seen.add(value)
            self.counts[kind] += 1
            number = self._number.get((kind, known))
            if number is None:
                if len(self._number) >= self._max_values or (len(value) > _MAX_VALUE_CHARS and kind != "secret"):
                    return f"<{kind}_x{digest[:4].hex()}>"
                self._values[kind].append(known)
                number = self._number[kind, known] = len(self._values[kind])
        return f"<{kind}_{number}>"


def without_secrets(text: str, stand_in: str) -> str:
    """A line with each secret that shows in it as `stand_in`; a pure function.

    What is a secret only because it was named as one earlier is not known here: `Redactor.mask` knows it. Numbers of
    people stay where nothing else looks like a secret: no template keeps a number.
    Cost: 1 to 3 us for a line that `may_hold_secret` lets pass; else what finding secrets costs, 20 us.

    >>> without_secrets("login with password=monkey from 203.0.113.9", "*")
    'login with password=* from 203.0.113.9'
    """
    if not may_hold_secret(text):
        return text
    found = _without(text, lambda value: _HIDDEN)
    return text if found == text else found.replace(_HIDDEN, stand_in)


def _without(text: str, stand_in: Callable[[str], str], seen: SeenSecrets | None = None) -> str:
    for _ in range(_MAX_PASSES):
        found, _ = _secrets(text)
        if seen is not None:
            found += [(start, end, "secret") for start, end in seen.spans(text)]
        if all(kind == "kept" for _, _, kind in found):
            break
        text = _replaced(text, found, lambda kind, value: stand_in(value))
    return text


def _secrets(text: str) -> tuple[list[_Found], str]:
    """Secrets and pseudonyms; where two overlap the earlier in the list wins. And the text in small letters."""
    kept = [(match.start(), match.end(), "kept") for match in _PSEUDONYM.finditer(text)] if "<" in text else []
    # For hints only; a pseudonym's own word is none.
    lower = (_PSEUDONYM.sub("<>", text) if kept else text).lower()
    found = [(start, end, "secret") for start, end in secret_spans(text, lower)]
    if kept:
        # What is nothing but pseudonyms is masked already; one inside a secret goes with it.
        found = [each for each in found if _rest(text[each[0] : each[1]])] + kept
    return found, lower


def _spans(text: str) -> list[_Found]:
    """What to replace; where two overlap the earlier in the list wins: secrets before addresses."""
    found, lower = _secrets(text)
    found += [(start, end, "phone") for start, end in phone_spans(text)]
    found += name_spans(text, lower)
    return found


def _replaced(text: str, found: list[_Found], stand_in: Callable[[str, str], str]) -> str:
    """`text` with what was found as `stand_in` has it, of the kind and the value."""
    pieces = []
    at = 0
    for start, end, kind in _without_overlaps(found):
        pieces.append(text[at:start])
        pieces.append(text[start:end] if kind == "kept" else stand_in(kind, text[start:end]))
        at = end
    pieces.append(text[at:])
    return "".join(pieces)


def _rest(text: str) -> bool:
    return any(map(str.isalnum, _PSEUDONYM.sub("", text)))


def _without_overlaps(found: list[_Found]) -> list[_Found]:
    chosen: list[_Found] = []
    for start, end, kind in found:
        place = bisect.bisect(chosen, (start, end, kind))
        if place and chosen[place - 1][1] > start:
            continue
        if place < len(chosen) and chosen[place][0] < end:
            continue
        chosen.insert(place, (start, end, kind))
    return chosen
