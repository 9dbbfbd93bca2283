"""What a key is called and how bad it is, also when its template has been forgotten; and which keys are news."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.lexicon import sounds_like
from logllm.events import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.slices import Slice

__all__ = ["FirstSight", "Names"]

GONE = ("", "(a template long gone)")


class Names:
    """Texts and severities of keys.

    Args:
        template: The id and the text of a template's index; raises IndexError where it is forgotten.

    Shapes:
        bad: bool[k], keys whose template sounds like an error.
    """

    def __init__(self, keys: Keys, template: Callable[[int], tuple[str, str]]) -> None:
        self._keys = keys
        self._template = template
        self._first: list[tuple[str, str]] = []
        self._sounds = np.zeros(0, np.uint8)
        self.bad: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def of(self, key: int) -> tuple[str, str]:
        """Id and text of a key's template, as it stands or as it first was if it is forgotten."""
        try:
            return self._template(int(self._keys.template[key]))
        except IndexError:
            return self._first[key] if key < len(self._first) else GONE

    def severity(self, key: int) -> int:
        """What a key's records say of themselves, or how its template sounds."""
        return int(self._keys.severity[key]) or int(self._sounds[key])

    def listen(self, new: list[int]) -> None:
        """Take new keys in."""
        if not new:
            return
        more = self._keys.count - len(self._sounds)
        self._sounds, self.bad = np.pad(self._sounds, (0, more)), np.pad(self.bad, (0, more))
        self._first.extend([GONE] * more)
        for key in new:
            try:
                name = self._template(int(self._keys.template[key]))
            except IndexError:
                name = GONE
            self._first[key] = name
            self._sounds[key] = sounds_like(name[1])
            self.bad[key] = self._sounds[key] >= Severity.ERROR

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy: the sounds, and the names that cannot be asked for any more."""
        gone = {}
        for key, name in enumerate(self._first):
            try:
                self._template(int(self._keys.template[key]))
            except IndexError:
                gone[str(key)] = list(name)
        return {"sounds": self._sounds.tobytes(), "gone": gone}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. The keys must have been restored. Raises ValueError where it does not fit them."""
        sounds = np.frombuffer(state["sounds"], np.uint8)
        if len(sounds) != self._keys.count:
            raise ValueError(f"sounds of {len(sounds)} keys, expected {self._keys.count}")
        gone = {int(key): (str(name[0]), str(name[1])) for key, name in state["gone"].items()}
        self._first = []
        for key in range(self._keys.count):
            try:
                self._first.append(self._template(int(self._keys.template[key])))
            except IndexError:
                self._first.append(gone.get(key, GONE))
        self._sounds, self.bad = sounds.copy(), sounds >= Severity.ERROR


class FirstSight:
    """Which keys brought a template nobody had seen, and in which closed window they were counted first."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.bool_)
        self._waiting: dict[int, int] = {}

    @property
    def waiting(self) -> frozenset[int]:
        """The keys that no closed window has counted yet."""
        return frozenset(self._waiting)

    def expect(self, keys: list[int], templates: NDArray[np.int32]) -> None:
        """Take new keys in; those of a template known already, from another service, are no news.

        Shapes:
            templates: int32[k], the template of each key.
        """
        for key in keys:
            template = int(templates[key])
            self._reserve(template)
            if not self._known[template]:
                self._known[template] = True
                self._waiting[key] = template

    def _reserve(self, template: int) -> None:
        if template >= len(self._known):
            self._known = np.pad(self._known, (0, max(1024, template + 1)))

    def merge_templates(self, old: int, new: int) -> None:
        """Template `old` became part of template `new`: they are news together, or neither is."""
        self._reserve(max(old, new))
        waiting = set(self._waiting.values())
        settled = any(self._known[each] and each not in waiting for each in (old, new))
        self._known[new] |= self._known[old]
        mine = sorted(key for key, template in self._waiting.items() if template in (old, new))
        for key in mine:
            del self._waiting[key]
        if mine and not settled:
            self._waiting[mine[0]] = new

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        if old in self._waiting:
            self._waiting[new] = self._waiting.pop(old)

    def forget_templates(self, templates: Sequence[int]) -> None:
        """Templates are gone, and their numbers may be given to others."""
        self._known[[template for template in templates if template < len(self._known)]] = False

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are no news any more."""
        for key in keys:
            self._waiting.pop(key, None)

    def counted(self, window_slice: Slice) -> dict[int, list[int]]:
        """Window -> keys that are first counted in it; they are told once."""
        if not self._waiting:
            return {}
        waiting = np.array(sorted(key for key in self._waiting if key < window_slice.counts.shape[1]), np.int64)
        counted = window_slice.counts[:, waiting] > 0
        new: dict[int, list[int]] = {}
        for at in np.flatnonzero(counted.any(axis=0)).tolist():
            key = int(waiting[at])
            del self._waiting[key]
            new.setdefault(window_slice.first + int(counted[:, at].argmax()), []).append(key)
        return new

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"known": np.flatnonzero(self._known).tolist(), "waiting": sorted(self._waiting.items())}

    def restore(self, state: dict[str, Any], templates: int) -> None:
        """Take a copy back, for so many templates."""
        self._known = np.zeros(templates, np.bool_)
        self._known[[template for template in state["known"] if 0 <= template < templates]] = True
        self._waiting = {int(key): int(template) for key, template in state["waiting"]}
