"""`logllm chat`: over a pipe, in a terminal, beside a running service, as a page."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logllm.audit.ledger import FILE
from logllm.cli.chat_source import open_chat, read_log
from logllm.cli.main import main
from logllm.config import Config
from logllm.incidents.store import IncidentStore
from tests.explain.chat.sample import kept
from tests.explain.fakes import ChatServer

ROOT = Path(__file__).parents[2]
LOG = ROOT / "samples" / "kubernetes.log"
DISK = "inc-78b93de17d"
GATEWAY = "the gateway answers 503"
MOST_READS = 400
# Its keys send signals only where it is the controlling terminal; whoever started the tests may ignore Ctrl-C.
OWN_TERMINAL = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["logllm", "chat", *sys.argv[1:]]
from logllm.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as `tail` leaves it."""
    made = tmp_path_factory.mktemp("data")
    read_log((str(LOG),), made, Config())
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A data folder with the sample incidents and nothing else."""
    kept_here = IncidentStore(tmp_path / "logllm.db")
    for event, explanation in kept():
        kept_here.put(event)
        if explanation is not None:
            kept_here.explain(explanation)
    kept_here.close()
    return tmp_path


def chat(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["chat", *arguments], input=typed)


def test_a_question_on_a_pipe_is_answered_in_plain_text_with_citations(store: Path) -> None:
    done = chat("--no-llm", "--data-dir", str(store), DISK[:8], typed="why?\n")

    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert done.output.startswith("Matches runbook disk-full")
    assert "[E1] [E2]" in done.output
    assert ">" not in done.output.splitlines()[0].split("“")[0]


def test_each_line_of_a_pipe_is_a_question_and_the_incident_can_be_changed(store: Path) -> None:
    done = chat(
        "--no-llm", "--data-dir", str(store), typed=f"list\n\nopen inc-5c11\nwhich addresses?\n{'x' * 100_000}\n"
    )

    assert done.exit_code == 0
    assert "inc-78b93de17d: critical, postgres" in done.output
    assert "Addresses in the evidence: <ip_1>" in done.output
    assert done.output.count("I do not know") == 1


def test_a_log_file_alone_is_enough() -> None:
    done = chat("--no-llm", "--log", str(LOG), typed=f"why do the charges in payments fail?\n{GATEWAY}\n")

    assert done.exit_code == 0
    assert "db-pool-exhausted" in done.output
    assert "[E1]" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name a folder with --data-dir, or a file with --log"),
        (("--data-dir", "/nowhere"), 1, "no incidents were kept here"),
        (("--log", "/nowhere/app.log"), 1, "/nowhere/app.log"),
        (("--log", str(LOG), "--no-open"), 2, "give --web too"),
        (("--log", str(LOG), "--no-llm", "--model", "x"), 2, "give one of them"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = chat(*arguments)

    assert (done.exit_code == 0) is (code == 0)
    assert said in done.output
    assert "Traceback" not in done.output
    assert not Path("/nowhere").exists()


def test_an_incident_that_is_not_there_is_told(store: Path) -> None:
    done = chat("--no-llm", "--data-dir", str(store), "inc-")

    assert done.exit_code != 0
    assert "no such incident, or more than one begins with it" in done.output


def test_addresses_come_back_only_when_asked_for_and_secrets_never(folder: Path) -> None:
    question = "show lines about upstream payments\n"
    masked = chat("--no-llm", "--data-dir", str(folder), "inc-86d4282033", typed=question).output
    shown = chat("--no-llm", "--data-dir", str(folder), "inc-86d4282033", "--reveal", typed=question).output

    address = re.compile(r"\(\d+\.\d+\.\d+\.\d+:8080\)")
    assert "<ip_1>:8080" in masked
    assert not address.search(masked)
    assert address.search(shown)
    assert "hunter2" not in shown


def test_it_reads_beside_a_service_that_holds_the_folder_and_changes_nothing(folder: Path) -> None:
    state = (folder / "state.msgpack").read_bytes()
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        done = chat("--no-llm", "--data-dir", str(folder), typed="list\n")
    finally:
        os.close(held)

    assert done.exit_code == 0
    assert "inc-86d4282033" in done.output
    assert (folder / "state.msgpack").read_bytes() == state


def test_what_a_user_types_gets_no_pseudonym_that_a_service_may_give_to_another(folder: Path) -> None:
    with open_chat(folder, Config(), None) as (_, redactor):
        assert re.fullmatch(r"from <ip_x[0-9a-f]{8}>", redactor.mask("from 203.0.113.250"))


def test_a_damaged_state_costs_the_names_alone(store: Path) -> None:
    (store / "state.msgpack").write_bytes(b"not a state")

    done = chat("--no-llm", "--data-dir", str(store), DISK, typed="why?\n")

    assert done.exit_code == 0
    assert (store / "state.msgpack").read_bytes() == b"not a state"


def test_earlier_incidents_like_it_are_known_with_what_helped(store: Path) -> None:
    from msgspec.structs import replace

    event = next(event for event, _ in kept() if event.id == DISK)
    older = IncidentStore(store / "logllm.db")
    older.put(replace(event, id="inc-00aa00aa00", started="2026-01-02T03:04:00.000Z"))
    older.solve("inc-00aa00aa00", "the export was moved to another disk")
    older.close()

    done = chat("--no-llm", "--data-dir", str(store), DISK, typed="has this been seen before?\n")

    assert "Seen before: inc-00aa00aa00 at 2026-01-02 03:04Z" in done.output
    assert "what helped: the export was moved to another disk. [P1]" in done.output


def test_a_model_behind_a_url_adds_what_stands_and_what_it_was_sent_is_written_down(store: Path) -> None:
    true = "The checkpoint request failed after no space was left on the device."
    with ChatServer(f"{true} Aliens did it.") as server:
        asked = ["--data-dir", str(store), "--model", f"{server.url}/v1#tiny", DISK]
        done = chat(*asked, typed="is the checkpoint affected?\n")
        requests = len(server.requests)

    assert "the model's words:" in done.output
    assert true in done.output
    assert "Aliens" not in done.output
    assert "1 sentence of the model was not shown" in done.output
    assert "tiny, " in done.output
    assert requests == 1
    assert (store / FILE).is_file()


def test_a_model_on_another_machine_needs_leave(store: Path) -> None:
    done = chat("--data-dir", str(store), "--model", "http://models.example.com/v1", DISK, typed="why?\n")

    assert done.exit_code != 0
    assert "models.example.com is not this machine" in done.output


class Screen:
    """Our end of a terminal: what is typed, and what has been shown since it was last looked at."""

    def __init__(self, end: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._end = end
        self._seen = b""

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def until(self, text: str) -> str:
        """What is shown up to some text; fails where that does not come."""
        for _ in range(MOST_READS):
            before, found, rest = self._seen.partition(text.encode())
            if found:
                self._seen = rest
                return (before + found).decode(errors="replace")
            ready, _, _ = select.select([self._end], [], [], 20.0)
            assert ready, f"expected {text!r}, got {self._seen!r}"
            self._seen += os.read(self._end, 65_536)
        raise AssertionError(f"expected {text!r}, got {self._seen!r}")


@contextmanager
def terminal(*arguments: str, width: int = 160, **environment: str) -> Iterator[Screen]:
    """`logllm chat` in a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    given |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT / "pipeline")}
    process = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=given | environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Screen(ours, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)


def test_a_terminal_has_a_prompt_colours_and_an_end(store: Path) -> None:
    with terminal("--no-llm", "--data-dir", str(store), DISK) as screen:
        opening = screen.until("› ")
        screen.type("why?\n")
        answered = screen.until("[R1]")
        screen.until("› ")
        screen.type("\x03")
        screen.until("Ctrl-D ends the chat")
        screen.until("› ")
        screen.type("\x04")

        assert screen.process.wait(20) == 0
    assert "\x1b[1;31mcritical" in opening
    assert "\x1b[36m" in answered


def test_ctrl_c_ends_an_answer_and_the_chat_goes_on(store: Path) -> None:
    with ChatServer("{}", mode="hang") as server:
        asked = ["--data-dir", str(store), "--model", f"{server.url}/v1#tiny", DISK]
        with terminal(*asked) as screen:
            screen.until("› ")
            screen.type("why?\n")
            screen.until("tiny reads")
            screen.type("\x03")
            screen.until("(ended)")
            screen.until("› ")
            screen.type("E4\n")
            screen.until("checkpoint request failed")
            screen.until("› ")
            screen.type("\x04")

            assert screen.process.wait(20) == 0


def test_no_color_and_a_narrow_terminal_are_kept_to(store: Path) -> None:
    with terminal("--no-llm", "--data-dir", str(store), DISK, width=40, NO_COLOR="1") as screen:
        screen.until("› ")
        screen.type("why?\n")
        answered = screen.until("[A1]")
        screen.until("› ")
        screen.type("\x04")
        screen.process.wait(20)

    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", answered)
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", answered).splitlines()) <= 40


def test_hostile_text_moves_no_cursor(store: Path) -> None:
    from msgspec.structs import replace

    event = next(event for event, _ in kept() if event.id == DISK)
    attacked = IncidentStore(store / "logllm.db")
    lines = [replace(line, text="\x1b[2J\x1b]0;owned\x07 \u202edisk\r\nfull") for line in event.evidence]
    attacked.put(replace(event, evidence=lines, title="\x1b[31mred"))
    attacked.close()

    done = chat("--no-llm", "--data-dir", str(store), DISK, typed="what happened?\nE1\n\x1b[2J\n")

    assert not set(done.output) & set("\x1b\x07\u202e\r")


def test_the_page_is_served_until_it_is_told_to_end(store: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "logllm.cli", "chat", "--web", "--no-open", "--no-llm", "--data-dir", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "pipeline")},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )
        with opener.open(address, timeout=20) as page:
            assert b"<title>logllm" in page.read()
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?key=[\w-]{43}", address)
