"""How many distinct words there are: suddenly many more users, or one of them everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.values.config import ValuesConfig
from logllm.detectors.values.hyperloglog import RELATIVE_ERROR, distinct, hashes_of
from logllm.detectors.values.series import Series
from logllm.detectors.values.sketches import Sketches, repeated
from logllm.detectors.values.spans import SPANS
from logllm.detectors.values.track import Levels, Track
from logllm.errors import StateError
from logllm.events import Anomaly, Severity
from logllm.fields import is_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.contract import Seen
    from logllm.detectors.slices import Slice
    from logllm.detectors.values.messages import Messages
    from logllm.detectors.values.spans import Departure

__all__ = ["TESTS", "DistinctJump"]

TESTS = ("count", "mix", "text")
"""How many words there are in fifteen windows, how they repeat each other in one, and how those within messages do."""

_LEAST_RATIO = {"count": 1.5, "mix": 3.0, "text": 3.0}
"""By how much the number of distinct words must differ to be news."""
_GROWTH = 0.5
"""Of twice as many records 2**0.5 times as many distinct words are expected (Heaps' law; 0.1 to 0.9 were seen): that
more came is for the rate to tell."""
_FEWEST_DISTINCT = 10.0
_FEWEST_SAMPLED = 8
_SOFT = 0.02
"""Words are told apart as well as a fiftieth: between one in fifty the same and none there is no difference."""
_ALL_DIFFERENT = 0.001
"""Where two words are the same more rarely than this, how many there are says only how many records there are."""
_ODD_TIMES, _SURELY_USUAL = 100.0, 1e-3


@dataclass(frozen=True, slots=True)
class _Now:
    """A slice: levels by track, and the first key of each of the service's series, int64[b, k]."""

    count: Levels
    mix: Levels
    text: Levels
    lead: NDArray[np.int64]


class DistinctJump:
    """Watches the distinct words of each field in each service, and at each parameter of each template.

    Tests on logarithms over 1 to 45 windows, against the series' own history: more distinct words than usual for so
    many records, in fifteen windows together (HyperLogLog sketches, their error in the variance); and, in a
    sample, two words that are the same more rarely than usual (one user was tried, now many are) or more often (one
    address sends everything). `expected` and `seen` are numbers of distinct words; in the sample the number of equally
    frequent ones that would repeat as often.

    Not for fields that name a session, request or trace: these are always new. Words of a message are those of the
    first 32 records of its key in a window.

    Args:
        service_of: The service of each key, int64[n] for int32[n].
        messages: Where words within messages are watched; it belongs to `ValueShift`, which is asked before this one.
        tests: Which of TESTS are made.

    Costs 0.1 us a word, and 0.2 us for each distinct one of a chunk.
    """

    kind = "distinct"

    def __init__(
        self,
        config: ValuesConfig | None = None,
        service_of: Callable[[NDArray[np.int32]], NDArray[np.int64]] = lambda keys: np.zeros(len(keys), np.int64),
        messages: Messages | None = None,
        *,
        tests: tuple[str, ...] = TESTS,
    ) -> None:
        self._config = config or ValuesConfig()
        self._service_of = service_of
        self._messages = messages
        self._tests = tests
        self._series = Series(self._config.most_sketches)
        self._texts = Series(self._config.most_series)
        self._sketches = Sketches()
        self._tracks = {"count": Track(), "mix": Track(), "text": Track()}
        self._hashes: dict[str, tuple[list[str], NDArray[np.uint64]]] = {}
        self._end = 0
        self._judged: tuple[_Now, dict[str, NDArray[np.bool_]]] | None = None

    @property
    def tested(self) -> int:
        """Tests it makes in a window now."""
        return sum((1 if name == "count" else 2) * int(track.usual.ready.sum()) for name, track in self._tracks.items())

    @property
    def refused(self) -> int:
        """Words that were not taken in, since there was no room for their series."""
        return self._series.refused + self._texts.refused

    def see(self, seen: Seen) -> None:
        """See `Reader.see`."""
        fields = seen.columns.fields
        if fields is None or not self._config.enabled:
            return
        services = self._service_of(seen.keys)
        columns = {}
        for name, (codes, _) in fields.words.items():
            at = np.flatnonzero((codes >= 0) & (services >= 0))
            if len(at) and (not is_id(name) or name in self._config.words):
                columns[name] = (at, services[at])
        for name, numbers in self._series.numbers(columns).items():
            taken = np.flatnonzero(numbers >= 0)
            if len(taken):
                at = columns[name][0][taken]
                codes, words = fields.words[name]
                hashes = self._hashed(name, words)
                keys = seen.keys[at].astype(np.int64)
                self._sketches.add(seen.window[at], numbers[taken], codes[at].astype(np.int64), hashes, keys)
        self._grow()

    def _hashed(self, name: str, words: list[str]) -> NDArray[np.uint64]:
        """A chunk's words are hashed once, however it is cut."""
        known = self._hashes.get(name)
        if known is None or known[0] is not words:
            if len(self._hashes) >= 2 * self._config.most_fields:
                self._hashes.clear()
            known = self._hashes[name] = words, hashes_of(words)
        return known[1]

    def _grow(self) -> None:
        for name, track in self._tracks.items():
            track.grow((self._texts if name == "text" else self._series).count)

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """See `Detector.judge`."""
        if window_slice.gap:
            for track in self._tracks.values():
                track.finish(self._end)
                track.usual.restart(window_slice.start_ns)
        self._sketches.begin(window_slice.first, anew=window_slice.gap != 0)
        now = self._measured(window_slice)
        found: list[Anomaly] = []
        odd: dict[str, NDArray[np.bool_]] = {}
        odd_level = min(_ODD_TIMES * level, _SURELY_USUAL)
        for name, track in self._tracks.items():
            if not track.usual.size:
                odd[name] = np.zeros(0, np.bool_)
                continue
            departure = track.judge(getattr(now, name))
            if departure.usual(max(odd_level, level)):
                odd[name] = np.zeros(track.usual.size, np.bool_)
                continue
            ups = departure.up
            least = np.minimum(ups, departure.down)
            if name == "count":
                # Of words that are all different there are as many as records: that is for the rate to tell.
                usual = self._tracks["mix"].usual
                ups = least = np.where(usual.ready & (_of_level(usual.middle) < _ALL_DIFFERENT), 1.0, ups)
            if name not in self._tests:
                least = np.ones_like(least)
            odd[name] = np.asarray((least < odd_level).any(axis=0), np.bool_)
            for row, series in zip(*(axis.tolist() for axis in np.nonzero(least < level)), strict=True):
                up = float(ups[row, series]) <= float(least[row, series])
                one = self._anomaly(window_slice.first + row, name, row, series, departure, now, up=up)
                if one is not None:
                    found.append(one)
        found.sort(key=lambda anomaly: anomaly.window)
        self._judged = now, odd
        return found

    def _measured(self, window_slice: Slice) -> _Now:
        said = {} if self._messages is None else self._messages.read(window_slice).words
        numbers = {place: self._texts.number(place[1], place[2]) for place in sorted(said, key=lambda each: each[0])}
        self._texts.refused += sum(number < 0 for number in numbers.values())
        self._grow()
        rows, size = len(window_slice), self._series.count
        same, sampled = np.zeros((rows, size)), np.zeros((rows, size))
        lead = np.full((rows, size), -1, np.int64)
        registers, counted = [], np.zeros((rows, size), np.int64)
        for row in range(rows if size else 0):
            window = window_slice.first + row
            lead[row] = self._sketches.leads(window, size)
            if self._sketches.whole(window):
                together, counted[row] = self._sketches.together(window, size)
                registers.append(together[counted[row] > 0])
            same[row], sampled[row] = self._sketches.repeats(window, size)
        text_same, text_sampled = np.zeros((2, rows, self._texts.count))
        for place, number in numbers.items():
            if number >= 0:
                times = said[place].values()
                text_sampled[place[0], number] = total = sum(times)
                text_same[place[0], number] = sum(each * each for each in times) - total if len(times) < total else 0
        text_same = repeated(text_same, text_sampled)
        return _Now(_estimated(registers, counted), _mix(same, sampled), _mix(text_same, text_sampled), lead)

    def _anomaly(
        self, window: int, name: str, row: int, series: int, departure: Departure, now: _Now, *, up: bool
    ) -> Anomaly | None:
        place = row, series
        tail = float((departure.up if up else departure.down)[place])
        span = SPANS[int((departure.up_span if up else departure.down_span)[place])]
        level = float((departure.up_level if up else departure.down_level)[place])
        middle = float(self._tracks[name].usual.middle[series])
        if name == "count":
            of_records = max(float(getattr(now, name)[2][place]), 1.0) ** _GROWTH
            expected, seen = math.exp(middle) * of_records, math.exp(level) * of_records
            if seen < _FEWEST_DISTINCT or seen < _LEAST_RATIO[name] * expected:
                return None
        else:
            sampled = max(float(getattr(now, name)[2][place]), 1.0)
            expected, seen = (1.0 / max(float(_of_level(np.array(each))), 1.0 / sampled) for each in (middle, level))
            if max(seen / expected, expected / seen) < _LEAST_RATIO[name]:
                return None
        if name == "text":
            key, about = self._texts.pair(series)
            service = int(self._service_of(np.array([key], np.int32))[0])
        else:
            (service, about), key = self._series.pair(series), int(now.lead[place])
        if key < 0:
            return None
        surprise = 300.0 if tail <= 0.0 else min(300.0, -math.log10(tail))
        severity = int(Severity.WARN if seen > expected else Severity.INFO)
        return Anomaly(self.kind, window, span, service, key, [key], expected, seen, surprise, severity, about)

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """See `Detector.learn`."""
        if self._judged is None:
            raise ValueError("a slice is judged before it is learned from")
        now, odd = self._judged
        self._judged = None
        of_service, of_text = self._held(now.lead, held)
        self._end = window_slice.first + len(window_slice)
        for name, track in self._tracks.items():
            more = of_text if name == "text" else of_service
            track.learn(getattr(now, name), odd[name] | more, self._end, ends_block=window_slice.ends_block)
        self._sketches.close(self._end)

    def _held(self, lead: NDArray[np.int64], held: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """bool[k] each: series of fields, and of words within messages, with a held key."""
        if not held.any():
            return np.zeros(lead.shape[1], np.bool_), np.zeros(self._texts.count, np.bool_)
        keys = self._texts.keys()
        of = [(each >= 0) & (each < len(held)) & held[np.clip(each, 0, len(held) - 1)] for each in (lead, keys)]
        return np.asarray(of[0].any(axis=0), np.bool_), of[1]

    def merge(self, old: int, new: int) -> None:
        """See `Detector.merge`."""
        self._sketches.merge(old, new)
        there = dict(self._texts.of_key(new))
        for name, number in self._texts.of_key(old):
            if name in there:
                self._tracks["text"].merge(number, there[name])
                self._texts.drop([number])
            else:
                self._texts.rename(number, new)

    def forget(self, keys: Sequence[int]) -> None:
        """See `Detector.forget`."""
        self._sketches.forget(keys)
        numbers = self._texts.of_keys(keys)
        self._texts.drop(numbers)
        self._tracks["text"].drop(numbers)

    def state(self) -> dict[str, Any]:
        """See `Detector.state`."""
        return {
            "series": self._series.state(),
            "texts": self._texts.state(),
            "sketches": self._sketches.state(),
            "end": self._end,
            **{name: track.state() for name, track in self._tracks.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Detector.restore`."""
        try:
            self._series.restore(state["series"])
            self._texts.restore(state["texts"])
            self._sketches.restore(state["sketches"], self._series.count)
            self._end = int(state["end"])
            for name, track in self._tracks.items():
                track.restore(state[name], (self._texts if name == "text" else self._series).count)
        except (LookupError, TypeError, ValueError) as error:
            raise StateError(f"saved distinct values are damaged: {error!r}") from error
        self._judged = None


def _estimated(registers: list[NDArray[np.uint8]], counted: NDArray[np.int64]) -> Levels:
    """The logarithm of how many distinct words there are for so many records, its variance, and how many records.

    Shapes:
        registers: uint8[.., REGISTERS], one for each place of `counted` that is not 0, in order.
    """
    level, variance = np.zeros(counted.shape), np.full(counted.shape, np.inf)
    some = counted > 0
    if some.any():
        estimates = np.maximum(distinct(np.concatenate(registers)), 1.0)
        level[some] = np.log(estimates) - _GROWTH * np.log(counted[some])
        variance[some] = RELATIVE_ERROR**2 + 0.5 / estimates
    return level, variance, counted.astype(np.float64)


def _mix(repeats: NDArray[np.float64], sampled: NDArray[np.float64]) -> Levels:
    """How rarely two words are the same, as a level: minus the logarithm of the odds, softened at both ends."""
    if not sampled.shape[1]:
        return sampled, sampled, sampled
    level = -np.log((repeats + _SOFT) / (1.0 - repeats + _SOFT))
    slope = 1.0 / (repeats + _SOFT) + 1.0 / (1.0 - repeats + _SOFT)
    count = np.maximum(sampled, 1.0)
    variance = (repeats * (1.0 - repeats) + 0.25 / count) / count * slope * slope
    return level, np.where(sampled >= _FEWEST_SAMPLED, variance, np.inf), sampled


def _of_level(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely two words are the same, of the level that `_mix` makes of it."""
    share = 1.0 / (1.0 + np.exp(np.clip(level, -50.0, 50.0)))
    return np.clip((1.0 + 2.0 * _SOFT) * share - _SOFT, 0.0, 1.0)
