from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from logllm.cli.render import Terminal
from logllm.events import Evidence, Explanation, IncidentEvent, SeenBefore, Summary

FAILED = "Failed password for invalid user admin from 203.0.113.7 port 50683 ssh2"


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def an_incident(**changes: object) -> IncidentEvent:
    fields: dict[str, object] = {
        "id": "8f3a2c10",
        "event": "open",
        "time": "2024-12-10T07:13:56.000Z",
        "severity": "critical",
        "service": "sshd",
        "kinds": ["rate", "new"],
        "title": "Failed password for <user> from <ip>: 412 in 5 minutes",
        "expected": "0 to 3 a minute",
        "seen": "82 a minute at 07:11",
        "template": "Failed password for invalid user <*> from <ip> port <num> ssh2",
        "count": 412,
        "runbook": "ssh-brute-force",
        "evidence": [
            Evidence(f"E{n}", f"2024-12-10T07:1{n}:01.000Z", FAILED, source="/var/log/auth.log", line=1200 + n)
            for n in range(1, 8)
        ],
        "started": "2024-12-10T07:08:48.000Z",
        "facts": ["all of them came from one address"],
        "series": [0, 0, 1, 0, 2, 0, 14, 82, 80, 21],
    }
    return IncidentEvent(**{**fields, **changes})  # type: ignore[arg-type]


def an_explanation(**changes: object) -> Explanation:
    fields: dict[str, object] = {
        "incident": "8f3a2c10",
        "status": "ok",
        "cause": "One address is guessing passwords for many user names.",
        "runbook": "ssh-brute-force",
        "steps": ["Look whether any guess succeeded.", "Block the address."],
        "evidence": ["E1", "E3", "E7"],
        "confidence": 0.7,
        "model": "SmolLM2-135M-Instruct",
        "removed": ["a number that is in no evidence line"],
    }
    return Explanation(**{**fields, **changes})  # type: ignore[arg-type]


def a_terminal(width: int = 80, stream: io.StringIO | None = None) -> tuple[Terminal, io.StringIO]:
    out = io.StringIO() if stream is None else stream
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False, force_terminal=out.isatty())
    titles = {"ssh-brute-force": "Password guessing against SSH"}
    return Terminal(console, reveal=lambda text: text, runbook_title=titles.get), out


def test_an_incident_reads_as_one_block_at_eighty_columns() -> None:
    terminal, out = a_terminal(80)

    terminal.incident(an_incident())

    assert out.getvalue() == (
        "\n"
        "● CRITICAL  sshd: Failed password for <user> from <ip>: 412 in 5 minutes\n"
        "  2024-12-10 07:08:48 UTC · for 5 min 8 s · 412 records · rate, new · 8f3a2c10\n"
        "  expected  0 to 3 a minute\n"
        "  seen      82 a minute at 07:11\n"
        "            ▁▁▂▁▂▁▂██▃  highest 82\n"
        "  template  Failed password for invalid user <*> from <ip> port <num> ssh2\n"
        "  facts     all of them came from one address\n"
        "  E1  07:11:01  Failed password for invalid user admin from 203.0.113.7 port 50…\n"
        "  E2  07:12:01  Failed password for invalid user admin from 203.0.113.7 port 50…\n"
        "  E3  07:13:01  Failed password for invalid user admin from 203.0.113.7 port 50…\n"
        "  E4  07:14:01  Failed password for invalid user admin from 203.0.113.7 port 50…\n"
        "  E5  07:15:01  Failed password for invalid user admin from 203.0.113.7 port 50…\n"
        "  and 2 more lines of evidence (--json has all)\n"
        "  runbook   ssh-brute-force  Password guessing against SSH\n"
    )


def test_a_wide_console_also_says_where_each_line_stands() -> None:
    terminal, out = a_terminal(120)

    terminal.incident(an_incident())

    assert f"  E1  07:11:01  auth.log:1201  {FAILED}\n" in out.getvalue()


def test_an_explanation_follows_beneath_its_incident_with_the_evidence_not_yet_shown() -> None:
    terminal, out = a_terminal(80)
    incident = an_incident()
    terminal.incident(incident)
    before = len(out.getvalue())

    terminal.explanation(an_explanation(), incident)

    assert out.getvalue()[before:] == (
        "  likely cause (confidence 70 %, SmolLM2-135M-Instruct, cites E1 E3 E7)\n"
        "    One address is guessing passwords for many user names.\n"
        "    E7  07:17:01  Failed password for invalid user admin from 203.0.113.7 port …\n"
        "    1. Look whether any guess succeeded.\n"
        "    2. Block the address.\n"
        "    the checks removed: a number that is in no evidence line\n"
    )


def test_what_was_changed_and_what_came_first_stand_between_facts_and_evidence() -> None:
    terminal, out = a_terminal(80)
    changes = [Evidence("C1", "2024-12-10T07:05:48.000Z", "orders: Deployed 2.4.1"), Evidence("C2", "?", "reloaded")]
    timeline = ["07:09 db: new: no space left (first)", "07:11 sshd: more often than usual: Failed password"]

    terminal.incident(an_incident(changes=changes, timeline=timeline, evidence=[]))

    assert (
        "  timeline  07:09 db: new: no space left (first)\n"
        "            07:11 sshd: more often than usual: Failed password\n"
        "  changes   C1 07:05:48 orders: Deployed 2.4.1\n"
        "            C2 --:--:-- reloaded\n"
        "  runbook"
    ) in out.getvalue()


def test_what_was_seen_before_and_what_helped_is_told_whether_or_not_a_cause_was_found() -> None:
    before = [
        SeenBefore("inc-1", "2026-05-03T10:00:00Z", "New: too many clients", "real", "raised max_connections"),
        SeenBefore("inc-2", "2026-04-01T10:00:00Z", "\x1b[2JNew", "noise"),
    ]
    for status in ("ok", "failed"):
        terminal, out = a_terminal(100)

        terminal.explanation(an_explanation(status=status, seen_before=before), an_incident())

        assert "    seen on 3 May 2026, fixed by: raised max_connections (inc-1: New: too many" in out.getvalue()
        assert "    seen on 1 April 2026, called noise (inc-2: " in out.getvalue()
        assert "\x1b" not in out.getvalue()


def test_an_explanation_that_comes_after_something_else_names_its_incident_again() -> None:
    terminal, out = a_terminal(80)
    incident = an_incident()
    terminal.incident(incident)
    terminal.incident(an_incident(id="other", title="another thing"))
    before = len(out.getvalue())

    terminal.explanation(an_explanation(evidence=["E2"]), incident)

    later = out.getvalue()[before:]
    assert later.startswith("\n↳ CRITICAL  sshd: Failed password for <user> from <ip>: 412 in 5 minutes\n")
    assert "    E2  07:12:01  Failed password" in later


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "insufficient"}, "insufficient evidence: the evidence supports no cause (SmolLM2-135M-Instruct)"),
        ({"status": "failed", "error": "no answer within 60 s"}, "no explanation: no answer within 60 s"),
        ({"status": "failed"}, "no explanation: the model gave no usable answer"),
    ],
)
def test_a_missing_explanation_is_said_plainly_and_no_cause_is_shown(changes: dict[str, object], said: str) -> None:
    terminal, out = a_terminal(100)
    incident = an_incident()
    terminal.incident(incident)

    terminal.explanation(an_explanation(**changes), incident)

    assert f"  {said}; the facts stand\n" in out.getvalue()
    assert "One address is guessing" not in out.getvalue()


def test_an_update_and_an_end_are_short() -> None:
    terminal, out = a_terminal(80)
    ended = "2024-12-10T07:31:00.000Z"

    terminal.incident(an_incident(event="update", count=900, seen="90 a minute"))
    terminal.incident(an_incident(event="resolve", count=950, time=ended, ended=ended))

    assert out.getvalue() == (
        "\n"
        "● critical goes on  sshd: Failed password for <user> from <ip>: 412 in 5 minutes\n"
        "  2024-12-10 07:08:48 UTC · for 5 min 8 s · 900 records · rate, new · 8f3a2c10\n"
        "  seen      90 a minute\n"
        "\n"
        "✓ resolved  sshd: Failed password for <user> from <ip>: 412 in 5 minutes\n"
        "  2024-12-10 07:08:48 UTC · lasted 22 min 12 s · 950 records · rate, new · 8f3a…\n"
    )


def test_a_summary_says_what_was_read_found_and_skipped_and_what_changed_most() -> None:
    terminal, out = a_terminal(80)
    top: list[dict[str, str | int | float]] = [
        {"template": "Failed password for <*>", "service": "sshd", "count": 1721, "share": 0.36, "change": "new"},
        {"template": "session opened", "service": "", "count": 12, "share": 0.0061, "change": "x 3.2"},
    ]

    terminal.summary(
        Summary(
            lines=4800,
            records=4790,
            templates=27,
            incidents=1,
            seconds=0.5,
            bytes=208_411,
            skipped={"binary": 1, "longer than 1 MiB": 2},
            services=2,
            learning="4 hours of a day",
            top=top,
        )
    )

    assert out.getvalue() == (
        "\n"
        "Summary\n"
        "  read      4,800 lines in 0.50 s (9,600 lines/s), 208.4 kB\n"
        "  found     4,790 records, 27 templates, 2 services\n"
        "  incidents 1\n"
        "  skipped   2 longer than 1 MiB, 1 binary\n"
        "  learning  4 hours of a day\n"
        "\n"
        "  count   share  change  service  template\n"
        "  1,721  36.0 %  new     sshd     Failed password for <*>\n"
        "     12   0.6 %  x 3.2            session opened\n"
    )


def test_a_log_line_cannot_steer_the_terminal_nor_be_read_as_markup() -> None:
    terminal, out = a_terminal(120, Screen())
    nasty = "\x1b]0;owned\x07\x1b[2J[red]bold[/red] :smile: \x9b31m \u202egpj.exe\u202c a\r\nsecond\tline\x00 \udc80"

    terminal.incident(
        an_incident(
            title=nasty,
            service="api\x1b[1A",
            kinds=["new\x1b[5m"],
            id="1\x1b[0m",
            seen=nasty,
            template=nasty,
            facts=[nasty],
            evidence=[Evidence("E1\x1b", "no time", nasty, source="a\x1b[7m", line=1)],
            runbook="r\x1bc",
        )
    )
    terminal.notice(nasty)
    terminal.status(1, 1.0, 1, nasty, 1)

    shown = out.getvalue()
    bare = "".join(part.partition("m")[2] for part in ("m" + shown).split("\x1b["))
    assert "␛]0;owned␇␛[2J[red]bold[/red] :smile: \\x9b31m \\u202egpj.exe" in shown
    assert "\\u202c a⏎second line␀ \\udc80" in shown
    assert not [char for char in bare if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char != "\n"]
    assert "\x07" not in shown
    assert "\x1b]" not in shown
    assert "\x1bc" not in shown


@given(
    text=st.text(max_size=300),
    width=st.integers(40, 130),
)
@settings(max_examples=60, deadline=None)
def test_no_text_makes_a_line_wider_than_the_console_or_prints_a_control_character(text: str, width: int) -> None:
    terminal, out = a_terminal(width)
    incident = an_incident(title=text, seen=text, expected=text, template=text, facts=[text], services=[text, text])

    terminal.incident(incident)
    terminal.explanation(an_explanation(cause=text, steps=[text], removed=[text], model=text), incident)
    terminal.summary(
        Summary(1, 1, 1, 1, 1.0, top=[{"template": text, "service": text, "count": 1, "share": 1, "change": text}])
    )

    lines = out.getvalue().split("\n")
    assert max(cell_len(line) for line in lines) <= width
    assert not [char for line in lines for char in line if unicodedata.category(char) in ("Cc", "Cs")]


def test_a_line_of_ten_megabytes_is_clamped_without_being_laid_out_whole() -> None:
    terminal, out = a_terminal(80)
    long = "x" * 10_000_000

    terminal.incident(an_incident(evidence=[Evidence("E1", "", long)], seen=long, title=long, template=long))

    assert len(out.getvalue()) < 2_000


def test_the_status_line_is_rewritten_in_place_and_stays_below_what_is_printed() -> None:
    screen = Screen()
    terminal, _ = a_terminal(80, screen)

    terminal.status(1_204_233, 241_002.3, 86, "12 more minutes", 0)
    terminal.notice("app.log was rotated")
    terminal.status(1_204_900, 241_002.3, 86, None, 1)
    terminal.close()

    steps = [step.replace("\x1b[2m", "").replace("\x1b[0m", "") for step in screen.getvalue().split("\r\x1b[2K")]
    first = "1,204,233 lines · 241,002/s · 86 templates · learning (12 more minutes) · 0 incidents"
    assert steps[0] == first[:78] + "…"
    assert steps[1] == "app.log was rotated\n" + steps[0]
    assert steps[2] == "1,204,900 lines · 241,002/s · 86 templates · 1 incident"
    assert steps[3] == ""


def test_masked_values_come_back_only_through_reveal() -> None:
    out = io.StringIO()
    known = {"ip_1": "203.0.113.7\x1b[31m"}

    def reveal(text: str) -> str:
        for mask, value in known.items():
            text = text.replace(mask, value)
        return text

    terminal = Terminal(Console(file=out, width=80), reveal=reveal)
    terminal.incident(an_incident(evidence=[Evidence("E1", "", "login from ip_1")]))

    assert "login from 203.0.113.7␛[31m\n" in out.getvalue()


def test_what_came_all_at_once_has_no_order_to_show() -> None:
    terminal, out = a_terminal()

    terminal.incident(an_incident(timeline=["07:09 db: a (among the first)", "07:09 db: b (among the first)"]))

    assert "timeline" not in out.getvalue()
