"""Lanes: in order within one, side by side between them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from logllm.service.lanes import Lanes


def run(test: Callable[[Lanes], Awaitable[None]], threads: int = 4) -> None:
    async def bounded() -> None:
        lanes = Lanes(threads)
        async with asyncio.timeout(20):
            await test(lanes)
        lanes.close()

    asyncio.run(bounded())


def test_work_of_one_lane_is_done_in_the_order_it_was_given() -> None:
    done: list[int] = []

    async def test(lanes: Lanes) -> None:
        await asyncio.gather(*(lanes.run("a", lambda n=n: done.append(n)) for n in range(200)))  # type: ignore[misc]

    run(test)

    assert done == list(range(200))


def test_a_lane_that_is_stuck_holds_up_no_other() -> None:
    release = threading.Event()
    done: list[str] = []

    async def test(lanes: Lanes) -> None:
        stuck = [asyncio.create_task(lanes.run("hostile", lambda: release.wait(20))) for _ in range(10)]
        await asyncio.gather(*(lanes.run(f"tenant {n}", lambda n=n: done.append(str(n))) for n in range(20)))  # type: ignore[misc]
        assert not any(task.done() for task in stuck)
        release.set()
        await asyncio.gather(*stuck)

    run(test)

    assert sorted(done, key=int) == [str(n) for n in range(20)]


def test_what_work_raises_comes_out_and_the_lane_goes_on() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def test(lanes: Lanes) -> None:
        results = await asyncio.gather(lanes.run("a", fail), lanes.run("a", lambda: 7), return_exceptions=True)
        assert isinstance(results[0], ValueError)
        assert results[1] == 7

    run(test)


def test_a_lane_that_was_given_up_on_lets_the_next_in() -> None:
    release = threading.Event()

    async def test(lanes: Lanes) -> None:
        first = asyncio.create_task(lanes.run("a", lambda: release.wait(20)))
        second = asyncio.create_task(lanes.run("a", lambda: 2))
        third = asyncio.create_task(lanes.run("a", lambda: 3))
        await asyncio.sleep(0)
        second.cancel()
        release.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await third == 3

    run(test)
