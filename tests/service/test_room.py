"""A bound on what is under way, and a gate for one alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from logllm.service.gate import Gate
from logllm.service.room import Room


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


def test_no_more_than_one_piece_goes_past_the_bound_and_all_get_their_turn() -> None:
    async def test() -> None:
        room, most, order = Room(100), 0, []

        async def piece(number: int) -> None:
            nonlocal most
            await room.wait()
            room.enter(60)
            most = max(most, room.used_bytes)
            await asyncio.sleep(0)
            order.append(number)
            room.leave(60)

        await asyncio.gather(*(piece(number) for number in range(50)))

        assert order == list(range(50))
        assert most <= 160
        assert room.used_bytes == 0

    run(test)


def test_one_who_waits_and_is_cancelled_blocks_nobody() -> None:
    async def test() -> None:
        room = Room(10)
        await room.wait()
        room.enter(10)
        waiting = [asyncio.create_task(room.wait()) for _ in range(3)]
        await asyncio.sleep(0)

        waiting[0].cancel()
        room.leave(10)
        waiting[1].cancel()
        await asyncio.wait(waiting)

        assert not waiting[2].cancelled()

    run(test)


def test_one_that_has_nothing_to_bring_in_lets_the_next_go_on() -> None:
    async def test() -> None:
        room = Room(10)
        room.enter(10)
        waiting = [asyncio.create_task(room.wait()) for _ in range(5)]
        await asyncio.sleep(0)

        room.leave(10)

        await asyncio.gather(*waiting)

    run(test)


def test_whoever_is_alone_waits_for_those_inside_and_keeps_others_out() -> None:
    async def test() -> None:
        gate, seen = Gate(), list[str]()
        inside, leave = asyncio.Event(), asyncio.Event()

        async def shared(name: str) -> None:
            async with gate.shared():
                inside.set()
                seen.append(f"{name} in")
                await leave.wait()
                seen.append(f"{name} out")

        async def alone() -> None:
            async with gate.alone():
                seen.append("alone")

        first = asyncio.create_task(shared("a"))
        await inside.wait()
        changing = asyncio.create_task(alone())
        await asyncio.sleep(0)
        second = asyncio.create_task(shared("b"))
        await asyncio.sleep(0)
        leave.set()
        await asyncio.gather(first, changing, second)

        assert seen == ["a in", "a out", "alone", "b in", "b out"]

    run(test)
