"""Signed links: what was signed opens, nothing else does."""

from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ProtocolError, StateError
from logllm.wire.signed import MAX_TOKEN_CHARS, SECRET_BYTES, Signer, secret_at

NOW_S = 1_700_000_000.0
EXPIRES_S = 1_700_003_600
SECRET = bytes(range(32))
SIGNER = Signer(SECRET)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(subject=TEXT, verb=TEXT.filter(bool), expires_s=st.integers(1_700_000_001, 2**63 - 1))
def test_what_was_signed_opens_until_it_expires(subject: str, verb: str, expires_s: int) -> None:
    token = SIGNER.sign(subject, verb, expires_s)

    assert SIGNER.open(token, NOW_S) == (subject, verb)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(token) <= MAX_TOKEN_CHARS


@pytest.mark.parametrize("now_s", [float(EXPIRES_S), EXPIRES_S + 0.5, 1e18, float("inf"), float("nan")])
def test_an_expired_link_is_refused(now_s: float) -> None:
    token = SIGNER.sign("inc-1", "acknowledge", EXPIRES_S)

    with pytest.raises(ProtocolError, match="expired"):
        SIGNER.open(token, now_s)


def test_no_changed_bit_opens() -> None:
    whole = base64.urlsafe_b64decode(SIGNER.sign("inc-1", "acknowledge", EXPIRES_S) + "==")

    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            SIGNER.open(base64.urlsafe_b64encode(changed).rstrip(b"=").decode(), NOW_S)


def test_no_part_and_no_extension_of_a_link_opens() -> None:
    token = SIGNER.sign("inc-1", "acknowledge", EXPIRES_S)

    for wrong in [*(token[:end] for end in range(len(token))), *(token + more for more in ("A", "=", "==", "AAAA"))]:
        with pytest.raises(ProtocolError):
            SIGNER.open(wrong, NOW_S)


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    subject = next(s for s in ("a", "ab", "abc") if len(SIGNER.sign(s, "v", EXPIRES_S)) % 4 == 2)
    token = SIGNER.sign(subject, "v", EXPIRES_S)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]

    assert base64.urlsafe_b64decode(twin + "==") == base64.urlsafe_b64decode(token + "==")
    with pytest.raises(ProtocolError):
        SIGNER.open(twin, NOW_S)
    for stray in (token[:4] + "\n" + token[4:], f" {token}", token[:4] + "%" + token[4:], token[:4] + "é" + token[4:]):
        with pytest.raises(ProtocolError):
            SIGNER.open(stray, NOW_S)


def test_verb_and_subject_cannot_be_cut_elsewhere() -> None:
    tokens = {SIGNER.sign("bc", "a", EXPIRES_S), SIGNER.sign("c", "ab", EXPIRES_S), SIGNER.sign("", "abc", EXPIRES_S)}

    assert len(tokens) == 3
    assert {SIGNER.open(token, NOW_S) for token in tokens} == {("bc", "a"), ("c", "ab"), ("", "abc")}


def test_a_link_of_another_secret_is_refused() -> None:
    token = Signer(b"x" * 32).sign("inc-1", "acknowledge", EXPIRES_S)

    with pytest.raises(ProtocolError, match="not signed here"):
        SIGNER.open(token, NOW_S)


@given(st.text(max_size=200))
def test_no_text_opens(text: str) -> None:
    with pytest.raises(ProtocolError):
        SIGNER.open(text, NOW_S)


@given(st.binary(min_size=1, max_size=200))
def test_no_bytes_in_base64_open(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        SIGNER.open(base64.urlsafe_b64encode(data).rstrip(b"=").decode(), NOW_S)


@pytest.mark.parametrize("token", ["", "A", "-" * 80, "A" * 10_000_000, "\0" * 64, "\ud800" * 40, "=" * 40])
def test_odd_tokens_are_refused_and_told_of_in_few_words(token: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        SIGNER.open(token, NOW_S)

    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("subject", "verb", "expires_s"),
    [
        ("s" * 257, "v", 1),
        ("s", "v" * 129, 1),
        ("s", "", 1),
        ("\ud800", "v", 1),
        ("s", "v", -1),
        ("s", "v", 2**63),
    ],
)
def test_what_cannot_be_read_again_is_not_signed(subject: str, verb: str, expires_s: int) -> None:
    with pytest.raises(ProtocolError):
        SIGNER.sign(subject, verb, expires_s)


def test_nothing_of_the_secret_is_shown() -> None:
    assert repr(SIGNER) == "Signer(...)"
    with pytest.raises(ValueError, match="at least 32 bytes") as refused:
        Signer(b"hunter2")
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "links.key"

    first, second = secret_at(path), secret_at(path)

    assert first == second
    assert len(first) == SECRET_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["links.key"]
    assert secret_at(tmp_path / "other.key") != first


def test_makers_at_the_same_moment_get_the_same_secret(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    found: list[bytes] = []

    def make() -> None:
        start.wait(10)
        found.append(secret_at(tmp_path / "links.key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(found) == 8
    assert len(set(found)) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["links.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "links.key"
    secret_at(path)
    path.chmod(mode)

    with pytest.raises(StateError, match="expected mode 600"):
        secret_at(path)


def test_what_is_no_such_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    short, folder, link, pipe = (tmp_path / name for name in ("short", "folder", "link", "pipe"))
    short.write_bytes(b"x" * 31)
    short.chmod(0o600)
    folder.mkdir()
    secret_at(tmp_path / "real")
    link.symlink_to(tmp_path / "real")
    os.mkfifo(pipe, 0o600)

    for path in (short, folder, link, pipe, short / "below"):
        with pytest.raises(StateError, match=str(path)):
            secret_at(path)

    assert short.read_bytes() == b"x" * 31
