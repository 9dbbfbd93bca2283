from __future__ import annotations

import base64
import json
import random
import sqlite3
import string
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.audit.canary import Canary, canaries
from logllm.audit.capture import Capture
from logllm.audit.entry import packed
from logllm.audit.traces import forms, pieces_of, traces

SECRET = 'p4/ss+w0rd "of" é~x'


@given(
    before=st.binary(max_size=7), after=st.binary(max_size=7), value=st.text(st.characters(codec="utf-8"), min_size=3)
)
def test_a_value_is_found_in_base64_wherever_it_begins(before: bytes, after: bytes, value: str) -> None:
    whole = before + value.encode() + after

    for place in (base64.b64encode(whole), base64.urlsafe_b64encode(whole)):
        assert traces((value,), [place])


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (SECRET.encode(), "raw"),
        (SECRET.encode().hex().encode(), "hex"),
        (SECRET.encode().hex().upper().encode(), "hex, capitals"),
        (quote(SECRET, safe="").encode(), "percent"),
        (quote(SECRET, safe="").replace("%20", "+").encode(), "percent, plus"),
        (json.dumps(SECRET).encode(), "escaped"),
        (json.dumps(json.dumps(SECRET)).encode(), "escaped twice"),
    ],
)
def test_a_value_is_found_however_it_is_written(written: bytes, form: str) -> None:
    assert form in traces((SECRET,), [b"nothing", b"before " + written + b" after"])


def test_a_part_of_a_long_value_is_found_and_another_value_is_not() -> None:
    value = "abcdefghijklmnopqrstuvwxyz0123456789"

    assert traces((value,), [b"key=" + value[:20].encode()]) == ["its beginning"]
    assert traces((value,), [value[-20:].encode()]) == ["its end"]
    assert traces((value,), [value[:8].encode(), b""]) == []
    assert next(iter(forms("abc"))) == "raw"


def test_a_database_and_what_is_compressed_in_it_are_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    long = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))
    db = sqlite3.connect(path)
    db.execute('CREATE TABLE "a ""b" (one, two)')
    db.execute('INSERT INTO "a ""b" VALUES (?, ?)', (packed(SECRET.encode()), long))
    db.commit()
    db.close()
    (tmp_path / "x.zst").write_bytes(packed(SECRET.encode() * 3))
    (tmp_path / "broken.zst").write_bytes(packed(SECRET.encode())[:9])
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\x00 and no more")

    assert traces((SECRET,), list(pieces_of(path))) == ["raw"]
    # On the pages of the file it lies in pieces.
    assert long.encode() not in path.read_bytes()
    assert any(long.encode() in piece for piece in pieces_of(path))
    assert traces((SECRET,), list(pieces_of(tmp_path / "x.zst"))) == ["raw"]
    assert traces((SECRET,), [*pieces_of(tmp_path / "broken.zst"), *pieces_of(tmp_path / "broken.db")]) == []


def test_no_two_runs_plant_the_same_and_each_kind_has_a_mark_of_its_own() -> None:
    one, other = canaries(random.Random(1)), canaries(random.Random(2))

    assert sum(canary.is_secret for canary in one) >= 40
    assert len({canary.kind for canary in one}) == len({canary.mark for canary in one}) == len(one)
    for here, there in zip(one, other, strict=True):
        assert isinstance(here, Canary)
        assert here.kind == there.kind
        assert not set(here.parts) & set(there.parts)
        assert here.parts
        assert here.mark in here.line
        assert all(part in here.line and len(part) >= 6 for part in here.parts)
        assert "{" not in here.line.replace('{"', "")
        assert "|" not in here.line


def test_what_is_sent_to_a_capture_is_kept_by_where_it_went_and_answered_so() -> None:
    with Capture() as capture:
        for place, body in (("slack/services/x", b"a"), ("api/chat.postMessage", b"b"), ("model/v1/chat", b"c")):
            answer = httpx.post(capture.url(place), content=body, headers={"X-Secret": "h"}, trust_env=False)
            assert answer.status_code == 200

    assert capture.bodies == {"slack": [b"a"], "api": [b"b"], "model": [b"c"]}
    assert b"POST /slack/services/x" in capture.heads["slack"][0]
    assert b"x-secret: h" in capture.heads["slack"][0].lower()
