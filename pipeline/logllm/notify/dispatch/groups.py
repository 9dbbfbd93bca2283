"""Incidents that are told together: a destination, a route, and the values of the route's `group_by`.

The words and their defaults are Alertmanager's. A group that has been quiet tells its first incident at once, of
several the gravest; what comes within `group_wait_s` (30 s) is collected and told together; from then on its news is
told at most every `group_interval_s` (5 min). What has ended is in no hurry: a quiet group collects it for
`group_wait_s`. While something is open that nobody acknowledged, the group is told again `repeat_interval_s` (4 h)
after its last message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from logllm.notify.notification import notification_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from logllm.notify.routing.plan import Labels, Plan

__all__ = ["GROUPS_SCHEMA", "Group", "alarm", "call", "collect", "enter", "find", "group_key", "reminded", "told"]

GROUPS_SCHEMA = """
CREATE TABLE IF NOT EXISTS groups (
    destination TEXT NOT NULL,
    grp TEXT NOT NULL,
    wait_s REAL NOT NULL,
    interval_s REAL NOT NULL,
    repeat_s REAL NOT NULL,
    last_s REAL,
    collect_until_s REAL NOT NULL DEFAULT 0,
    due_s REAL,
    first INTEGER NOT NULL DEFAULT 0,
    critical INTEGER NOT NULL DEFAULT 0,
    repeat_due_s REAL,
    repeats INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (destination, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS groups_due ON groups (destination, due_s) WHERE due_s IS NOT NULL;
CREATE INDEX IF NOT EXISTS groups_repeat ON groups (destination, repeat_due_s) WHERE repeat_due_s IS NOT NULL;
"""


class Group(msgspec.Struct, frozen=True):
    """A group's times, Unix seconds.

    Args:
        last_s: Its last message that disturbed, None before there is one.
        collect_until_s: End of the wait that the first message of a quiet group began.
        due_s: When what waits is told, None where nothing does.
        first: What waits ends a quiet time.
        critical: Something critical was told, or is about to be, since it was quiet.
    """

    wait_s: float
    interval_s: float
    repeat_s: float
    last_s: float | None = None
    collect_until_s: float = 0.0
    due_s: float | None = None
    first: int = 0
    critical: int = 0

    def is_quiet(self, now_s: float) -> bool:
        """Whether news would be told at once."""
        return self.last_s is None or not 0 <= now_s - self.last_s < self.interval_s

    def next_s(self, now_s: float, *, patient: bool) -> float:
        """When news of now may be told."""
        if self.last_s is None or self.is_quiet(now_s):
            return now_s + self.wait_s if patient else now_s
        return self.collect_until_s if now_s < self.collect_until_s else self.last_s + self.interval_s


def group_key(plan: Plan, labels: Labels, incident: str) -> str:
    """The same for incidents that are told together; `...` in `group_by` is each incident by itself."""
    if "..." in plan.group_by:
        return notification_id(plan.route, incident)
    return notification_id(plan.route, *(",".join(labels.get(label, ("",))) for label in plan.group_by))


def enter(db: sqlite3.Connection, destination: str, key: str, plan: Plan) -> Group:
    """The group, made where it is new; its intervals are the plan's from now on."""
    times = (plan.group_wait_s, plan.group_interval_s, plan.repeat_interval_s)
    group = find(db, destination, key)
    if group is None:
        db.execute("INSERT INTO groups (destination, grp, wait_s, interval_s, repeat_s) VALUES (?, ?, ?, ?, ?)",
                   (destination, key, *times))  # fmt: skip
        return Group(*times)
    if (group.wait_s, group.interval_s, group.repeat_s) != times:
        db.execute("UPDATE groups SET wait_s = ?, interval_s = ?, repeat_s = ? WHERE destination = ? AND grp = ?",
                   (*times, destination, key))  # fmt: skip
        return msgspec.structs.replace(group, wait_s=times[0], interval_s=times[1], repeat_s=times[2])
    return group


def find(db: sqlite3.Connection, destination: str, key: str) -> Group | None:
    """The group as it is kept."""
    row = db.execute(
        "SELECT wait_s, interval_s, repeat_s, last_s, collect_until_s, due_s, first, critical "
        "FROM groups WHERE destination = ? AND grp = ?",
        (destination, key),
    ).fetchone()
    return None if row is None else Group(*row)


def call(
    db: sqlite3.Connection,
    destination: str,
    key: str,
    group: Group,
    now_s: float,
    *,
    patient: bool = False,
    critical: bool = False,
) -> None:
    """The group has news that waits.

    Args:
        patient: Nobody is in a hurry to hear it: something has ended.
        critical: It is critical.
    """
    due_s = group.next_s(now_s, patient=patient)
    quiet = group.is_quiet(now_s)
    grave = int(critical or (group.critical and not (quiet and group.due_s is None)))
    if group.due_s is not None and group.due_s <= due_s:
        if grave == group.critical:
            return
        due_s, first = group.due_s, group.first
    else:
        first = int(quiet and not patient)
    db.execute(
        "UPDATE groups SET due_s = ?, first = ?, critical = ? WHERE destination = ? AND grp = ?",
        (due_s, first, grave, destination, key),
    )


def told(
    db: sqlite3.Connection,
    destination: str,
    keys: Iterable[str],
    now_s: float,
    *,
    is_storm: bool = False,
) -> None:
    """Groups have been told what waited.

    Args:
        is_storm: Together with others: company is not waited for any more.
    """
    db.executemany(
        "UPDATE groups SET last_s = ?1, collect_until_s = CASE WHEN first AND ?2 THEN ?1 + wait_s ELSE 0 END, "
        "due_s = NULL, first = 0, repeat_due_s = ?1 + repeat_s WHERE destination = ?3 AND grp = ?4",
        [(now_s, not is_storm, destination, key) for key in keys],
    )


def collect(db: sqlite3.Connection, destination: str, key: str) -> None:
    """The first one of a group that was quiet has been told, the others wait for company."""
    db.execute("UPDATE groups SET due_s = collect_until_s WHERE destination = ? AND grp = ?", (destination, key))


def reminded(db: sqlite3.Connection, destination: str, key: str, now_s: float) -> int:
    """A group has been told again what is open; returns how often that was."""
    ((number,),) = db.execute(
        "UPDATE groups SET last_s = ?1, collect_until_s = 0, repeat_due_s = ?1 + repeat_s, repeats = repeats + 1 "
        "WHERE destination = ?2 AND grp = ?3 RETURNING repeats",
        (now_s, destination, key),
    ).fetchall()
    return int(number)


def alarm(db: sqlite3.Connection, destination: str, key: str) -> None:
    """Something critical of the group is about to be told by itself."""
    db.execute("UPDATE groups SET critical = 1 WHERE destination = ? AND grp = ?", (destination, key))
