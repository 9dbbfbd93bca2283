"""Each check against the program as it is, and against programs that break their word."""

from __future__ import annotations

import ast
import importlib.util
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

from logllm.guarantees.place import Place
from logllm.guarantees.promise import Promise
from logllm.guarantees.registry import PROMISES
from logllm.guarantees.verdict import Unchecked, Verdict
from logllm.guarantees.verify import verify
from tests.guarantees import standins

ROOT = Path(__file__).parents[2]
BY_ID = {promise.id: promise for promise in PROMISES}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    folder.chmod(0o700)
    return folder


def verdict_on(name: str, folder: Path, mode: str, patience_s: float = 2.0) -> Verdict:
    """What the check of a promise says of a stand-in."""
    program = (sys.executable, standins.__file__, mode)
    (verdict,) = verify([BY_ID[name]], lambda: Place(folder, program=program, patience_s=patience_s))
    return verdict


@pytest.mark.parametrize("name", BY_ID)
def test_the_promise_holds_of_the_program_as_it_is(name: str, tmp_path: Path, cache: Path) -> None:
    (verdict,) = verify([BY_ID[name]], lambda: Place(tmp_path, cache=cache, patience_s=30.0))

    if verdict.status == "unchecked":
        pytest.skip(verdict.seen)
    assert verdict.status == "holds", verdict.seen
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("acked-is-durable", "was acknowledged and is not in the file after kill -9"),
        ("lost-ack", "a chunk was not stored within 2 s"),
        ("look-alikes", "5 of 15 records are not stored"),
        ("sink-down", "an ack came for 'chunk-0' before its records could be stored"),
        ("disk-full", "10 of 10 records are not stored"),
        ("poison", "3 of 3 records are not stored"),
        ("garbage", "records are not stored"),
        ("shared-key", "a sender without a PING was not sent away"),
        ("bounded-memory", "MiB were taken in while the sink took nothing"),
        ("reload", "/metrics does not answer"),
        ("drain", "sent before SIGTERM were not acknowledged"),
        ("plugin-failure", "/plugins does not say how the plugins do"),
        ("without-model", "no incident was told within 2 s"),
        ("named-destinations", "as a destination, which no configuration names"),
        ("alerts-arrive", "no incident was told within 2 s"),
        ("slack-text", "no incident was told within 2 s"),
        ("nothing-runs", "no incident was told within 2 s"),
        ("cited-is-kept", "no incident was told within 2 s"),
        ("terminal", "of a log line came out on a pipe"),
        ("secrets", "an AWS key of a log line stands in the events"),
    ],
)
def test_a_program_that_acknowledges_and_does_nothing_else_is_found_out(name: str, told: str, tmp_path: Path) -> None:
    verdict = verdict_on(name, tmp_path, "liar")

    assert (verdict.status, told in verdict.seen) == ("broken", True), verdict


@pytest.mark.parametrize(
    ("mode", "name", "told"),
    [
        ("hasty", "acked-is-durable", "was acknowledged and is not in the file after kill -9"),
        ("once", "acked-is-durable", "logllm serve does not start: logllm: there is something already"),
        ("forgetful", "lost-ack", "40 records are stored, expected 20"),
        ("set", "look-alikes", "5 records are stored, expected 15"),
        ("caller", "alerts-arrive", "2 of 3 incidents were kept and never arrived"),
        ("caller", "slack-text", "'<!channel>' of a log line stands in a message"),
        ("runner", "cited-is-kept", "1 of 1 lines that incidents cite did not go on"),
        ("runner", "nothing-runs", "a program ran that a log line or the model asked for"),
    ],
)
def test_a_fault_that_is_more_subtle_is_found_too(mode: str, name: str, told: str, tmp_path: Path) -> None:
    verdict = verdict_on(name, tmp_path, mode, patience_s=5.0)

    assert (verdict.status, told in verdict.seen) == ("broken", True), verdict


def test_a_program_that_breaks_one_promise_is_not_accused_of_another(tmp_path: Path) -> None:
    verdict = verdict_on("look-alikes", tmp_path, "forgetful")

    assert verdict.status == "holds", verdict.seen


def test_a_program_that_calls_an_address_beyond_loopback_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as called:  # noqa: S104 - this machine's address in the network
        address = f"{_address_beyond_loopback()}:{called.getsockname()[1]}"
        monkeypatch.setenv("STANDIN_CALLS", address)

        verdict = verdict_on("nothing-leaves", tmp_path, "talker", patience_s=10.0)

    assert verdict.status == "broken", verdict.seen
    assert f"it has a socket to {address.replace(':', ' port ')}" in verdict.seen


def _address_beyond_loopback() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # of UDP, this sends nothing
        except OSError:
            pytest.skip("this machine has no address beyond loopback")
        return str(sock.getsockname()[0])


@pytest.mark.parametrize("name", BY_ID)
def test_of_a_program_that_does_not_start_nothing_is_said(name: str, tmp_path: Path) -> None:
    verdict = verdict_on(name, tmp_path, "dead")

    assert verdict.status == "unchecked"
    assert "not today" in verdict.seen


def test_a_place_leaves_no_process_and_no_folder_whatever_happens_in_it(tmp_path: Path) -> None:
    pids: list[int] = []

    def gives_up(place: Place) -> str:
        pids.append(place.serve().pid)
        raise Unchecked("for a reason")

    promise = Promise(id="one", sentence="One.", tests=(), check=gives_up)
    program = (sys.executable, standins.__file__, "liar")
    (verdict,) = verify([promise], lambda: Place(tmp_path, program=program))

    assert (verdict.status, verdict.seen) == ("unchecked", "for a reason")
    assert not Path(f"/proc/{pids[0]}").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_bug_in_a_check_is_shown(tmp_path: Path) -> None:
    def wrong(_: Place) -> str:
        raise ZeroDivisionError

    promise = Promise(id="one", sentence="One.", tests=(), check=wrong)

    with pytest.raises(ZeroDivisionError):
        list(verify([promise], lambda: Place(tmp_path)))


def test_every_test_that_the_promises_name_exists() -> None:
    named = sorted({test for promise in PROMISES for test in promise.tests})

    missing = []
    for test in named:
        path, _, name = test.partition("::")
        file = ROOT / path
        tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
        if name not in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}:
            missing.append(test)

    assert len(named) > len(PROMISES)
    assert missing == []


def test_promises_are_sentences_with_names_of_their_own_and_tests() -> None:
    assert len(BY_ID) == len(PROMISES)
    for promise in PROMISES:
        assert promise.tests, promise.id
        for text in filter(None, (promise.sentence, promise.limits, promise.short)):
            assert text[0].isupper() or text.startswith("logllm"), text
            assert text.endswith("."), text


def test_the_page_is_what_the_registry_says() -> None:
    tool = tools_guarantees()

    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(PROMISES), "run `python tools/guarantees.py`"


def tools_guarantees() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_guarantees", ROOT / "tools" / "guarantees.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
