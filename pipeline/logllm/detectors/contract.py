"""What every detector owes to `Detection`: asked once a slice, over all keys at once, and it can be saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from logllm.detectors.slices import Slice
    from logllm.events import Anomaly, Columns

__all__ = ["Detector", "Reader", "Rebasing", "Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Records on their way into the windows.

    Shapes:
        keys: int32[n], the key of each.
        window: int64[n], the window each is counted in: its own, or the oldest one that is still open.
    """

    columns: Columns
    keys: NDArray[np.int32]
    window: NDArray[np.int64]


@runtime_checkable
class Reader(Protocol):
    """A detector that reads more of the records than that they came."""

    def see(self, seen: Seen) -> None:
        """Take some records in, in their order, before the window closes that they are in. Cut anywhere."""


@runtime_checkable
class Rebasing(Protocol):
    """A detector that finds out what is normal from now on. Asked between its `judge` and its `learn`."""

    def rebased(self, window_slice: Slice) -> NDArray[np.bool_]:
        """bool[k]: keys that are to learn in this slice even where incidents hold them back."""

    def ratios(self, window_slice: Slice) -> NDArray[np.float64]:
        """float64[k]: by what their means are to be multiplied, once, before they learn this slice."""


class Detector(Protocol):
    """Judges closed windows: `judge`, then `learn`, with each slice; nothing is learned by judging.

    What is found does not depend on how a block's windows are cut into slices, nor on a restart in between. Where
    `window_slice.gap` is not 0 nothing is known of the windows before it; where it is negative, time went back.
    """

    kind: str
    """The `Anomaly.kind` it gives."""

    @property
    def tested(self) -> int:
        """Tests it makes in a window now; the budget is divided by it."""

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """What is odd, in order of windows.

        Args:
            level: The tail probability below which a test is worth telling; `surprise` is -log10 of the one found.
        """

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in that was just judged.

        Shapes:
            held: bool[k], keys of open incidents: what they bring is no example of what is normal.
        """

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone for good, and their numbers may be given to others. Many are asked of at once."""

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy, open windows included."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
