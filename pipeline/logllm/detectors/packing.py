"""Arrays in saved state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["check_shapes", "pack_array", "unpack_array"]


def pack_array(array: NDArray[Any]) -> dict[str, Any]:
    """An array as a msgpack-able mapping; `unpack_array` reads it back."""
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": np.ascontiguousarray(array).tobytes()}


def unpack_array(packed: dict[str, Any], dtype: Any) -> NDArray[Any]:
    """The array again. Raises StateError where dtype, shape and bytes do not agree."""
    try:
        shape = tuple(int(n) for n in packed["shape"])
        if np.dtype(packed["dtype"]) != np.dtype(dtype):
            raise StateError(f"saved array is {packed['dtype']}, expected {np.dtype(dtype).str}")
        return np.frombuffer(packed["data"], dtype=dtype).reshape(shape).copy()
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"saved array is damaged: {error}") from error


def check_shapes(what: str, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises StateError, naming the array, where one of a saved state has not the shape it must have."""
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise StateError(f"saved {what}: {name} has shape {array.shape}, expected {shapes[name]}")
