from __future__ import annotations

import io
from pathlib import Path

import pytest

from logllm.cli.render import Terminal, console_for
from logllm.events import Evidence, Explanation, IncidentEvent, Summary


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def an_incident(title: str = "disk is filling", text: str = "no space left on device " * 8) -> IncidentEvent:
    return IncidentEvent(
        id="1",
        event="open",
        time="2024-12-10T07:13:56.000Z",
        severity="critical",
        service="db",
        kinds=["rate"],
        title=title,
        expected="none",
        seen="82 a minute",
        template="no space left on device",
        count=412,
        runbook=None,
        evidence=[Evidence("E1", "2024-12-10T07:13:50.000Z", text)],
        series=[0, 0, 1, 0, 2, 0, 14, 82, 80, 21],
    )


def test_a_pipe_gets_no_status_line_and_no_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    out = io.StringIO()
    terminal = Terminal(console_for(out), reveal=lambda text: text)

    terminal.status(1, 1.0, 1, None, 0)
    terminal.incident(an_incident())

    assert "\x1b" not in out.getvalue()
    assert "1 line" not in out.getvalue()
    assert max(len(line) for line in out.getvalue().splitlines()) == 100


def test_no_color_force_color_and_columns_are_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")

    def shown(stream: io.StringIO, **env: str) -> str:
        for name in ("FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        terminal = Terminal(console_for(stream), reveal=lambda text: text)
        terminal.incident(an_incident())
        return stream.getvalue()

    plain = shown(io.StringIO())
    assert max(len(line) for line in plain.splitlines()) == 60
    assert "\x1b[1;31m● CRITICAL" in shown(Screen())
    assert shown(Screen(), NO_COLOR="1") == plain
    assert "\x1b[1;31m● CRITICAL" in shown(io.StringIO(), FORCE_COLOR="1")
    assert shown(Screen(), FORCE_COLOR="0") == plain
    assert shown(io.StringIO(), NO_COLOR="1", FORCE_COLOR="1") == plain


def test_a_stream_that_cannot_write_unicode_gets_ascii_instead_of_an_error(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        terminal = Terminal(console_for(stream), reveal=lambda text: text)

        terminal.incident(an_incident(title="naïve \u202e", text="日" * 90))
        terminal.explanation(Explanation("1", "ok", "full", None, ["look"], ["E1"], 0.5, "m"), an_incident())
        terminal.summary(Summary(1, 1, 1, 1, 1.0, top=[]))

    text = (tmp_path / "out").read_text(encoding="ascii")
    assert "!! CRITICAL  db: na\\xefve \\u202e\n" in text
    assert "__._._.##:  highest 82\n" in text
