"""Requests that wait for a worker, taken in turn so that nobody's many keep out another's one."""

from __future__ import annotations

import collections
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ticket", "Turns"]

_Result = TypeVar("_Result")


class Ticket(Generic[_Result]):
    """One request's place. Cancelling `future` gives it up; until then its end is the deadline."""

    def __init__(self, caller: str, since_s: float, ends_s: float) -> None:
        self.caller = caller
        self.since_s = since_s
        self.ends_s = ends_s
        self.future: Future[_Result] = Future()


class Turns(Generic[_Result]):
    """First come, first served for each caller; callers in turn. Not for several threads at once."""

    def __init__(self) -> None:
        self._callers: collections.OrderedDict[str, collections.deque[Ticket[_Result]]] = collections.OrderedDict()
        self._again: collections.deque[Ticket[_Result]] = collections.deque()

    def __len__(self) -> int:
        return len(self._again) + sum(map(len, self._callers.values()))

    def put(self, ticket: Ticket[_Result], *, again: bool = False) -> None:
        """`again`: it has been its turn once already, and it goes before all others."""
        if again:
            self._again.append(ticket)
        else:
            self._callers.setdefault(ticket.caller, collections.deque()).append(ticket)

    def take(self) -> Ticket[_Result] | None:
        """The next that is still wanted; its future is running then."""
        while self:
            if self._again:
                ticket = self._again.popleft()
            else:
                caller, mine = next(iter(self._callers.items()))
                ticket = mine.popleft()
                del self._callers[caller]
                if mine:
                    self._callers[caller] = mine
            if ticket.future.set_running_or_notify_cancel():
                return ticket
        return None

    def oldest_s(self) -> float | None:
        """Since when the first of those that wait has waited."""
        return min((ticket.since_s for ticket in self._every()), default=None)

    def remove(self, which: Callable[[Ticket[_Result]], bool]) -> list[Ticket[_Result]]:
        """Take out those, and those that were given up; the former, their futures running."""
        out = []
        kept: Turns[_Result] = Turns()
        for ticket in self._every():
            if ticket.future.cancelled():
                continue
            if not which(ticket):
                kept.put(ticket, again=ticket in self._again)
            elif ticket.future.set_running_or_notify_cancel():
                out.append(ticket)
        self._callers, self._again = kept._callers, kept._again
        return out

    def _every(self) -> list[Ticket[_Result]]:
        return [*self._again, *(ticket for mine in self._callers.values() for ticket in mine)]
