"""Tells one destination what is due: each by itself while there is room for it, else all of it in one digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.notify.dispatch import groups
from logllm.notify.dispatch.compose import Item
from logllm.notify.dispatch.hold import read_labels
from logllm.notify.dispatch.storm import Burst
from logllm.notify.dispatch.tellings import Row, rows
from logllm.notify.dispatch.told import closed_thread, forget_empty, mark

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Sequence

    from logllm.notify.dispatch.compose import Composer
    from logllm.notify.dispatch.hold import Gate
    from logllm.notify.dispatch.tellings import Post, Traits
    from logllm.notify.notification import Kind, Notification

__all__ = ["Teller"]

_HELD_S = 60.0

_NEXT = """SELECT
    (SELECT min(due_s) FROM groups WHERE destination = ?1 AND due_s IS NOT NULL),
    (SELECT min(repeat_due_s) FROM groups WHERE destination = ?1 AND repeat_due_s IS NOT NULL),
    (SELECT min(due_s) FROM tellings WHERE destination = ?1 AND way = 'unseen' AND hold = ''),
    (SELECT 0.0 WHERE EXISTS (SELECT 1 FROM tellings WHERE destination = ?1 AND way = 'urgent' AND hold = '')),
    (SELECT 0.0 WHERE EXISTS (SELECT 1 FROM tellings WHERE destination = ?1 AND step > 0)),
    (SELECT 0.0 WHERE EXISTS (SELECT 1 FROM tellings WHERE destination = ?1 AND way = 'edit' AND hold = '')),
    (SELECT 0.0 WHERE EXISTS (SELECT 1 FROM tellings WHERE destination = ?1 AND explain > 0 AND way IS NULL))
"""

Sort = Literal["escalation", "news", "reminder", "unseen"]


class _Message(msgspec.Struct, frozen=True):
    """What would be told by one message, if there is room for it.

    Args:
        others: More of the group waits, and goes on waiting.
    """

    sort: Sort
    rows: list[Row]
    group: str = ""
    others: bool = False

    def rank(self) -> tuple[int, int, str]:
        """Gravest first, then what is most urgent."""
        order: dict[Sort, int] = {"escalation": 0, "news": 1, "reminder": 2, "unseen": 3}
        return (-max(row.severity for row in self.rows), order[self.sort], min(row.time for row in self.rows))


class Teller:
    """Makes messages of what waits and notes what was told, in the caller's transaction."""

    def __init__(self, outbox: Post, composer: Composer, gate: Gate, tally: Counter[str]) -> None:
        self._outbox = outbox
        self._composer = composer
        self._gate = gate
        self._tally = tally

    def tell(self, db: sqlite3.Connection, destination: str, traits: Traits, now_s: float) -> float | None:
        """Tell what is due; returns when there will be something again. Raises StateError."""
        burst = Burst(db, destination, traits.burst, now_s)
        next_s = self._next_s(db, destination, traits, burst)
        if next_s is None or next_s > now_s:
            return next_s
        self._gate.sift(db, destination)
        forget_empty(db, destination, now_s)
        if traits.edits:
            self._edit(db, destination, burst, now_s)
        if burst.free:
            self._disturb(db, destination, burst, now_s)
        if not traits.edits:
            self._explain(db, destination, burst, now_s)
        return self._next_s(db, destination, traits, Burst(db, destination, traits.burst, now_s))

    @staticmethod
    def _next_s(db: sqlite3.Connection, destination: str, traits: Traits, burst: Burst) -> float | None:
        row = db.execute(_NEXT, (destination,)).fetchone()
        *disturbing, edit_s, explain_s = row
        silent = [edit_s]
        (silent if traits.edits else disturbing).append(explain_s)
        due = [max(due_s, burst.free_s) for due_s in disturbing if due_s is not None]
        due += [max(due_s, burst.edits_s) for due_s in silent if due_s is not None]
        return min(due, default=None)

    def _edit(self, db: sqlite3.Connection, destination: str, burst: Burst, now_s: float) -> None:
        """Change messages that are there."""
        waiting = rows(db, "destination = ? AND way = 'edit' AND hold = ''", destination)
        for row in waiting[: burst.edits]:
            self._put_single(db, destination, row, _kind(row), now_s)
            burst.spend("edit")
        if burst.edits:
            explained = rows(db, "destination = ? AND explain > 0 AND way IS NULL", destination)
            for row in explained[: burst.edits]:
                self._put_explanation(db, destination, row, now_s)
                burst.spend("edit")

    def _explain(self, db: sqlite3.Connection, destination: str, burst: Burst, now_s: float) -> None:
        """Explanations that come as messages of their own use what room is left."""
        if burst.free:
            for row in rows(db, "destination = ? AND explain > 0 AND way IS NULL", destination)[: burst.free]:
                self._put_explanation(db, destination, row, now_s)
                burst.spend("message")

    def _disturb(self, db: sqlite3.Connection, destination: str, burst: Burst, now_s: float) -> None:
        wanted = sorted(self._wanted(db, destination, now_s), key=_Message.rank)
        room = len(wanted)
        if room > burst.free:
            room = 0 if burst.goes_on else burst.free - 1
        for message in wanted[:room]:
            burst.spend("message")
            self._put(db, destination, message, now_s)
        rest = wanted[room:]
        if rest:
            burst.spend("storm")
            self._put_storm(db, destination, rest, now_s)

    def _wanted(self, db: sqlite3.Connection, destination: str, now_s: float) -> list[_Message]:
        """One for each message that would be sent now if there were no bound."""
        wanted = [_Message("escalation", [row]) for row in rows(db, "destination = ? AND step > 0", destination)]
        escalated = {message.rows[0].incident for message in wanted}
        by_group: dict[str, list[Row]] = {}
        due = dict(
            db.execute(
                "SELECT grp, first FROM groups WHERE destination = ? AND due_s <= ?", (destination, now_s)
            ).fetchall()
        )
        for row in rows(db, "destination = ? AND way IN ('group', 'urgent') AND hold = ''", destination):
            if row.incident in escalated:
                continue
            if row.way == "urgent":
                wanted.append(_Message("news", [row]))
            elif row.group in due:
                by_group.setdefault(row.group, []).append(row)
        for key, found in by_group.items():
            # A quiet group tells its gravest at once, so that it has a thread; the others wait for company.
            told = [next((row for row in found if row.news != "resolve"), found[0])] if due[key] else found
            wanted.append(_Message("news", told, key, others=len(told) < len(found)))
        for key, found in self._reminders(db, destination, now_s):
            if key not in by_group:
                wanted.append(_Message("reminder", found, key))
        unseen = rows(db, "destination = ? AND way = 'unseen' AND hold = '' AND due_s <= ?", destination, now_s)
        if unseen:
            wanted.append(_Message("unseen", unseen))
        return wanted

    def _reminders(self, db: sqlite3.Connection, destination: str, now_s: float) -> list[tuple[str, list[Row]]]:
        """What is still open and nobody acknowledged, of the groups whose time it is."""
        keys = db.execute(
            "SELECT grp FROM groups WHERE destination = ? AND repeat_due_s <= ?", (destination, now_s)
        ).fetchall()
        found = []
        for (key,) in keys:
            open_ = rows(
                db,
                "destination = ? AND grp = ? AND told_s IS NOT NULL AND incident IN (SELECT incident FROM "
                "dispatch_incidents WHERE dispatch_incidents.incident = tellings.incident AND is_open AND NOT "
                "acknowledged)",
                destination,
                key,
            )
            heard = [row for row in open_ if not self._is_held(db, row)]
            if heard:
                found.append((key, heard))
                continue
            db.execute(
                "UPDATE groups SET repeat_due_s = ? WHERE destination = ? AND grp = ?",
                (now_s + _HELD_S if open_ else None, destination, key),
            )
        return found

    def _is_held(self, db: sqlite3.Connection, row: Row) -> bool:
        (kept,) = db.execute("SELECT labels FROM dispatch_incidents WHERE incident = ?", (row.incident,)).fetchone()
        return bool(self._gate.reason(row.incident, read_labels(kept), row.route))

    def _put(self, db: sqlite3.Connection, destination: str, message: _Message, now_s: float) -> None:
        """One message, as it was wanted."""
        if message.sort == "reminder":
            self._remind(db, destination, message, now_s)
            return
        found = message.rows
        thread = closed_thread(db, destination, found)
        if len(found) == 1 and not thread:
            kind: Kind = "escalation" if message.sort == "escalation" else _kind(found[0])
            self._put_single(db, destination, found[0], kind, now_s)
        else:
            if message.group:
                # A message is going anyway: it accounts for what ended before anybody heard of it.
                found = found + rows(db, "destination = ? AND grp = ? AND way = 'unseen'", destination, message.group)
            self._put_digest(db, destination, [_item(row) for row in found], found, now_s, thread)
        if message.group:
            groups.told(db, destination, [message.group], now_s)
        if message.others:
            groups.collect(db, destination, message.group)

    def _put_storm(self, db: sqlite3.Connection, destination: str, wanted: Sequence[_Message], now_s: float) -> None:
        """All that is wanted in one message, and with it all else that waits."""
        waiting = rows(db, "destination = ? AND way IN ('group', 'urgent', 'unseen') AND hold = ''", destination)
        items = {row.incident: _item(row) for row in waiting}
        told = {row.incident: row for row in waiting}
        for message in wanted:
            if message.sort == "reminder":
                number = groups.reminded(db, destination, message.group, now_s)
                for row in message.rows:
                    items.setdefault(row.incident, _item(row, "reminder", number))
            elif message.sort == "escalation":
                row = message.rows[0]
                items[row.incident] = _item(row, "escalation", row.step or 0)
                told[row.incident] = row
        thread = closed_thread(db, destination, waiting) if len(items) == len(waiting) else ""
        self._put_digest(db, destination, list(items.values()), list(told.values()), now_s, thread)
        groups.told(db, destination, {row.group for row in waiting if row.way == "group"}, now_s, is_storm=True)
        self._tally["escalated"] += sum(item.word == "escalation" for item in items.values())

    def _put_single(self, db: sqlite3.Connection, destination: str, row: Row, kind: Kind, now_s: float) -> None:
        item = _item(row, kind, row.step or 0) if kind == "escalation" else _item(row)
        raised = kind == "update" and row.way == "urgent"
        told = self._composer.single(db, destination, item, kind, news=str(row.step or ""), raised=raised)
        self._send(destination, told, [item], now_s)
        mark(db, destination, [row], now_s, explained=told.explanation is not None)
        self._tally["escalated" if kind == "escalation" else "told"] += 1

    def _put_digest(
        self,
        db: sqlite3.Connection,
        destination: str,
        items: list[Item],
        told: list[Row],
        now_s: float,
        thread: str,
    ) -> None:
        notification = self._composer.several(db, destination, items, "digest", thread)
        self._send(destination, notification, items, now_s)
        mark(db, destination, told, now_s, thread=notification.id)
        self._tally["digested"] += len(items)

    def _put_explanation(self, db: sqlite3.Connection, destination: str, row: Row, now_s: float) -> None:
        item = _item(row, "explanation")
        told = self._composer.single(db, destination, item, "explanation")
        self._send(destination, told, [item], now_s)
        db.execute(
            "UPDATE tellings SET explain = NULL WHERE destination = ? AND incident = ?", (destination, row.incident)
        )

    def _remind(self, db: sqlite3.Connection, destination: str, message: _Message, now_s: float) -> None:
        number = groups.reminded(db, destination, message.group, now_s)
        items = [_item(row, "reminder", number) for row in message.rows]
        if len(items) == 1:
            told = self._composer.single(db, destination, items[0], "reminder", news=str(number))
            mark(db, destination, message.rows, now_s, explained=told.explanation is not None)
        else:
            told = self._composer.several(db, destination, items, "reminder")
        self._send(destination, told, items, now_s)
        self._tally["repeated"] += 1

    def _send(self, destination: str, notification: Notification, items: Sequence[Item], now_s: float) -> None:
        covers = [(item.incident, event) for item in items for event in item.events]
        self._outbox.put(destination, notification, now_s=now_s, covers=covers)


def _kind(row: Row) -> Kind:
    kinds: dict[str, Kind] = {"open": "open", "update": "update", "resolve": "resolve"}
    return kinds[row.news]


def _item(row: Row, word: str = "", number: int = 0) -> Item:
    """What a message says of a row: its news, or that it is a reminder of it, an escalation, an explanation."""
    news = "unseen" if row.way == "unseen" else row.news
    events = row.events.split()
    return Item(
        row.incident,
        row.route,
        row.service,
        row.severity,
        row.time,
        word or news,
        tuple([word, *events] if word else events),
        number,
    )
