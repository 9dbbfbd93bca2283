"""Times in every notation, one by one and by column, and what a person gives to `--since`."""

from __future__ import annotations

from logllm.errors import ConfigError
from logllm.sources.file_select import parse_since
from logllm.sources.formats.clock import Clock
from logllm.sources.formats.json_times import JsonTimes, whole_notation
from logllm.sources.formats.line_format import Reading, zone_named
from logllm.sources.formats.notations import NOTATIONS
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 200

_NOW = 1_700_000_000_000_000_000
_NOTATIONS = tuple(NOTATIONS.values())
_WITH_NAMES = tuple(notation for notation in _NOTATIONS if "mon" in notation.regex.groupindex)
_ZONES = (None, zone_named("Europe/Berlin"), zone_named("Pacific/Apia"))
_TEXTS = (
    b"2024-01-02T03:04:05.678901234Z", b"2024/1/2 3:04:05,6 +02:00", b"20240102T03:04:05:678", b"20240102030405",
    b"240102 030405", b"240102  3:04:05", b"Tue Jan  2 03:04:05.6 CET 2024", b"Jan 2, 2024 3:04:05 PM",
    b"02/Jan/2024:03:04:05 -0700", b"Tue, 02 Jan 2024 03:04:05 GMT", b"Jan  2 03:04:05", b"1/2/2024 12:04:05 AM",
    b"2.1.2024, 03:04:05", b"24-01-02 03:04:05", b"1/2/24 3:04:05 pm", b"20240102 03:04:05.6", b"0102 03:04:05.678901",
    b"01-02 03:04:05.678", b"1700000000.123", b"1700000000123456789", b"03:04:05", b"23:59:60.999+0530",
    b"2024-02-30 24:61:61", b"Feb 29 00:00:00", b"0000-00-00 00:00:00", b"9999-12-31T23:59:59.999999999Z",
)  # fmt: skip
_SPANS = (b"15m", b"-3h", b"1h30m", b"2 days ago", b"today", b"yesterday", b"now", b"2024-01-02", b"99999999999w")


def check(data: bytes) -> None:
    """A column of times is read as each of them alone is; what is no time is said to be none."""
    choices = Choices(data)
    kind = choices.below(8)
    zone = choices.one_of(_ZONES)
    notation = choices.one_of(_NOTATIONS)
    text = choices.rest().decode("utf-8", "replace")
    if kind == 0:
        try:
            moment = parse_since(text, _NOW)
        except ConfigError as error:
            check_refusal(error, "since: cannot read ")
            return
        assert isinstance(moment, int)
        return
    texts = text.split("\n")
    if kind == 1:
        values: list[object] = [_value(part) for part in texts]
        times, ok = JsonTimes(Reading(_NOW, zone=zone)).read(values)
        assert len(times) == len(ok) == len(values)
        return
    if kind == 2:
        found = whole_notation(texts[0])
        notation = notation if found is None else found
    times, ok = Clock(notation, Reading(_NOW, zone=zone)).read(texts)
    assert len(times) == len(ok) == len(texts)
    if notation.dated and notation.yearly:
        # With a date and a year nothing goes over from one text to the next.
        for part, time, good in zip(texts, times.tolist(), ok.tolist(), strict=True):
            alone, fine = Clock(notation, Reading(_NOW, zone=zone)).read([part])
            # In a column any letters are a day of the week, which says nothing that the date does not, and months
            # may be in small letters.
            assert bool(fine[0]) == good or (good and notation in _WITH_NAMES)
            assert not fine[0] or int(alone[0]) == time


def _value(text: str) -> object:
    """A JSON value of any type."""
    if text.startswith(("n", "t")):
        return {"n": None, "t": True}[text[0]]
    if text.startswith("["):
        return [text]
    try:
        return float(text) if "." in text or "e" in text or "i" in text else int(text)
    except ValueError:
        return text


def seeds() -> list[bytes]:
    """A time in each notation, alone and in columns; spans and dates."""
    found = [b"\0\0\0" + text for text in (*_SPANS, *_TEXTS[:6])]
    for number, text in enumerate(_TEXTS):
        found.append(bytes([2, number % 3, 0]) + text + b"\n" + text + b"\n" + _TEXTS[number - 1])
        found.append(bytes([3 + number % 5, number % 3, number]) + text + b"\n" + text[:-1])
    found += [b"\1\0\0" + line for line in (b"1700000000\n1700000000123", b"1700000000.5\n2024-01-02T03:04:05Z\nx")]
    return [*found, b"\1\1\0" + b"1e400\n-1\n99999999999999999999\nnull\n[", b"\1\0\0nan\ninf\n0.0\n1e18"]
