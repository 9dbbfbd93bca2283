"""No secret in what is saved: planted in texts, fields and ids with every detector on, looked for piece by piece."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from logllm.audit.canary import canaries
from logllm.audit.traces import pieces_of, traces
from logllm.checkpoint import load, save
from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.values.config import ValuesConfig
from logllm.events import rfc3339
from logllm.pipeline import Pipeline
from logllm.sources.file import read_file
from tests.incidents.stream import START_NS

if TYPE_CHECKING:
    from pathlib import Path

    from logllm.audit.canary import Canary
    from logllm.events import IncidentEvent

MINUTES = 75
PIECE = 8
CONFIG = Config(
    detect=DetectConfig(
        alerts_per_day=100_000.0,
        sessions=SessionsConfig(key="session_id", idle_s=60),
        values=ValuesConfig(words=["token"]),
    )
)
PLANTED = [canary for canary in canaries(random.Random(5)) if canary.is_secret]
IDS = [f"{random.Random(number).getrandbits(96):024x}" for number in range(40)]


def line(second: float, message: str, **fields: object) -> str:
    record = {"time": rfc3339(START_NS + int(second * 1e9)), "message": message, **fields}
    return json.dumps(record) + "\n"


def calm(first: int, last: int) -> list[str]:
    """What is said in some minutes without a secret, some of it with a number or a name of its own."""
    found = []
    for second in range(first * 60, last * 60, 2):
        session = IDS[second // 60 % len(IDS)]
        text = f"GET /items/{second} took {second % 40} ms of {'abcde'[second % 5]} pool"
        found.append(line(second, text, level="info", service=f"svc-{second % 3}", session_id=session, took=second % 7))
    return found


def planted(second: int, *, errors: bool) -> list[str]:
    """Each kind as a program says it: as a message, as the value of a field, of several services."""
    found = []
    for number, canary in enumerate(PLANTED):
        level = "error" if errors else "info"
        more = {"session_id": f"{canary.parts[0][:40]}", "token": canary.parts[0]}
        found.append(line(second + number / 100, canary.line, level=level, service=f"svc-{number % 3}", **more))
        text = f"request failed: {canary.line}"
        found.append(line(second + number / 100, text, level=level, service=f"token={canary.parts[0]}"))
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "app.log"
    rows = [*calm(0, MINUTES), *planted(4 * 60, errors=False), *planted((MINUTES - 1) * 60 + 50, errors=True)]
    path.write_text("".join(sorted(rows)))
    return path


def fed(pipeline: Pipeline, path: Path) -> list[IncidentEvent]:
    return [event for chunk in read_file(path, wanted=CONFIG.detect.wanted) for event in pipeline.feed(chunk)]


def found_in(canary: Canary, pieces: list[bytes]) -> set[str]:
    """Of each part any eight characters in a row, and of the part without digits, as keys of known lines are made."""
    kept = set()
    for part in canary.parts:
        for text in (part, "".join(char for char in part if not char.isdigit())):
            slices = {text[at : at + PIECE] for at in range(max(1, len(text) - PIECE + 1))}
            kept |= {one for one in slices if len(one) == PIECE and any(one.encode() in piece for piece in pieces)}
    return kept


def test_nothing_of_a_secret_is_saved_and_what_is_restored_goes_on_as_before(log: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    fed(pipeline, log)
    path = tmp_path / "state.msgpack"

    save(path, pipeline.state())

    pieces = list(pieces_of(path))
    kept = {canary.kind: (traces(canary.parts, pieces), found_in(canary, pieces)) for canary in PLANTED}
    assert {kind: found for kind, found in kept.items() if found != ([], set())} == {}
    assert any(b"took" in piece for piece in pieces), "it is the file that templates are in"

    state = load(path)
    assert state is not None
    restored = Pipeline(CONFIG)
    restored.restore(state)
    (tmp_path / "more.log").write_text("".join(calm(MINUTES, MINUTES + 20)))
    told = [fed(each, tmp_path / "more.log") for each in (pipeline, restored)]

    assert [(e.event, e.title, e.seen, e.count) for e in told[1]] == [
        (e.event, e.title, e.seen, e.count) for e in told[0]
    ]
    assert restored.anomalies == pipeline.anomalies
    assert (len(restored.miner), restored.miner.size) == (len(pipeline.miner), pipeline.miner.size)
    assert restored.state()["miner"] == pipeline.state()["miner"]


def test_a_restored_pipeline_knows_the_lines_with_secrets_again(log: Path) -> None:
    pipeline, restored = Pipeline(CONFIG), Pipeline(CONFIG)
    fed(pipeline, log)
    restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(pipeline.state())))

    again = [canary.line for canary in PLANTED]

    assert restored.miner.ids(again).tolist() == pipeline.miner.ids(again).tolist()
    assert restored.miner.size == pipeline.miner.size
