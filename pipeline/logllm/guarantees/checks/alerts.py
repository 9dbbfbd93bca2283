"""Alerts without a model, and what the service talks to."""

from __future__ import annotations

import ipaddress
import select
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logllm.guarantees.scene import incident_of, play
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wire import numbered

if TYPE_CHECKING:
    from logllm.guarantees.child import Child
    from logllm.guarantees.place import Place
    from logllm.guarantees.wire import Sender

__all__ = ["nothing_leaves", "without_a_model"]

_LOOK_S = 0.005
_FEWEST_LOOKS = 20
_LOOKED_UP = 3
_LOOK_UP_EVERY = 50
_TABLES = ("tcp", "tcp6", "udp", "udp6")


def without_a_model(place: Place) -> str:
    """Let the same fault be judged with a model that never answers, and with none."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        child = place.serve(model=f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        sender = place.connect(child)
        first = _alert(child, sender, place)
        asked = bool(select.select([silent], [], [], place.patience_s)[0])
        sender.deliver(numbered([0], "while the model hangs"), ["while the model hangs"])
    without = place.serve()
    second = _alert(without, place.connect(without), place)
    without.end()

    if not asked:
        raise Unchecked("the model was never asked")
    for incident in (first, second):
        if not incident.get("seen") or not incident.get("evidence"):
            raise Broken("an incident was told without its facts")
    return f"told with its facts by a service whose model hangs, and by one without: {first.get('title', '')!s:.60}"


def _alert(child: Child, sender: Sender, place: Place) -> dict[str, Any]:
    play(sender)
    return incident_of(child, "shop", place.patience_s)


def nothing_leaves(place: Place) -> str:
    """Look at every socket of the process again and again, from its start to its end."""
    child = place.serve("--sink", f"file:{place.folder / 'records.ndjson'}", "--data-dir", str(place.folder / "data"))
    watch = _Watch(child.pid)
    try:
        sender = place.connect(child)
        _alert(child, sender, place)
        child.get("/metrics")
        sender.deliver(numbered([0], "last"), ["last"])
        child.end()
    finally:
        watch.stop()
    if watch.beyond:
        raise Broken(f"it has a socket to {', '.join(sorted(watch.beyond))}")
    if watch.looks < _FEWEST_LOOKS or not watch.local:
        raise Unchecked("the sockets of a process cannot be seen in /proc here")
    return f"an incident found; {watch.looks} looks at its sockets, {len(watch.local)} peers seen, all on loopback"


class _Watch:
    """Looks at whom a process and its children are connected to until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.looks = 0
        self.local: set[str] = set()
        self.beyond: set[str] = set()
        self._pid = pid
        self._seen: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            self.looks += 1
            mine = {inode for pid in _family(self._pid) for inode in _sockets(pid)}
            # The kernel's tables may be long. A socket is not connected when it is made, so it is looked up again.
            if any(self._seen[inode] < _LOOKED_UP for inode in mine) or self.looks % _LOOK_UP_EVERY == 0:
                self._look_up(mine)
            self._seen.update(mine)

    def _look_up(self, inodes: Set[str]) -> None:
        for host, port in _peers(self._pid, inodes):
            (self.local if host.is_loopback else self.beyond).add(f"{host} port {port}")

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join(10.0)


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            for task in tasks:
                found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        except OSError:
            continue  # It has ended, or the kernel does not tell.
    return found


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets."""
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return  # It has ended.
    for link in links:
        try:
            target = str(link.readlink())
        except OSError:
            continue  # It has closed this one just now.
        if target.startswith("socket:["):
            yield target[8:-1]


def _peers(pid: int, inodes: Set[str]) -> list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Whom sockets lead to, of those that lead to somebody."""
    try:
        tables = [Path(f"/proc/{pid}/net/{name}") for name in _TABLES]
        rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    peers = (_address(row[2]) for row in rows if len(row) > 9 and row[9] in inodes)
    return [(host, port) for host, port in peers if port]


def _address(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """An address of `/proc/net`: words of four bytes in the machine's own order, then the port.

    >>> _address("0100007F:1F90")
    (IPv4Address('127.0.0.1'), 8080)
    """
    host, _, port = text.partition(":")
    raw = bytes.fromhex(host)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    found = ipaddress.ip_address(raw)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found, int(port, 16)
