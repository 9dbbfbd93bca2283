"""What stands in a log and must not come out as it is."""

from __future__ import annotations

import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wire import START_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from logllm.guarantees.place import Place

__all__ = ["secrets_masked", "terminal"]

_HOSTILE = (
    "\x1b]0;owned\x07",  # the window's title
    "\x1b]52;c;b3duZWQ=\x07",  # the clipboard
    "\x1b[2J\x1b[1;1H",  # clears the screen
    "\x1b[8m",  # hides what follows
    "\x9b31m",  # one character for ESC [
    "\u202e",  # turns the direction round
    "\rforged",  # overwrites the line
    "\x08\x08\x08",  # goes back
)
_OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_WIDE: Mapping[str, str] = {"COLUMNS": "250", "LINES": "60", "TERM": "xterm-256color"}

_AWS_KEY = "AKIA" + "3XAMPLE7QWERTY26"
_PASSWORD = "s3cretPassw0rd" + "ForNobody"


def _log(path: Path, fault: list[str]) -> None:
    """Two hours of a shop's log with a fault, of which each line is told in turn."""
    begin = datetime.fromtimestamp(START_S, UTC)
    lines: list[tuple[datetime, str]] = []
    for minute in range(120):
        at = begin + timedelta(minutes=minute)
        lines += [(at + timedelta(seconds=9 * n), f"INFO shop: GET /items/{minute * 7 + n} 200") for n in range(6)]
    for number in range(200):
        lines.append((begin + timedelta(minutes=100, seconds=number / 10), fault[number % len(fault)]))
    lines.sort(key=lambda line: line[0])
    text = "".join(f"{at:%Y-%m-%dT%H:%M:%S}Z {said}\n" for at, said in lines)
    path.write_text(text, encoding="utf-8", newline="")


def terminal(place: Place) -> str:
    """Report a log that is full of escape sequences, to a pipe and to a terminal."""
    path = place.folder / "hostile.log"
    fault = [
        f"ERROR shop: could not reserve{number} {text} steered: connection pool exhausted"
        for number, text in enumerate(_HOSTILE)
    ]
    _log(path, fault)
    command = ("tail", "--once", "--no-llm", str(path))

    piped = place.run(*command, env=_WIDE).decode("utf-8", "replace")
    shown = _on_a_terminal(place, command)

    if "steered" not in piped or "steered" not in shown:
        raise Unchecked("no hostile line was reported")
    if left := _STEERING.search(piped):
        raise Broken(f"{left[0]!r} of a log line came out on a pipe")
    for text in _HOSTILE:
        if text in shown:
            raise Broken(f"{text!r} of a log line came out on a terminal")
    if left := _STEERING.search(_OURS.sub("", shown).replace("\r", "")):
        raise Broken(f"{left[0]!r} of a log line came out on a terminal")
    count = piped.count("steered")
    return f"{count} lines with escape sequences reported, on a pipe and on a terminal, nothing of them left"


def _on_a_terminal(place: Place, command: tuple[str, ...]) -> str:
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        raise Unchecked(f"there is no terminal to be had: {error}") from error
    got: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 65_536):
                got.append(data)
        except OSError:
            pass  # So Linux tells that the last writer has closed it.

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        place.run(*command, env=_WIDE, stdout=theirs)
    finally:
        os.close(theirs)
        reader.join(place.patience_s)
        os.close(ours)
    return b"".join(got).decode("utf-8", "replace")


def secrets_masked(place: Place) -> str:
    """Report a log whose odd lines hold a key and a password."""
    path = place.folder / "secrets.log"
    _log(
        path,
        [
            f"ERROR shop: upload refused for {_AWS_KEY} of the bucket: access denied",
            f"ERROR shop: login to the database failed: user=shop password={_PASSWORD} access denied",
        ],
    )

    told = place.run("tail", "--once", "--json", "--no-llm", str(path)).decode("utf-8", "replace")

    if "access denied" not in told:
        raise Unchecked("no line with a secret was reported")
    for what, secret in (("an AWS key", _AWS_KEY), ("a password", _PASSWORD)):
        if secret in told:
            raise Broken(f"{what} of a log line stands in the events")
    return f"{told.count('access denied')} lines with a key or a password reported, neither of them in the events"
