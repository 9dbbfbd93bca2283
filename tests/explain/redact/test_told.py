"""What a pipeline tells of records with secrets in them, wherever it takes its words from."""

from __future__ import annotations

import random

import msgspec
import pytest

from logllm.events import IncidentEvent
from logllm.incidents.recent import MAX_TEXT
from tests.incidents.stream import Record, chunks, eventful, pipeline

PASSWORD = "Thunder" + "coffee" + "garden"
TOKEN = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
KEY = "AK" + "IA" + "IOSFODNN7EXAMPLE"
BASE = 1.6 * 3600


def _planted() -> list[Record]:
    """Trouble, each record of which holds something: in a varying place, behind a title's end, where a text is cut."""
    source = random.Random(7)
    long_words = (
        "while the nightly reconciliation of the warehouse with the bookkeeping was still running for all of it"
    )
    filler = "x" * 40 + " "
    rows = []
    for number in range(60):
        at = BASE + number
        rows.append(
            Record(at, "shop", f"login of caroline refused, password={PASSWORD} try {source.randrange(99)}", 17)
        )
        rows.append(Record(at, "shop", f"sync failed {long_words} with {TOKEN}", 17))
        text = (filler * 30)[: MAX_TEXT - 20]
        rows.append(Record(at, "db", f"dump: {text} {KEY} and more of it {source.randrange(99)}", 17))
    # A few a minute all the time, of all sorts; then many, two thirds of them of one user.
    for second in [*range(0, 9_000, 30), *(4_500 + number / 5 for number in range(1_500))]:
        who = "caroline" if 4_500 < second < 4_800 and source.random() < 0.7 else f"guest{source.randrange(10**6)}"
        where = f"203.0.113.{source.randrange(2)} port {source.randrange(60_000)}"
        rows.append(Record(second, "shop", f"Failed password for {who} from {where} ssh2", 13))
    return rows


@pytest.fixture(scope="module")
def events() -> list[IncidentEvent]:
    records = sorted([*eventful(), *_planted()], key=lambda row: row.second)
    made = pipeline()
    found = [event for chunk in chunks(records, range(0, len(records), 400)) for event in made.feed(chunk)]
    return [*found, *made.finish()]


def test_no_part_of_a_secret_is_in_anything_that_is_told(events: list[IncidentEvent]) -> None:
    told = msgspec.json.encode(events).decode()
    assert any("password=<secret_" in item.text for event in events for item in event.evidence)
    for secret in (PASSWORD, TOKEN, KEY):
        assert [secret[at : at + 6] for at in range(len(secret) - 5) if secret[at : at + 6] in told] == []


def test_a_fact_shows_a_name_and_an_address_as_its_line_does(events: list[IncidentEvent]) -> None:
    told = msgspec.json.encode(events).decode()
    assert "203.0.113" not in told
    assert "for caroline" not in told
    assert any(fact.startswith(("<ip_", "<user_")) for event in events for fact in event.facts)
