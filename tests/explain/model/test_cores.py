from __future__ import annotations

import os
from pathlib import Path

import pytest

from logllm.explain.model.cores import Cores
from logllm.explain.model.memory import memory_of


class Machine:
    def __init__(self) -> None:
        self.now = 0.0
        self.load = 0.0

    def cores(self, fixed: int = 0, number: int = 4) -> Cores:
        return Cores(fixed, cores=number, load=lambda: self.load, clock=lambda: self.now)


def test_workers_share_what_cores_there_are() -> None:
    cores = Machine().cores()

    assert [cores.take(workers) for workers in (1, 2, 3, 4, 9)] == [4, 2, 1, 1, 1]


def test_cores_that_others_use_are_left_to_them() -> None:
    machine = Machine()
    machine.load = 3.0

    assert machine.cores().take(1) == 1


def test_what_we_use_ourselves_is_not_taken_for_others_load() -> None:
    machine = Machine()
    cores = machine.cores()
    threads = cores.take(1)
    # So long at work that the average knows of it in full.
    machine.now, machine.load = 600.0, 4.0
    cores.give_back(threads)

    assert cores.take(1) == 4
    machine.load = 6.0
    assert cores.take(1) == 2


def test_a_fixed_number_is_kept_whatever_others_do() -> None:
    machine = Machine()
    machine.load = 9.0

    assert machine.cores(fixed=8, number=2).take(1) == 8
    assert machine.cores(fixed=8, number=2).take(4) == 2


def test_no_worker_gets_more_threads_than_are_of_use() -> None:
    assert Machine().cores(number=64).take(1) == 4


def test_the_memory_of_a_process_is_read_from_linux(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "smaps_rollup").write_text("55d0-7ffc ---p 0 0 0 [rollup]\nRss: 9 kB\nPss: 5 kB\nPrivate_Dirty: 3 kB\n")

    found = memory_of(7, tmp_path)

    assert found == (5120, 3072)
    assert memory_of(8, tmp_path) is None
    (folder / "smaps_rollup").write_text("Pss: many kB\n")
    assert memory_of(7, tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc of Linux here")
def test_this_process_takes_some_memory() -> None:
    found = memory_of(os.getpid())

    assert found is not None
    assert 0 < found.own_bytes <= found.share_bytes < 1 << 40
