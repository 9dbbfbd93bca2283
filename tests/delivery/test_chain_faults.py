"""Two servers in a row whose disks fail: what the first cannot remember the second does not get twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.delivery.child import Server, until
from tests.delivery.faults import Faults, compiled
from tests.delivery.oracle import check
from tests.delivery.rigs import Output
from tests.delivery.sender import Sender, Way

RECORDS = 20_000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("faults"))


class Chain:
    """Records go through a server with a data folder into one with a file."""

    def __init__(self, folder: Path, library: Path) -> None:
        for name in ("first", "last"):
            (folder / name).mkdir()
        self.output = Output(folder / "last" / "out.ndjson")
        self.first_faults = Faults(library, folder / "first", folder / "first.faults")
        self.last_faults = Faults(library, folder / "last", folder / "last.faults")
        self.last = Server(
            "--sink", f"file:{self.output.path}", environment=self.last_faults.environment, log=folder / "last.log"
        )
        self.first = Server(
            *("--sink", f"forward://127.0.0.1:{self.last.port}", "--data-dir", str(folder / "first" / "data")),
            environment=self.first_faults.environment,
            log=folder / "first.log",
        )
        self.sender = Sender(self.first.port, RECORDS, ways=(Way(),) * 4, sizes=(1, 400), seed=1)

    def ends(self) -> None:
        assert self.sender.wait(60.0)
        assert check(self.output, self.sender.issued, self.sender.acked, RECORDS) == []


@pytest.mark.parametrize("end", [None, signal.SIGKILL], ids=["it recovers", "it is killed"])
def test_a_first_server_that_cannot_commit_what_the_second_has_sends_it_no_second_time(
    tmp_path: Path, library: Path, end: signal.Signals | None
) -> None:
    chain = Chain(tmp_path, library)
    with chain.last.start(), chain.first.start():
        try:
            chain.sender.allow(RECORDS // 2)
            chain.sender.start()
            assert chain.sender.wait(60.0, RECORDS // 2)
            chain.first_faults.order("write .ledger 1 0 errno 28")
            chain.sender.allow(RECORDS)
            until(lambda: chain.first.metric("logllm_sink_retries") >= 3, "it has tried several times")
            assert chain.first.get("/readyz")[0] == 503
            if end is not None:
                chain.first.end(end)
            chain.first_faults.order()
            if end is not None:
                chain.first.start()

            chain.ends()
        finally:
            chain.sender.stop()


def test_while_the_disk_of_the_second_fails_nothing_is_acknowledged_by_the_first(tmp_path: Path, library: Path) -> None:
    chain = Chain(tmp_path, library)
    with chain.last.start(), chain.first.start():
        try:
            chain.last_faults.order("sync =out.ndjson 5 0 errno 5")
            chain.sender.start()
            until(lambda: chain.last.get("/readyz")[0] == 503, "the second is not ready")
            acked = chain.sender.totals.acked_records
            assert not chain.sender.wait(0.7, acked + 401 * 4)
            chain.last_faults.order()

            chain.ends()
            assert not chain.sender.totals.failures
        finally:
            chain.sender.stop()
