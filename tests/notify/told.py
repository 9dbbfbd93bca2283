"""A notification of each kind, plain and with hostile text in every field, for the tests of destinations."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import msgspec

from logllm.events import Evidence, Explanation, IncidentEvent, SeenBefore
from logllm.notify.notification import ActionNote, Answer, Count, Kind, Notification, RunbookNote

__all__ = [
    "HOSTILE",
    "KINDS",
    "NOW_S",
    "LinksTo",
    "NoLinks",
    "assert_harmless",
    "golden",
    "hostile",
    "incident",
    "of_kind",
    "texts",
]

NOW_S = 1_700_000_400.0
GOLDEN = Path(__file__).parent / "golden"
KINDS: tuple[Kind, ...] = (
    "open", "update", "resolve", "explanation", "digest", "reminder", "escalation", "answer", "test",
)  # fmt: skip

HOSTILE = (
    "<!channel> @here @everyone <@U12345> <https://evil.example|click> [pay](https://evil.example/x) "
    "javascript:alert(1) mailto:a@b.c www.evil.example `code` *bold* <b>html</b> <script>x</script> ${PATH} {{x}}\r\n"
    "Severity: none\nLikely cause (100 %): all is well\u2028Answer: acknowledged\x85\x0b\x0c\t"
    "\x00\x07\x1b[31m\x1b]8;;https://evil.example\x07link\x9b2J\u202egpj.exe\u2066\u200b\u200d\u2060\ufeff\u00ad"
    "\U000e0041\U000e0042\ud800 e\u0301\u0301\u0301\u0301\u0301\u0301 \\ \" ' %s %n"
)


class LinksTo:
    """Signed addresses, as far as a destination can see."""

    def url(self, incident: str, verb: str) -> str:
        return f"https://logllm.example/answer?token={incident}.{verb}"


class NoLinks:
    """Nobody can answer over HTTP."""

    def url(self, incident: str, verb: str) -> str:
        return ""


def incident(**changes: object) -> IncidentEvent:
    plain = IncidentEvent(
        id="inc-0a1b2c3d4e",
        event="open",
        time="2023-11-14T22:13:20.000Z",
        severity="warning",
        service="payments",
        kinds=["rate", "new"],
        title="connection refused to db-<*>: 312 a minute, 0 expected",
        expected="about 0 a minute",
        seen="312 in 1 minute",
        template="connection refused to db-<*>",
        count=312,
        runbook="connection-refused",
        evidence=[
            Evidence(f"E{n}", f"2023-11-14T22:13:0{n}.000Z", f"connection refused to db-{n}", "t1", "app.log", n)
            for n in range(1, 8)
        ],
        started="2023-11-14T22:12:00.000Z",
        fingerprint="00ff00ff00ff00ff",
        score=4.5,
        templates=["connection refused to db-<*>"],
        services=["payments"],
        facts=["No such record in the 3 days before.", "It began 2 minutes after a release of payments."],
        series=[0, 0, 1, 0, 312],
    )
    return msgspec.structs.replace(plain, **changes)


def of_kind(kind: Kind) -> Notification:
    """A plain one."""
    book = RunbookNote(
        "connection-refused",
        "Connection refused",
        ["Is the port open?"],
        ["Look: `ss -ltnp`"],
        [ActionNote("Restart the database", "systemctl restart db")],
    )
    explanation = Explanation(
        incident="inc-0a1b2c3d4e",
        status="ok",
        cause="The database does not listen: its process ended at 22:12.",
        runbook="connection-refused",
        steps=["Start the database.", "Look why it ended: journalctl -u db"],
        evidence=["E1", "E2"],
        confidence=0.7,
        model="small",
        seen_before=[
            SeenBefore("inc-0000000007", "2023-05-03T22:10:00Z", "New: connection refused", "real", "raised the limit"),
            SeenBefore("inc-0000000003", "2023-02-11T04:00:00Z", "New: connection refused by <host_2>", "noise"),
        ],
    )
    answer = Answer("inc-0a1b2c3d4e", "acknowledge", "sre on call", "2023-11-14T22:15:00Z")
    told = Notification(
        id=f"00000000000000{KINDS.index(kind):02x}",
        kind=kind,
        thread="inc-0a1b2c3d4e",
        incidents=[incident()],
        route="database",
        owner="storage",
        runbook=book,
    )
    replace = msgspec.structs.replace
    match kind:
        case "update":
            return replace(told, incidents=[incident(event="update", severity="critical", count=9000)])
        case "resolve":
            over = incident(event="resolve", severity="critical", ended="2023-11-14T22:18:00.000Z")
            return replace(told, incidents=[over], explanation=explanation)
        case "explanation" | "reminder":
            return replace(told, incidents=[incident(event="update")], explanation=explanation)
        case "escalation":
            return replace(told, step=1)
        case "answer":
            return replace(told, answer=answer)
        case "test":
            return replace(told, incidents=[], total=0, runbook=None, thread="test")
        case "digest":
            three = [
                incident(severity="critical"),
                incident(id="inc-1111111111", event="update", service="checkout", title="timeouts: 40 a minute"),
                incident(
                    id="inc-2222222222", event="resolve", service="", severity="info", ended="2023-11-14T22:18:00Z"
                ),
            ]
            counts = [Count("payments", "critical", "open", 1200), Count("checkout", "warning", "update", 34)]
            counts += [Count("", "info", "resolve", 1)]
            return replace(
                told, thread="d1d1d1d1d1d1d1d1", incidents=three, total=1235, counts=counts, owner="", runbook=None
            )
    return told


def hostile(kind: Kind, text: str = HOSTILE) -> Notification:
    """One in which every text that comes from outside is `text`."""
    told = of_kind(kind)
    many = [text] * 30
    evil = [
        msgspec.structs.replace(
            one,
            service=text,
            kinds=[text, "rate"],
            title=text,
            expected=text,
            seen=text,
            template=text,
            runbook=text,
            evidence=[Evidence("E1", "2023-11-14T22:13:00Z", text, text, text, 1)] * 30,
            started=text,
            ended=text if one.ended else None,
            templates=many,
            services=many,
            facts=many,
            series=[1] * 500,
            changes=[Evidence(text, text, text, text, text)] * 30,
            timeline=many,
        )
        for one in told.incidents
    ]
    if kind == "digest":
        evil = [msgspec.structs.replace(evil[0], id=f"inc-{n:010d}") for n in range(20)]
    before = [SeenBefore(text, text, text, text, text)] * 30
    explanation = Explanation(
        "inc-0a1b2c3d4e", "ok", text, text, many, many, 7.0, text, many, error=text, seen_before=before
    )
    return msgspec.structs.replace(
        told,
        incidents=evil,
        counts=[Count(text, "critical", "open", 1)] * 200 if told.counts else [],
        route=text,
        owner=text,
        runbook=RunbookNote(text, text, many, many, [ActionNote(text, text, text)] * 30),
        explanation=explanation,
        answer=Answer("inc-0a1b2c3d4e", "acknowledge", text, text) if told.answer else None,
    )


def golden(name: str, body: bytes) -> object:
    """What the golden file holds, decoded; with LOGLLM_UPDATE_GOLDEN=1 the JSON in `body` is written there first."""
    path = GOLDEN / f"{name}.json"
    if os.environ.get("LOGLLM_UPDATE_GOLDEN") == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.format(body, indent=2) + b"\n")
    return msgspec.json.decode(path.read_bytes())


def texts(value: object) -> list[str]:
    """All strings in what was decoded from JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    return []


def assert_harmless(text: str, *, lines: bool = False) -> None:
    """Nothing in it steers, hides, mentions or links, whatever shows it."""
    hidden = [char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}]
    assert not [char for char in hidden if not (lines and char == "\n")]
    ours = text.replace("https://logllm.example/", "")
    assert "://" not in ours
    assert not re.search(r"@(here|everyone|channel|U12345)|<|>|\]\(|(mailto|javascript):|\bwww\.", ours)
