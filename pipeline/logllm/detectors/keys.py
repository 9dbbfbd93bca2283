"""A key is one template of one service: the thing whose rate is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Keys"]


class Keys:
    """Dense numbers for (service, template) pairs, and what is known of each.

    Bounded: past `max_keys` a pair counts under its service's first template, past `max_services` a service counts
    as "(other)"; both are counted in `overflowed`.

    Shapes:
        service: int32[k], index into `services`. template: int32[k]. severity: uint8[k], the highest seen.
        total: int64[k], records so far. first_ns, last_ns: int64[k], event time of the first and latest record.
    """

    def __init__(self, *, max_keys: int = 50_000, max_services: int = 2_000) -> None:
        self._max_keys, self._max_services = max_keys, max_services
        self.services: list[str] = []
        self._service_index: dict[str, int] = {}
        self._lookup: list[NDArray[np.int32]] = []
        self.count = 0
        self.overflowed = 0
        self.service = np.zeros(0, np.int32)
        self.template = np.zeros(0, np.int32)
        self.severity = np.zeros(0, np.uint8)
        self.total = np.zeros(0, np.int64)
        self.first_ns = np.zeros(0, np.int64)
        self.last_ns = np.zeros(0, np.int64)

    def service_of(self, name: str) -> int:
        """The number of a service, a new one if need be."""
        index = self._service_index.get(name)
        if index is None:
            if len(self.services) >= self._max_services:
                self.overflowed += 1
                name = "(other)"
                if name in self._service_index:
                    return self._service_index[name]
            index = len(self.services)
            self._service_index[name] = index
            self.services.append(name)
            self._lookup.append(np.zeros(0, np.int32))
        return index

    def number(
        self, service_codes: NDArray[np.int32], service_names: list[str], templates: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], list[int]]:
        """Key numbers of a chunk's records, and the keys that are new with it.

        Shapes:
            service_codes: int32[n], index into service_names. templates: int32[n]. returns: int32[n], list of new.
        """
        before = self.count
        if len(service_names) == 1:
            return self._of_service(self.service_of(service_names[0]), templates), list(range(before, self.count))
        keys = np.empty(len(templates), np.int32)
        for code in np.flatnonzero(np.bincount(service_codes, minlength=len(service_names))):
            mask = service_codes == code
            keys[mask] = self._of_service(self.service_of(service_names[code]), templates[mask])
        return keys, list(range(before, self.count))

    def _of_service(self, service: int, templates: NDArray[np.int32]) -> NDArray[np.int32]:
        table = self._lookup[service]
        largest = int(templates.max()) + 1 if len(templates) else 0
        if largest > len(table):
            table = np.concatenate([table, np.full(max(largest, 2 * len(table), 64) - len(table), -1, np.int32)])
            self._lookup[service] = table
        keys = table[templates]
        missing = keys < 0
        if missing.any():
            for template in np.unique(templates[missing]):
                table[template] = self._new(service, int(template))
            keys = table[templates]
        return keys

    def _new(self, service: int, template: int) -> int:
        if self.count >= self._max_keys:
            self.overflowed += 1
            of_service = np.flatnonzero(self.service[: self.count] == service)
            return int(of_service[0]) if len(of_service) else 0
        key = self.count
        self.count += 1
        if key >= len(self.service):
            room = max(256, len(self.service))
            for name in _ARRAYS:
                setattr(self, name, np.pad(getattr(self, name), (0, room)))
        self.service[key] = service
        self.template[key] = template
        return key

    def tally(self, keys: NDArray[np.int32], time_ns: NDArray[np.int64], severity: NDArray[np.uint8]) -> None:
        """Count a chunk's records under their keys."""
        counts = np.bincount(keys, minlength=self.count)
        present = np.flatnonzero(counts)
        fresh = present[self.total[present] == 0]
        self.first_ns[fresh] = np.iinfo(np.int64).max
        self.total[: self.count] += counts
        if severity.any():
            np.maximum.at(self.severity, keys, severity)
        np.minimum.at(self.first_ns, keys, time_ns)
        np.maximum.at(self.last_ns, keys, time_ns)

    def of_template(self, template: int) -> list[int]:
        """The keys of a template, one a service."""
        keys = (int(table[template]) for table in self._lookup if template < len(table))
        return [key for key in keys if key >= 0]

    def merge_templates(self, old: int, new: int) -> list[tuple[int, int]]:
        """Template `old` became part of `new`. Returns the pairs of keys (old, new) whose counts must be added up.

        Where a service has no key of the new template yet, its key simply changes its template.
        """
        pairs = []
        for service, table in enumerate(self._lookup):
            key = int(table[old]) if old < len(table) else -1
            if key < 0:
                continue
            table[old] = -1
            there = int(table[new]) if new < len(table) else -1
            if there < 0:
                if new >= len(table):
                    table = np.concatenate([table, np.full(new + 1 - len(table), -1, np.int32)])
                    self._lookup[service] = table
                table[new] = key
                self.template[key] = new
            else:
                pairs.append((key, there))
                self.total[there] += self.total[key]
                self.total[key] = 0
                self.severity[there] = max(self.severity[there], self.severity[key])
                self.first_ns[there] = min(self.first_ns[there], self.first_ns[key])
        return pairs

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"services": self.services, **{name: pack_array(getattr(self, name)[: self.count]) for name in _ARRAYS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        for name, dtype in _ARRAYS.items():
            setattr(self, name, unpack_array(state[name], dtype))
        self.count = len(self.service)
        if any(len(getattr(self, name)) != self.count for name in _ARRAYS):
            raise StateError("saved keys: columns differ in length")
        self.services, self._service_index, self._lookup = [], {}, []
        for name in state["services"]:
            self.service_of(name)
        if self.count and (int(self.service.max()) >= len(self.services) or int(self.template.min()) < 0):
            raise StateError("saved keys: a key names a service that is not there")
        for service in range(len(self.services)):
            keys = np.flatnonzero(self.service == service)
            size = int(self.template[keys].max()) + 1 if len(keys) else 0
            table = np.full(size, -1, np.int32)
            table[self.template[keys]] = keys
            self._lookup[service] = table


_ARRAYS: dict[str, Any] = {
    "service": np.int32,
    "template": np.int32,
    "severity": np.uint8,
    "total": np.int64,
    "first_ns": np.int64,
    "last_ns": np.int64,
}
