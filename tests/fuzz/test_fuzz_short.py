"""Each harness over inputs made from its seeds by chance, without a fuzzer: the same ones every time."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.fuzz.inputs import mutated

if TYPE_CHECKING:
    from tests.fuzz.inputs import Harness

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))
INPUTS = 2000
# Their inputs are made long, mined, go to several destinations, or over a socket.
FEWER = {
    "fuzz_headers": 300,
    "fuzz_long": 200,
    "fuzz_answers": 300,
    "fuzz_bodies": 300,
    "fuzz_slack": 300,
    "fuzz_edits": 500,
}


def harness_of(name: str) -> Harness:
    return cast("Harness", importlib.import_module(f"tests.fuzz.{name}"))


@pytest.mark.parametrize("name", NAMES)
def test_every_input_made_from_the_seeds_by_chance_is_dealt_with(name: str) -> None:
    harness = harness_of(name)
    seeds, chance = harness.seeds(), random.Random(name)

    for seed in seeds:
        harness.check(seed)
    for number in range(FEWER.get(name, INPUTS)):
        data = mutated(chance.choice(seeds), chance, seeds)[: harness.MAX_BYTES]
        try:
            harness.check(data)
        except Exception as error:
            raise AssertionError(f"input {number}: {data!r}") from error


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_small_and_the_same_at_every_call(name: str) -> None:
    harness = harness_of(name)

    seeds = harness.seeds()

    assert seeds == harness.seeds()
    assert max(map(len, seeds)) <= harness.MAX_BYTES
