"""The sample logs are what their scripts make, and logllm finds in each what its `incidents.json` asks for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
NAMES = ("disk", "kubernetes", "quiet")
DOCUMENTATION = re.compile(r"192\.0\.2\.\d+|198\.51\.100\.\d+")
TAIL = "from logllm.cli.main import main; main()"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One incident of an `incidents.json`."""

    kind: str
    service: str
    about: str
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    runbook: str | None
    severity: str | None = None
    optional: bool = False


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of an `incidents.json`."""

    max_incidents: int
    incidents: list[Entry]


class Line(msgspec.Struct, frozen=True):
    """The keys of the `--json` contract that the tests read."""

    type: str
    id: str = ""
    event: str = ""
    time: str = ""
    severity: str = ""
    service: str = ""
    kinds: list[str] = []
    title: str = ""
    seen: str = ""
    template: str = ""
    runbook: str | None = None
    evidence: list[dict[str, str | int | None]] = []
    started: str = ""
    services: list[str] = []
    incidents: int = -1


@dataclass(frozen=True)
class Found:
    """All events of one incident."""

    events: list[Line]

    @property
    def text(self) -> str:
        parts = [text for event in self.events for text in (event.title, event.template, event.seen)]
        parts += [str(row["text"]) for event in self.events for row in event.evidence]
        return "\n".join(parts)

    def meets(self, entry: Entry) -> bool:
        kinds = {kind for event in self.events for kind in event.kinds}
        services = {name for event in self.events for name in (event.service, *event.services)}
        begins = min(_time(event.started or event.time) for event in self.events)
        ends = max(_time(event.time) for event in self.events if event.event != "resolve")
        return (
            any(re.fullmatch(entry.kind, kind) for kind in kinds)
            and any(re.fullmatch(entry.service, service) for service in services)
            and re.search(entry.about, self.text) is not None
            and begins <= _time(entry.end)
            and ends >= _time(entry.start)
            and (entry.severity is None or self.events[-1].severity == entry.severity)
        )

    @property
    def runbooks(self) -> set[str | None]:
        return {event.runbook for event in self.events}

    def __str__(self) -> str:
        last = self.events[-1]
        return f"{last.started or last.time} {last.severity} {last.service} {last.kinds} {last.runbook}: {last.title}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _expected(name: str) -> Expectation:
    return msgspec.json.decode((SAMPLES / f"{name}.incidents.json").read_bytes(), type=Expectation)


@pytest.fixture(scope="module", params=NAMES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The name of a sample and what `logllm tail --once --json --no-llm` writes about it."""
    name: str = request.param
    home = str(tmp_path_factory.mktemp(name))
    env = os.environ | {"PYTHONPATH": str(ROOT / "pipeline"), "HOME": home, "XDG_STATE_HOME": home, "NO_COLOR": "1"}
    command = [sys.executable, "-c", TAIL, "tail", "--once", "--json", "--no-llm", str(SAMPLES / f"{name}.log")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env, cwd=home)

    assert done.returncode == 0, done.stderr[-2000:]
    return name, done.stdout


def _incidents(output: str) -> list[Found]:
    by_id: dict[str, list[Line]] = {}
    for text in output.splitlines():
        if msgspec.json.decode(text)["type"] == "incident":
            line = msgspec.json.decode(text, type=Line)
            by_id.setdefault(line.id, []).append(line)
    return [Found(events) for events in by_id.values()]


def test_the_committed_files_are_byte_for_byte_what_the_scripts_make(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "samples.make_samples", str(tmp_path)]

    subprocess.run(
        command, check=True, capture_output=True, timeout=60, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "7"}
    )

    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(f"{name}.{end}" for name in NAMES for end in ("incidents.json", "log"))
    for name in made:
        assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes(), name


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_of_a_useful_size_and_holds_only_addresses_kept_for_documentation(name: str) -> None:
    text = (SAMPLES / f"{name}.log").read_text()

    addresses = set(re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", text))

    assert len(text.encode()) < 1_600_000
    assert 5_000 < text.count("\n") < 10_000
    assert [address for address in addresses if not DOCUMENTATION.fullmatch(address)] == []


def test_every_line_of_the_kubernetes_sample_is_json_as_fluent_bit_writes_it_and_in_time_order() -> None:
    records = [json.loads(line) for line in (SAMPLES / "kubernetes.log").read_text().splitlines()]

    times = [_time(record["time"]) for record in records]

    assert times == sorted(times)
    assert {frozenset(record) for record in records} == {frozenset({"time", "stream", "level", "log", "kubernetes"})}
    assert any("\n" in record["log"] for record in records)


@pytest.mark.parametrize("name", NAMES)
def test_what_must_be_found_really_stands_in_the_log_within_its_time(name: str) -> None:
    lines = (SAMPLES / f"{name}.log").read_text().splitlines()

    for entry in _expected(name).incidents:
        stretch = [line for line in lines if entry.start[:16] <= _stamp(line) <= entry.end[:16]]
        if entry.kind == "silence":
            assert not any(re.search(entry.about, line) for line in stretch), entry
            assert any(re.search(entry.about, line) for line in lines), entry
        else:
            assert any(re.search(entry.about, line) for line in stretch), entry


@pytest.mark.parametrize("name", NAMES)
def test_every_runbook_a_sample_asks_for_is_in_the_catalogue(name: str) -> None:
    catalogue = {path.stem for path in (ROOT / "pipeline/logllm/explain/runbooks/catalogue").glob("*.md")}

    asked = {entry.runbook for entry in _expected(name).incidents if entry.runbook is not None}

    assert asked <= catalogue


def test_every_incident_asked_for_is_found_with_its_runbook(run: tuple[str, str]) -> None:
    name, output = run
    expected = _expected(name)

    found = _incidents(output)

    story = "\n".join(str(incident) for incident in found)
    for entry in expected.incidents:
        if entry.optional:
            continue
        matching = [incident for incident in found if incident.meets(entry)]
        assert matching, f"missing: {entry}\nfound:\n{story}"
        if entry.runbook is not None:
            assert any(entry.runbook in incident.runbooks for incident in matching), f"{entry}\nfound:\n{story}"


def test_no_more_incidents_are_opened_than_the_sample_allows(run: tuple[str, str]) -> None:
    name, output = run
    expected = _expected(name)

    found = _incidents(output)

    story = "\n".join(str(incident) for incident in found)
    assert len(found) <= expected.max_incidents, story
    if all(entry.optional for entry in expected.incidents):
        strangers = [incident for incident in found if not any(incident.meets(entry) for entry in expected.incidents)]
        assert strangers == [], story


def test_the_summary_counts_every_line_of_the_sample(run: tuple[str, str]) -> None:
    name, output = run
    lines = (SAMPLES / f"{name}.log").read_text().count("\n")

    summary = json.loads(output.splitlines()[-1])

    assert summary["type"] == "summary"
    assert summary["lines"] == lines
    assert summary["incidents"] == len(_incidents(output))


def test_the_invented_password_and_token_are_in_the_log_and_in_nothing_logllm_prints(run: tuple[str, str]) -> None:
    name, output = run
    secrets = ("fake-Pa55word-for-tests", "fake-token-0123456789abcdef")
    text = (SAMPLES / f"{name}.log").read_text()

    assert [text.count(secret) for secret in secrets] == ([1, 1] if name == "kubernetes" else [0, 0])
    assert not any(secret in output for secret in secrets)


def _stamp(line: str) -> str:
    match = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d", line[:40])
    return match.group() if match else ""
