"""Notifications as routing makes them."""

from __future__ import annotations

import msgspec

from logllm.events import Evidence, Explanation, IncidentEvent
from logllm.notify.notification import ActionNote, Answer, Count, Kind, Notification, RunbookNote

__all__ = ["EVERY_KIND", "LINKS", "MENTION", "Addresses", "notification"]

MENTION = "<!subteam^S0123ABCD>"


class Addresses:
    """Where answers would go."""

    def __init__(self, base: str) -> None:
        self._base = base

    def url(self, incident: str, verb: str) -> str:
        return f"{self._base}{incident}/{verb}?key=0f3a" if self._base else ""


LINKS = Addresses("https://logllm.example.com/answer/")

INCIDENT = IncidentEvent(
    id="inc-7f3a90c1d2",
    event="open",
    time="2024-05-14T10:46:00.000Z",
    severity="critical",
    service="payments",
    kinds=["new", "severity"],
    title="New: connection refused to db-<*>:5432 after <num> tries (and 2 more)",
    expected="none: not seen in 9 days",
    seen="312 in a minute",
    template="connection refused to db-<*>:5432 after <num> tries",
    count=1_184,
    runbook="db-unreachable",
    evidence=[
        Evidence("E1", "2024-05-14T10:41:07.120Z", "ERROR pool-3 connection refused to db-1:5432 after 3 tries", "t1"),
        Evidence("E2", "2024-05-14T10:41:09.004Z", "ERROR pool-3 connection refused to db-2:5432 after 3 tries", "t1"),
        Evidence(
            "E3",
            "2024-05-14T10:41:11.961Z",
            "WARN checkout retrying charge ord_58213: upstream timed out\n  at Charge.retry (charge.js:118)",
            "t2",
        ),
        Evidence("E4", "2024-05-14T10:45:59.318Z", "ERROR pool-1 connection refused to db-1:5432 after 5 tries", "t1"),
    ],
    started="2024-05-14T10:41:00.000Z",
    fingerprint="b6d1f0a27c3e4458",
    score=41.2,
    templates=["connection refused to db-<*>:5432 after <num> tries", "upstream timed out", "pool <*> exhausted"],
    services=["checkout", "payments"],
    facts=[
        "db-1 is in 71 % of these messages, db-2 in 29 %",
        "Errors are up, first of all: upstream timed out: expected about 2 in 5 minutes, seen 140 in 5 minutes",
    ],
    series=[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 118, 240, 312, 298, 212],
)

EXPLANATION = Explanation(
    incident=INCIDENT.id,
    status="ok",
    cause="The primary and the replica of the payments database refuse connections at the same moment, so it is the "
    "network policy or the database hosts, not the connection pool.",
    runbook="db-unreachable",
    steps=[
        "From a payments pod: `nc -vz -w 3 db-1 5432`",
        "On the host: `ss -ltnp | grep :5432`, and `systemctl status postgresql`",
        "If it is down, read why before starting it: `journalctl -u postgresql -n 100`",
    ],
    evidence=["E1", "E2", "E4"],
    confidence=0.72,
    model="/models/small-4b-q4.gguf",
    removed=["a sentence about a deployment that no line speaks of"],
    seconds=14.2,
)

RUNBOOK = RunbookNote(
    id="db-unreachable",
    title="A database does not take connections",
    checks=["Does it listen: `ss -ltnp | grep :5432`", "Is it one host or all of them?", "Recent changes to firewall"],
    steps=["Start it if it is down", "Fail over"],
    actions=[
        ActionNote("Restart the connection pool", "systemctl restart payments-pool.service", "act-5d0e9f3a1b27"),
        ActionNote("Fail over to a replica", "pgctl failover --to {replica}", "act-77c1d2e3f405", asks=True),
        ActionNote("Show who is connected", "psql -c 'SELECT * FROM pg_stat_activity'"),
    ],
)


def notification(kind: Kind) -> Notification:
    """One of each."""
    base = Notification(
        id="0c2f9a7be4d51836",
        kind=kind,
        thread=INCIDENT.id,
        incidents=[INCIDENT],
        route="payments-page",
        owner="payments-oncall",
        runbook=RUNBOOK,
    )
    replace = msgspec.structs.replace
    later = replace(INCIDENT, event="update", time="2024-05-14T11:03:00.000Z", count=4_902, seen="340 in a minute")
    match kind:
        case "update":
            return replace(base, incidents=[later], explanation=EXPLANATION)
        case "resolve":
            ended = replace(later, event="resolve", ended="2024-05-14T11:12:00.000Z", count=5_118)
            return replace(base, incidents=[ended], explanation=EXPLANATION)
        case "explanation":
            return replace(base, explanation=EXPLANATION)
        case "reminder":
            return replace(base, incidents=[later], explanation=EXPLANATION)
        case "escalation":
            return replace(base, incidents=[later], explanation=EXPLANATION, step=2)
        case "answer":
            answer = Answer(INCIDENT.id, "acknowledge", "payments-lead (U061F7AUR)", "2024-05-14T10:49:12Z")
            return replace(base, explanation=EXPLANATION, answer=answer)
        case "digest":
            return digest()
        case "test":
            return replace(base, incidents=[], runbook=None, thread="test")
        case _:
            return base


def digest() -> Notification:
    """A storm: 37 incidents in 12 services."""
    replace = msgspec.structs.replace
    services = ["payments", "checkout", "search", "auth", "ledger", "mail", "stock", "prices", "web", "ads", "geo"]
    incidents = [
        replace(
            INCIDENT,
            id=f"inc-{number:010x}",
            service=services[number % len(services)],
            severity="critical" if number < 3 else "warning",
            title=f"New: upstream db-<*> timed out after <num> ms in {services[number % len(services)]}",
            seen=f"{90 - number} in a minute",
        )
        for number in range(20)
    ]
    counts = [Count(services[number], "critical", "open", 1) for number in range(3)]
    counts += [Count(service, "warning", "open", 3) for service in services[:10]]
    counts += [Count("geo", "info", "open", 1), Count("mail", "warning", "resolve", 2), Count("", "info", "open", 1)]
    return Notification(
        id="4b1d0e6a93c7f528",
        kind="digest",
        thread="4b1d0e6a93c7f528",
        incidents=incidents,
        total=37,
        counts=counts,
        route="everything",
    )


EVERY_KIND: tuple[Kind, ...] = (
    "open", "update", "resolve", "explanation", "digest", "reminder", "escalation", "answer", "test",
)  # fmt: skip
