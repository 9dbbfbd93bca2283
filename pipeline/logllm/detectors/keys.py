"""A key is one template of one service: the thing whose rate is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["Keys"]

_FEW_SERVICES = 8


class Keys:
    """Dense numbers for (service, template) pairs, and what is known of each. Numbers follow the first records.

    Bounded: past `max_keys` the number of a pair that is gone is given again; where there is none, all further pairs
    of a service share one key. Past `max_services` a service counts as "(other)". `overflowed` counts what was refused
    a number of its own, some of it again after a restart.

    Shapes:
        service: int32[k], index into `services`. template: int32[k], -1 where it is gone. severity: uint8[k], the
            highest seen.
        total: int64[k], records so far, 0 for a pair that is gone. first_ns, last_ns: int64[k], event time of the
        earliest and latest record.
    """

    def __init__(self, *, max_keys: int = 50_000, max_services: int = 2_000) -> None:
        self._max_keys, self._max_services = max_keys, max_services
        self.services: list[str] = []
        self._service_index: dict[str, int] = {}
        self._lookup: list[NDArray[np.int32]] = []
        self._free: list[int] = []
        self._shared: dict[int, int] = {}
        self._names: list[str] = []
        self._numbers = np.zeros(0, np.int32)
        self.count = 0
        self.overflowed = 0
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros(0, dtype))

    service: NDArray[np.int32]
    template: NDArray[np.int32]
    severity: NDArray[np.uint8]
    total: NDArray[np.int64]
    first_ns: NDArray[np.int64]
    last_ns: NDArray[np.int64]

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
        """Key numbers of some records, and the keys that are new with them.

        Shapes:
            service_codes: int32[n], index into service_names. templates: int32[n]. returns: int32[n], list of new.
        """
        new: list[int] = []
        if not len(templates):
            return np.zeros(0, np.int32), new
        if len(service_names) == 1:
            service = self.service_of(service_names[0])
            return self._of_service(service, templates, new), new
        services = self.services_of(service_codes, service_names)
        keys = self._known(services, templates)
        missing = np.flatnonzero(keys < 0)
        if len(missing):
            pairs = services[missing].astype(np.int64) << 32 | templates[missing]
            for at in missing[_firsts(pairs)].tolist():
                self._new(int(services[at]), int(templates[at]), new)
            keys = self._known(services, templates)
        return keys, new

    def services_of(self, codes: NDArray[np.int32], names: list[str]) -> NDArray[np.int32]:
        """The numbers of the services of some records, new ones if need be.

        Shapes:
            codes: int32[n], index into names. returns: int32[n], index into `services`.
        """
        if self._names is not names or len(self._numbers) != len(names):
            known = self._service_index
            self._names = names
            self._numbers = np.fromiter((known.get(name, -1) for name in names), np.int32, len(names))
        numbers = self._numbers[codes]
        if (numbers < 0).any():
            for code in codes[_firsts(codes)].tolist():
                if self._numbers[code] < 0:
                    self._numbers[code] = self.service_of(names[code])
            numbers = self._numbers[codes]
        return numbers

    def _known(self, services: NDArray[np.int32], templates: NDArray[np.int32]) -> NDArray[np.int32]:
        keys = np.empty(len(templates), np.int32)
        present = np.flatnonzero(np.bincount(services)).tolist()
        largest = int(templates.max())
        if len(present) <= _FEW_SERVICES:
            for service in present:
                mask = services == service
                keys[mask] = self._table(service, largest)[templates[mask]]
            return keys
        order = np.argsort(services, kind="stable")
        cuts = np.searchsorted(services[order], present).tolist()
        for service, start, end in zip(present, cuts, [*cuts[1:], len(order)], strict=True):
            at = order[start:end]
            keys[at] = self._table(service, int(templates[at].max()))[templates[at]]
        return keys

    def _of_service(self, service: int, templates: NDArray[np.int32], new: list[int]) -> NDArray[np.int32]:
        keys = self._table(service, int(templates.max()))[templates]
        missing = np.flatnonzero(keys < 0)
        if len(missing):
            for template in templates[missing][_firsts(templates[missing])].tolist():
                self._new(service, template, new)
            keys = self._lookup[service][templates]
        return keys

    def _table(self, service: int, largest: int) -> NDArray[np.int32]:
        table = self._lookup[service]
        more = largest + 1 - len(table)
        if more > 0:
            table = np.concatenate([table, np.full(max(more, len(table) // 4, 64), -1, np.int32)])
            self._lookup[service] = table
        return table

    def _new(self, service: int, template: int, new: list[int]) -> None:
        key = self._shared.get(service, -1)
        if self.count < self._max_keys:
            key = self.count
            self.count += 1
        elif self._free:
            key = self._free.pop(0)
        elif key < 0:
            self.overflowed += 1
            key = self._shared[service] = self.count
            self.count += 1
        else:
            self.overflowed += 1
            self._lookup[service][template] = key
            return
        if key >= len(self.service):
            room = max(256, len(self.service))
            for name in _ARRAYS:
                setattr(self, name, np.pad(getattr(self, name), (0, room)))
        self._lookup[service][template] = key
        self.service[key], self.template[key] = service, template
        self.severity[key] = self.last_ns[key] = 0
        new.append(key)

    def tally(self, keys: NDArray[np.int32], time_ns: NDArray[np.int64], severity: NDArray[np.uint8]) -> None:
        """Count some records under their keys."""
        counts = np.bincount(keys, minlength=self.count)
        present = np.flatnonzero(counts)
        self.first_ns[present[self.total[present] == 0]] = np.iinfo(np.int64).max
        self.total[present] += counts[present]
        if severity.any():
            np.maximum.at(self.severity, keys, severity)
        first, last = self.first_ns[present], self.last_ns[present]
        if bool((time_ns[1:] >= time_ns[:-1]).all()):
            # Of several assignments to one place the last one stays.
            self.first_ns[keys[::-1]] = time_ns[::-1]
            self.last_ns[keys] = time_ns
        else:
            np.minimum.at(self.first_ns, keys, time_ns)
            np.maximum.at(self.last_ns, keys, time_ns)
        self.first_ns[present] = np.minimum(self.first_ns[present], first)
        self.last_ns[present] = np.maximum(self.last_ns[present], last)

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
            shared = self._shared.get(service, -1)
            there = int(table[new]) if new < len(table) else -1
            if key == shared:
                continue
            if there < 0 or there == shared:
                self._table(service, new)[new] = key
                self.template[key] = new
                continue
            pairs.append((key, there))
            self.total[there] += self.total[key]
            self.severity[there] = max(self.severity[there], self.severity[key])
            self.first_ns[there] = min(self.first_ns[there], self.first_ns[key])
            self.last_ns[there] = max(self.last_ns[there], self.last_ns[key])
            self.total[key] = 0
            self.template[key] = new
        return pairs

    def of_template(self, template: int) -> list[int]:
        """The keys of a template, one a service."""
        keys = (int(table[template]) for table in self._lookup if template < len(table))
        return [key for key in keys if key >= 0]

    def retire(self, templates: Sequence[int]) -> list[int]:
        """Templates are gone for good: no record will be counted under their keys. Returns those, one a service."""
        gone = []
        having = np.flatnonzero(np.isin(self.template[: self.count], templates))
        for key, service, template in zip(
            having.tolist(), self.service[having].tolist(), self.template[having].tolist(), strict=True
        ):
            table = self._lookup[service]
            if template < len(table) and table[template] == key and key != self._shared.get(service):
                table[template] = -1
                self.total[key] = 0
                # The template's number may be given to another: nothing is found under this one.
                self.template[key] = -1
                gone.append(key)
        for service in self._shared:
            table = self._lookup[service]
            table[[template for template in templates if template < len(table)]] = -1
        return gone

    def free(self, keys: Iterable[int]) -> None:
        """These keys are gone and nothing refers to them: their numbers may be given again, once all are in use."""
        self._free.extend(keys)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "services": list(self.services),
            "free": list(self._free),
            "shared": [list(pair) for pair in self._shared.items()],
            "overflowed": self.overflowed,
            **{name: pack_array(getattr(self, name)[: self.count]) for name in _ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state[name], dtype) for name, dtype in _ARRAYS.items()}
        shared = {int(service): int(key) for service, key in state["shared"]}
        services = [str(name) for name in state["services"]]
        free = [int(key) for key in state["free"]]
        count = arrays["service"].size
        if any(array.shape != (count,) for array in arrays.values()):
            raise StateError("saved keys: columns differ in length")
        numbers = [*free, *shared.values(), int(arrays["service"].min(initial=0))]
        numbers += [
            int(arrays["template"][arrays["total"] > 0].min(initial=0)),
            int(arrays["template"].min(initial=0)) + 1,
        ]
        if len(set(services)) != len(services) or any(number < 0 for number in numbers):
            raise StateError("saved keys: numbers do not fit")
        largest = max([*free, *shared.values()], default=-1)
        if largest >= count or int(arrays["service"].max(initial=-1)) >= len(services):
            raise StateError("saved keys: a key names a service that is not there, or there is no such key")
        for name, array in arrays.items():
            setattr(self, name, array)
        self.count, self.services, self._free, self._shared = count, services, free, shared
        self.overflowed = int(state["overflowed"])
        self._service_index = {name: index for index, name in enumerate(services)}
        self._names, self._numbers = [], np.zeros(0, np.int32)
        self._lookup = []
        for service in range(len(services)):
            keys = np.flatnonzero((self.service == service) & (self.total > 0))
            table = np.full(int(self.template[keys].max(initial=-1)) + 1, -1, np.int32)
            table[self.template[keys]] = keys
            self._lookup.append(table)


def _firsts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where each distinct value comes first, in that order."""
    at: NDArray[np.int64] = np.sort(np.unique(values, return_index=True)[1])
    return at


_ARRAYS: dict[str, Any] = {
    "service": np.int32,
    "template": np.int32,
    "severity": np.uint8,
    "total": np.int64,
    "first_ns": np.int64,
    "last_ns": np.int64,
}
