"""A disk that is full, broken, read-only or dies with us in the middle of a write; records keep coming meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.child import Server, until
from tests.delivery.faults import Faults, compiled
from tests.delivery.oracle import check
from tests.delivery.rigs import Output
from tests.delivery.sender import Sender, Way

RECORDS = 16_000
CONNECTIONS = 4
QUIET_S = 0.7
RESUME_S = 2.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB, filled but for 2 MB by the file `filler`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True, timeout=30).returncode != 0:
        pytest.skip("cannot mount a tmpfs: not root, or not allowed to")
    try:
        (folder / "filler").write_bytes(bytes(14 << 20))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)


class Flow:
    """A server with a file sink, and records that flow into it."""

    def __init__(self, folder: Path, scratch: Path, faults: Faults | None = None) -> None:
        self.output = Output(folder / "out.ndjson")
        self.config = scratch / "logllm.toml"
        self.configure()
        environment = {} if faults is None else faults.environment
        self.server = Server("-c", str(self.config), environment=environment, log=scratch / "log")
        self.sender = Sender(self.server.port, RECORDS, ways=(Way(),) * CONNECTIONS, sizes=(1, 400), seed=1)

    def configure(self, more: str = "") -> None:
        """Write its configuration."""
        text = f"[[sinks]]\ntype = 'file'\npath = '{self.output.path}'\n{more}\n"
        self.config.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self.server.start():
            try:
                yield
            finally:
                self.sender.stop()

    def is_stuck(self, *reasons: str) -> None:
        """Nothing is acknowledged, why is told in one of these ways, and nothing is closed for it."""
        until(lambda: self.server.get("/readyz")[0] == 503, "it says that it is not ready")
        until(lambda: self.server.metric("logllm_forward_connections") == CONNECTIONS, "all are connected")
        said = self.server.get("/readyz")[1]
        assert any(reason in said for reason in reasons), said
        acked = self.sender.totals.acked_records
        assert not self.sender.wait(QUIET_S, acked + 1), "something was acknowledged"
        assert self.server.alive
        assert self.server.metric("logllm_forward_connections") == CONNECTIONS
        assert not self.sender.totals.failures

    def goes_on(self) -> None:
        """Within two seconds, to the end, with everything there once."""
        acked = self.sender.totals.acked_records
        assert self.sender.wait(RESUME_S, acked + 1), "nothing is acknowledged after two seconds"
        until(lambda: self.server.get("/readyz")[0] == 200, "it is ready again")
        assert not self.sender.totals.failures
        self.ends()

    def ends(self) -> None:
        """All is acknowledged, in the end, and there once."""
        assert self.sender.wait(60.0)
        assert self.server.end() == 0
        assert not self.sender.violations
        assert check(self.output, self.sender.issued, self.sender.acked, RECORDS) == []


def test_on_a_full_disk_nothing_is_acknowledged_until_there_is_room_again(small_disk: Path, tmp_path: Path) -> None:
    flow = Flow(small_disk, tmp_path)
    with flow.running():
        flow.sender.start()
        flow.is_stuck("No space left on device", "database or disk is full")
        assert 0 < flow.sender.totals.acked_records < RECORDS

        (small_disk / "filler").unlink()

        flow.goes_on()


def test_a_server_that_starts_on_a_full_disk_waits_for_room(small_disk: Path, tmp_path: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "filler").open("ab") as filler:
        while True:
            filler.write(bytes(4096))
            filler.flush()
    flow = Flow(small_disk, tmp_path)
    with flow.running():
        flow.sender.start()
        flow.is_stuck("full")

        (small_disk / "filler").unlink()

        flow.goes_on()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("write =out.ndjson 5 0 errno 5", "cannot write: Input/output error"),
        ("sync =out.ndjson 5 0 errno 5", "cannot write: Input/output error"),
        ("sync .ledger 5 0 errno 5", "cannot commit: disk I/O error"),
        ("write .ledger 20 0 errno 5", "cannot commit: disk I/O error"),
        ("write =out.ndjson 5 0 errno 30", "cannot write: Read-only file system"),
        ("write * 5 0 errno 30", "cannot"),
        ("write .ledger 20 0 errno 28", "cannot commit: database or disk is full"),
    ],
)
def test_while_a_disk_fails_nothing_is_acknowledged(tmp_path: Path, library: Path, rule: str, reason: str) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    faults = Faults(library, folder, tmp_path / "control")
    flow = Flow(folder, tmp_path, faults)
    with flow.running():
        flow.sender.allow(RECORDS // 10)
        flow.sender.start()
        assert flow.sender.wait(60.0, RECORDS // 10)
        faults.order(rule)
        flow.sender.allow(RECORDS)
        flow.is_stuck(reason)

        faults.order()

        flow.goes_on()


@pytest.mark.parametrize(
    "rules",
    [
        # What is left of a write that the disk refused, and the end before it is tidied up.
        ("sync =out.ndjson 3 1 errno 5", "truncate =out.ndjson 1 1 before"),
        ("sync =out.ndjson 3 1 errno 5", "truncate =out.ndjson 1 1 after"),
        ("write =out.ndjson 3 1 short 50", "write =out.ndjson 4 1 errno 28", "truncate =out.ndjson 1 1 before"),
        # The bytes are there, and their keys are not.
        ("sync =out.ndjson 3 1 after",),
        ("write ledger-wal 9 1 before",),
        ("write ledger-wal 10 1 torn",),
        # The commit failed, and may be there all the same.
        ("sync ledger-wal 3 2 errno 5", "sync ledger-wal 5 1 before"),
        ("sync ledger-wal 3 1 errno 5", "write ledger-wal 30 1 before"),
        # The keys are there, and nobody was told.
        ("sync ledger-wal 3 1 after",),
        ("write =out.ndjson 3 1 torn",),
    ],
    ids=" and ".join,
)
def test_a_process_that_dies_in_the_middle_of_it_loses_nothing_and_repeats_nothing(
    tmp_path: Path, library: Path, rules: tuple[str, ...]
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    faults = Faults(library, folder, tmp_path / "control")
    flow = Flow(folder, tmp_path, faults)
    with flow.running():
        flow.sender.allow(RECORDS // 2)
        faults.order(*rules)
        flow.sender.start()
        assert flow.server.wait() == -signal.SIGKILL
        faults.order()
        flow.sender.allow(RECORDS)
        flow.server.start()

        flow.ends()


def test_a_file_that_is_cut_by_somebody_else_before_a_crash_holds_what_came_afterwards_once(
    tmp_path: Path, library: Path
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    faults = Faults(library, folder, tmp_path / "control")
    flow = Flow(folder, tmp_path, faults)
    with flow.running():
        flow.sender.allow(RECORDS // 2)
        flow.sender.start()
        assert flow.sender.wait(60.0, RECORDS // 2)
        gone = {chunk.first for chunk in flow.sender.acked}
        # As logrotate does it with `copytruncate`.
        os.truncate(flow.output.path, 0)
        faults.order("sync =out.ndjson 1 1 after")
        flow.sender.allow(RECORDS)
        assert flow.server.wait() == -signal.SIGKILL
        faults.order()
        flow.server.start()
        assert flow.sender.wait(60.0)
        flow.server.end()

    left = [chunk for chunk in flow.sender.acked if chunk.first not in gone]
    assert check(flow.output, flow.sender.issued, left, RECORDS) == []


def test_a_sink_that_is_made_anew_while_its_commit_fails_loses_nothing_in_a_crash(
    tmp_path: Path, library: Path
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    faults = Faults(library, folder, tmp_path / "control")
    flow = Flow(folder, tmp_path, faults)
    with flow.running():
        faults.order("sync ledger-wal 5 0 errno 5")
        flow.sender.start()
        flow.is_stuck("cannot commit")
        # From here on the first thing that is done to the file is the last.
        faults.order("truncate =out.ndjson 1 1 after", "sync =out.ndjson 1 1 after")
        flow.configure("fsync = true\nrotate_bytes = 100_000_000")
        os.kill(flow.server.pid, signal.SIGHUP)
        assert flow.server.wait() == -signal.SIGKILL
        faults.order()
        flow.server.start()

        flow.ends()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_where_one_of_two_sinks_fails_and_the_server_ends_each_has_every_record_once(
    tmp_path: Path, library: Path, end: signal.Signals
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    faults = Faults(library, folder, tmp_path / "control")
    flow = Flow(folder, tmp_path, faults)
    second = Output(folder / "second.ndjson")
    flow.configure(f"[[sinks]]\ntype = 'file'\npath = '{second.path}'")
    with flow.running():
        flow.sender.allow(RECORDS // 10)
        flow.sender.start()
        assert flow.sender.wait(60.0, RECORDS // 10)
        faults.order("sync =second.ndjson 5 0 errno 5")
        flow.sender.allow(RECORDS)
        flow.is_stuck("second.ndjson: cannot write")
        code = flow.server.end(end)
        faults.order()
        flow.server.start()

        flow.ends()

    assert code == (-end if end == signal.SIGKILL else 0)
    assert check(second, flow.sender.issued, flow.sender.acked, RECORDS) == []
