"""The held-out incidents: a set whose form can be trusted before anything is measured on it."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from pathlib import Path

import msgspec

from logllm.evaluation.llm import CASES
from logllm.explain.runbooks.file import read_folders

HERE = Path(__file__).parent
IDS = {runbook.id for runbook in read_folders()}
MAX_TEXT_BYTES = 1_000
MAX_LINES = 6
# Private, loopback and "any", and the three networks kept for documentation (RFC 5737): nobody's addresses.
NOBODYS = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "127.0.0.0/8", "0.0.0.0/32", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
]


class Incident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    runbook: str | None
    also: tuple[str, ...] = ()


def read(path: Path) -> list[Incident]:
    return [msgspec.json.decode(line, type=Incident) for line in path.read_bytes().splitlines()]


def without_numbers(text: str) -> str:
    """What stays the same when an excerpt is copied and only its numbers, case and spaces are changed."""
    return " ".join(re.sub(r"\d+", "0", text.lower()).split())


INCIDENTS = read(CASES)


def test_there_are_enough_incidents_with_a_runbook_and_enough_without() -> None:
    with_runbook = sum(incident.runbook is not None for incident in INCIDENTS)

    assert with_runbook >= 150
    assert len(INCIDENTS) - with_runbook >= 50


def test_every_runbook_of_the_catalogue_has_at_least_two_incidents() -> None:
    counts = Counter(incident.runbook for incident in INCIDENTS)

    assert {runbook for runbook in IDS if counts[runbook] < 2} == set()


def test_every_runbook_named_is_in_the_catalogue() -> None:
    named = {incident.runbook for incident in INCIDENTS if incident.runbook is not None}
    also_named = {runbook for incident in INCIDENTS for runbook in incident.also}

    assert (named | also_named) - IDS == set()


def test_a_second_right_answer_is_another_one_and_stands_beside_a_first() -> None:
    wrong = [
        incident
        for incident in INCIDENTS
        if incident.also and (incident.runbook is None or len({incident.runbook, *incident.also}) <= len(incident.also))
    ]

    assert wrong == []


def test_no_two_incidents_differ_only_in_their_numbers() -> None:
    counts = Counter(without_numbers(incident.text) for incident in INCIDENTS)

    assert [text for text, count in counts.items() if count > 1] == []


def test_no_incident_is_in_the_set_that_is_tuned_on() -> None:
    tuned_on = {without_numbers(incident.text) for incident in read(HERE / "labelled.jsonl")}

    assert [incident.text for incident in INCIDENTS if without_numbers(incident.text) in tuned_on] == []


def test_every_text_is_a_few_short_lines_of_ascii_and_none_is_empty() -> None:
    wrong = [
        incident.text
        for incident in INCIDENTS
        if not incident.text.isascii()
        or len(incident.text) > MAX_TEXT_BYTES
        or len(incident.text.split("\n")) > MAX_LINES
        or not all(line.strip() for line in incident.text.split("\n"))
    ]

    assert wrong == []


def test_every_address_belongs_to_nobody() -> None:
    written = {
        found for incident in INCIDENTS for found in re.findall(r"(?<![\d.])(?:\d+\.){3}\d+(?![\d.])", incident.text)
    }
    addresses = {ipaddress.ip_address(text) for text in written}

    assert addresses
    assert [str(address) for address in addresses if not any(address in network for network in NOBODYS)] == []
