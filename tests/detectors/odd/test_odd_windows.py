"""Laws of odd windows, what they must find that no single count gives away, and what they must not."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from logllm.detectors.change import ChangePoint
from logllm.detectors.keys import Keys
from logllm.detectors.odd import neighbours
from logllm.detectors.odd.followed import MOST_KEYS, MOST_SERVICES
from logllm.detectors.odd.windows import FIT_BLOCKS, KEPT_WINDOWS, SWAP_BLOCKS, OddWindows
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError
from logllm.events import Anomaly
from tests.detectors.counts import slices_of
from tests.detectors.odd.fleets import DAY, LEVEL, MESSAGES, cut, fleet, keys_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from logllm.detectors.contract import Detector

DAYS = 3


@pytest.fixture(params=["with pyod", "without pyod"])
def pyod(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "with pyod":
        pytest.importorskip("pyod", reason="pyod is not installed")
    else:
        # An entry of None is what Python itself takes for a module that cannot be imported.
        monkeypatch.setitem(sys.modules, "pyod", None)
    neighbours.have_pyod.cache_clear()
    yield request.param
    neighbours.have_pyod.cache_clear()


def _trained(counts: Any, services: int = 2) -> OddWindows:
    odd = OddWindows(keys_of(services))
    run(odd, slices_of(counts))
    return odd


def _known_windows(odd: OddWindows) -> NDArray[np.int64]:
    """int64[MOST_SERVICES]: windows kept of each place that the next model learns from."""
    known: NDArray[np.int64] = unpack_array(odd.state()["known"], np.bool_).sum(axis=0)
    return known


def _mix_breaks(counts: Any) -> None:
    """Half of what message 1 finishes of service 0 turns into message 7: the total stays."""
    lost = np.floor(counts[:, 1] / 2)
    counts[:, 1] -= lost
    counts[:, 7] += lost


def test_a_ratio_that_breaks_is_found_though_the_total_stays_and_named(pyod: str) -> None:
    counts = fleet(DAYS * DAY + 30)
    _mix_breaks(counts[DAYS * DAY :])
    odd = _trained(counts[: DAYS * DAY])

    found = run(odd, slices_of(counts[DAYS * DAY :], first=DAYS * DAY))

    first = found[0]
    assert {each.service for each in found} == {0}
    assert DAYS * DAY <= first.window < DAYS * DAY + 10
    assert first.about.startswith("ratio of two messages")
    assert len(first.about.split(", ")) <= 3
    assert set(first.keys) == {0, 1}
    assert abs(first.seen / first.expected - 1.0) > 0.05
    assert first.surprise >= -np.log10(LEVEL)


def test_many_messages_that_move_a_little_together_are_found(pyod: str) -> None:
    counts = fleet(DAYS * DAY + 30, services=3)
    late = counts[DAYS * DAY :, 2 * MESSAGES :]
    late[:] = np.random.default_rng(3).poisson(late * 1.7)
    odd = _trained(counts[: DAYS * DAY], services=3)

    found = run(odd, slices_of(counts[DAYS * DAY :], first=DAYS * DAY))

    assert {each.service for each in found} == {2}


def test_records_that_come_late_all_at_once_are_nothing_odd() -> None:
    counts = fleet(DAYS * DAY + 15)
    odd = _trained(counts[: DAYS * DAY])
    (each,) = slices_of(counts[DAYS * DAY :], first=DAYS * DAY)
    piled = each.counts.copy()
    piled[4, 1] += 500.0
    late = np.array([[DAYS * DAY + 4], [1], [500]], np.int64)

    found = odd.judge(dataclasses.replace(each, counts=piled, late=late), LEVEL)

    assert found == odd.judge(each, LEVEL) == []
    assert odd.judge(dataclasses.replace(each, counts=piled), LEVEL) != []


def test_quiet_days_are_quiet(pyod: str) -> None:
    odd = OddWindows(keys_of(4))

    found = run(odd, slices_of(fleet(5 * DAY, services=4, seed=8)), 1.0 / (DAY * 4))

    assert len({(each.service, each.window // 60) for each in found}) <= 6


def test_nothing_is_said_until_nearly_two_days_are_known(pyod: str) -> None:
    counts = fleet(2 * DAY - 300)
    _mix_breaks(counts[-100:])
    odd = OddWindows(keys_of(2))

    found = run(odd, slices_of(counts))

    assert found == []
    assert odd.learning == 2
    assert odd.tested == 0


def test_after_two_days_it_judges_each_service_once_a_window(pyod: str) -> None:
    odd = _trained(fleet(DAYS * DAY))

    assert odd.tested == 2
    assert odd.learning == 0


def test_a_model_comes_into_use_an_hour_after_the_last_window_it_was_fitted_on(pyod: str) -> None:
    odd = _trained(fleet(DAY + 10 * BLOCK))

    scored = np.flatnonzero(~np.isnan(odd.tails.highest[:, 0]))

    assert DAY // BLOCK % FIT_BLOCKS == 0
    assert int(scored[0]) == DAY // BLOCK + SWAP_BLOCKS


def test_nothing_depends_on_how_blocks_are_cut_into_slices(pyod: str) -> None:
    counts = fleet(DAYS * DAY + 60)
    _mix_breaks(counts[DAYS * DAY :])
    whole, cut_up = OddWindows(keys_of(2)), OddWindows(keys_of(2))

    one = run(whole, slices_of(counts))
    two = run(cut_up, cut(counts, 5))

    assert one
    assert one == two
    assert msgpack.packb(whole.state()) == msgpack.packb(cut_up.state())


def test_a_restart_anywhere_changes_nothing(pyod: str) -> None:
    counts = fleet(DAYS * DAY + 60)
    _mix_breaks(counts[DAYS * DAY :])
    slices = cut(counts, 6)
    straight = OddWindows(keys_of(2))
    expected = run(straight, slices)

    odd, found = OddWindows(keys_of(2)), []
    for at, each in enumerate(slices):
        if at % 61 == 0 or at > len(slices) - 12:
            saved = msgpack.unpackb(msgpack.packb(odd.state()), strict_map_key=False)
            odd = OddWindows(keys_of(2))
            odd.restore(saved)
        found += run(odd, [each])

    assert expected
    assert found == expected
    assert msgpack.packb(odd.state()) == msgpack.packb(straight.state())


def test_the_order_of_keys_and_services_is_irrelevant(pyod: str) -> None:
    counts = fleet(DAYS * DAY + 30)
    _mix_breaks(counts[DAYS * DAY :])
    order = np.random.default_rng(2).permutation(2 * MESSAGES)
    mixed_keys = Keys()
    for key in order.tolist():
        mixed_keys.number(np.zeros(1, np.int32), [f"service-{key // MESSAGES}"], np.array([key], np.int32))

    straight = run(OddWindows(keys_of(2)), slices_of(counts))
    mixed = run(OddWindows(mixed_keys), slices_of(counts[:, order]))

    def told(found: list[Anomaly], names: list[int]) -> list[tuple[int, int, str]]:
        return sorted((each.window, names[each.key] // MESSAGES, each.about) for each in found)

    assert straight
    assert told(mixed, order.tolist()) == told(straight, list(range(2 * MESSAGES)))


def test_both_detectors_are_what_detection_asks() -> None:
    detectors: list[Detector] = [OddWindows(keys_of(1)), ChangePoint(keys_of(1))]

    assert [each.kind for each in detectors] == ["odd", "change"]


def test_judging_changes_nothing(pyod: str) -> None:
    odd = _trained(fleet(DAYS * DAY))
    (each,) = slices_of(fleet(15, seed=4), first=DAYS * DAY)
    before = msgpack.packb(odd.state())

    first, second = odd.judge(each, 0.1), odd.judge(each, 0.1)

    assert first == second
    assert msgpack.packb(odd.state()) == before


def test_learning_without_having_judged_is_a_mistake_of_the_caller() -> None:
    (each,) = slices_of(fleet(15))

    with pytest.raises(RuntimeError, match="judge"):
        OddWindows(keys_of(2)).learn(each, np.zeros(2 * MESSAGES, np.bool_))


def test_what_is_held_is_not_learned_for_two_hours_and_then_it_is() -> None:
    odd = _trained(fleet(DAYS * DAY))
    kept = _known_windows(odd)

    run(odd, slices_of(fleet(120, seed=2), first=DAYS * DAY), held=True)
    held = _known_windows(odd)
    run(odd, slices_of(fleet(60, seed=3), first=DAYS * DAY + 120), held=True)

    assert (kept - held)[:2].tolist() == [120, 120]
    assert _known_windows(odd).tolist() == held.tolist()  # as many as the oldest that went


def test_gaps_a_clock_that_goes_back_and_wild_counts_leave_everything_finite(pyod: str) -> None:
    odd = _trained(fleet(DAYS * DAY))
    wild = np.full((20, 2 * MESSAGES), 1e9)

    found = run(odd, slices_of(fleet(100), first=5 * DAY, gap=2 * DAY))
    found += run(odd, slices_of(wild, first=DAY, gap=-1))
    found += run(odd, slices_of(np.zeros((40, 2 * MESSAGES)), first=DAY + 20))

    for each in found:
        assert np.isfinite([each.expected, each.seen, each.surprise]).all()
        assert each.keys
    assert np.isfinite(odd.vectors.of(slices_of(wild, first=DAY + 60)[0])).all()


def test_its_memory_is_bounded_however_many_services_and_keys_there_are() -> None:
    many = 4 * MOST_SERVICES
    counts = np.random.default_rng(1).poisson(3.0, (2 * KEPT_WINDOWS // 30, many * MESSAGES)).astype(np.float64)
    odd = OddWindows(keys_of(many))

    run(odd, slices_of(counts))

    followed = odd.vectors.followed
    assert followed.services.shape == (MOST_SERVICES,)
    assert followed.keys.shape == (MOST_SERVICES, MOST_KEYS)
    assert _known_windows(odd).sum() <= KEPT_WINDOWS * MOST_SERVICES


def test_a_service_that_takes_anothers_place_starts_anew(pyod: str) -> None:
    services = MOST_SERVICES + 1
    source = np.random.default_rng(1)
    counts = source.poisson(20.0, (2 * DAY, services * MESSAGES)).astype(np.float64)
    counts[:, -MESSAGES:] = 0.0
    later = source.poisson(20.0, (DAY + 15, services * MESSAGES)).astype(np.float64)
    later[:, :MESSAGES] = 0.0
    odd = OddWindows(keys_of(services))

    run(odd, slices_of(counts))
    run(odd, slices_of(later, first=2 * DAY))
    run(odd, slices_of(later, first=3 * DAY + 15))

    assert services - 1 in odd.vectors.followed.services.tolist()
    assert odd.tested == MOST_SERVICES - 1


def test_merged_and_forgotten_keys_are_followed_anew(pyod: str) -> None:
    odd = _trained(fleet(DAYS * DAY))

    odd.merge(1, 2)
    odd.forget([9])

    assert not np.isin([1, 9], odd.vectors.followed.keys).any()
    run(odd, slices_of(fleet(60, seed=5), first=DAYS * DAY))


def test_scores_of_another_kind_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyod", reason="pyod is not installed")
    neighbours.have_pyod.cache_clear()
    saved = _trained(fleet(DAYS * DAY)).state()

    monkeypatch.setitem(sys.modules, "pyod", None)
    neighbours.have_pyod.cache_clear()
    odd = OddWindows(keys_of(2))
    odd.restore(saved)
    neighbours.have_pyod.cache_clear()

    assert odd.tested == 0


@pytest.mark.parametrize("name", ["windows", "known", "open", "highest", "services"])
def test_a_state_whose_arrays_do_not_fit_is_refused(name: str) -> None:
    state: dict[str, Any] = OddWindows(keys_of(2)).state()
    dtype = np.dtype(state[name]["dtype"])
    state[name] = pack_array(np.zeros((3, 2, 5), dtype))

    with pytest.raises(StateError):
        OddWindows(keys_of(2)).restore(state)


@pytest.mark.parametrize("name", ["vectors", "tails", "age"])
def test_a_state_that_lacks_something_is_refused(name: str) -> None:
    state: dict[str, Any] = OddWindows(keys_of(2)).state()
    del state[name]

    with pytest.raises(StateError, match="damaged"):
        OddWindows(keys_of(2)).restore(state)
