"""What routing decides for one incident."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["Labels", "Plan", "Step"]

Labels = Mapping[str, tuple[str, ...]]
"""What matchers see of an incident: `service`, `severity`, `kind`, `owner`, `fingerprint`, `incident`; several kinds
are several values. A missing label is ("",)."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of an escalation.

    Args:
        after_s: Seconds after the incident was told, with nobody acknowledging it.
        to: Destinations that are told then.
    """

    after_s: float
    to: list[str]


class Plan(msgspec.Struct, frozen=True):
    """Where one incident goes by one route, and how long it waits for company. Names are Alertmanager's.

    Args:
        route: The route, for people: its name, or its place in the configuration.
        to: Names of destinations.
        group_by: Labels whose incidents are told together.
        group_wait_s: After the first of a group was told, others of it are collected for so long.
        group_interval_s: After that, news of the group is told at most so often.
        repeat_interval_s: What is still open, and nobody acknowledged, is told again after so long.
        steps: Who is told when nobody acknowledges, in order.
        muted: The time interval that keeps it silent now; empty: it is told.
    """

    route: str
    to: tuple[str, ...]
    group_by: tuple[str, ...] = ("service",)
    group_wait_s: float = 30.0
    group_interval_s: float = 300.0
    repeat_interval_s: float = 14_400.0
    steps: tuple[Step, ...] = ()
    muted: str = ""
