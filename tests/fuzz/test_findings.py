"""What fuzzing has found, each as small as it could be made."""

from __future__ import annotations

import time
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest

from logllm.config import Config
from logllm.errors import ConfigError, ProtocolError
from logllm.events import Chunk, Fields
from logllm.incidents.learned import parsed
from logllm.notify.alertmanager import Alertmanager
from logllm.notify.notification import Notification
from logllm.notify.routing.owners import Owners
from logllm.notify.text import plain
from logllm.sources.decode import Decoder
from logllm.sources.formats.clock import Clock
from logllm.sources.formats.detect import by_name, detect
from logllm.sources.formats.line_format import Reading
from logllm.sources.formats.notations import NOTATIONS
from logllm.sources.forward.protocol import Received, Receiver, Skipped
from logllm.wire.handshake import MAX_MESSAGE_BYTES, Helo, ping_fault, read_helo, read_ping, write_helo, write_ping
from tests.fuzz.told import Addresses, Client
from tests.notify.slack.samples import notification
from tests.notify.slack.test_slack_hostile import messages, wrong

NOW = 1_700_000_000_000_000_000


def test_a_handshake_is_read_at_all() -> None:
    helo = read_helo(write_helo(Helo(b"nonce", b"salt")))

    ping = read_ping(write_ping(helo, b"key", "client", b"salt"))

    assert helo == Helo(b"nonce", b"salt")
    assert ping_fault(ping, helo, b"key", {}) == ""


def test_a_handshake_with_a_list_as_a_key_or_of_any_length_is_refused() -> None:
    with pytest.raises(ProtocolError, match="got no whole HELO"):
        read_helo(b"\x92\xa4HELO\x81\x90\1")
    with pytest.raises(ProtocolError, match="expected at most 8192"):
        read_ping(b"\x96\xa4PING" + bytes(msgpack.packb(b"x" * MAX_MESSAGE_BYTES)))


def test_logfmt_with_a_message_and_nothing_else_that_is_known_is_read() -> None:
    lines = ['msg="hello there" n=1', "msg=b n=2"]

    columns = by_name("logfmt", reference_ns=NOW).parse(lines)

    assert list(columns.messages) == ["hello there", "b"]
    assert list(detect(lines, reference_ns=NOW).parse(lines).messages) == ["hello there", "b"]


@pytest.mark.parametrize(
    ("notation", "good", "bad"),
    [("basic", "20240102030405", "202401 2030405"), ("epoch", "1700000000", "0700000000")],
)
def test_a_column_of_times_takes_nothing_that_is_no_time_by_itself(notation: str, good: str, bad: str) -> None:
    _, alone = Clock(NOTATIONS[notation], Reading(NOW)).read([bad])

    _, ok = Clock(NOTATIONS[notation], Reading(NOW)).read([good, bad])

    assert (alone.tolist(), ok.tolist()) == ([False], [True, False])


def test_what_a_record_says_does_not_depend_on_an_odd_record_beside_it() -> None:
    usual = b"\x92\5\x82\xa3log\xa1a\xa5level\x82\xa5level\0\xa4nam\xf0\1"
    odd = b"\x92\5\x81\xc4\3log\xa1b"

    alone = Decoder().decode(Chunk("t", 1, 0, block=usual), NOW)
    beside = Decoder().decode(Chunk("t", 2, 0, block=usual + odd), NOW)

    assert beside.messages[0] == alone.messages[0] == "a"
    assert beside.severity[0] == alone.severity[0]


@pytest.mark.parametrize(
    "line",
    ["a=b " + "a." * 30_000, "a=b " + "a=<1>" * 12_000 + '"', 'a=b a="' + '\\"' * 30_000],
    ids=["a long word", "a long value", "a long quote"],
)
def test_a_long_line_among_logfmt_is_looked_at_once(line: str) -> None:
    lines = ["level=info msg=hello n=1", line, "level=info msg=hello n=2"] * 20
    started = time.process_time()

    columns = detect(lines, reference_ns=NOW).parse(lines)

    assert len(columns) == 60
    # One look at each character takes a hundredth of a second; one look from each took twenty a line.
    assert time.process_time() - started < 5


@pytest.mark.parametrize("head", [b"\x94\xa1t\5", b"\x93\xa1t\x91\x92\5", b"\x93\xa1t\xc4\x10\x92\5"])
def test_an_extension_that_declares_four_gigabytes_is_no_record_in_any_mode(head: bytes) -> None:
    record = b"\x82\xa1k\xc9\xff\xff\xff\xff\xa3log\xa1x"
    receiver = Receiver()
    receiver.feed(head + record + b"\x81\xa5chunk\xa2id")

    items = list(receiver.items())

    assert [item.fault.reason for item in items if isinstance(item, Skipped)] == ["not MessagePack"]
    assert [item.acks for item in items if not isinstance(item, Skipped)] == [(b"id",)]


def test_bytes_that_look_like_such_an_extension_are_a_record_like_any_other() -> None:
    receiver = Receiver()
    receiver.feed(b"\x93\xa1t\5\x81\xa1k\xc4\5\xc9\xff\xff\xff\xff")

    (item,) = receiver.items()

    assert isinstance(item, Received)


@pytest.mark.parametrize("text", ['[teams."a\\nb"]\nx = 1\n', '[teams.a]\n"x\\ny" = 1\n', '"x\\ny" = 1\n'])
def test_a_name_with_a_line_break_in_it_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)

    for load in (Owners.load, Config.load):
        with pytest.raises(ConfigError) as refused:
            load(path)

        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("blank", ["\ufe0f", " \u3000", "\ufe00\n"])
def test_what_shows_nothing_of_itself_is_told_by_what_does(blank: str) -> None:
    raw = msgspec.to_builtins(notification("digest"))
    for incident in raw["incidents"]:
        incident |= {"service": blank, "title": blank, "kinds": [blank], "event": "update"}
    digest = msgspec.convert(raw, Notification)
    client, as_http = Client.made()

    Alertmanager("a", as_http, Addresses()).send(digest, '{"inc-0000000000":"info"}')

    alerts = msgspec.json.decode(client.bodies[0])
    assert all(alert["labels"]["alertname"] and alert["annotations"]["summary"] for alert in alerts)
    assert all(value for alert in alerts for value in alert["labels"].values())
    assert all(wrong(message) == [] for message in messages(digest))


def test_a_scheme_behind_a_letter_begins_no_link_either() -> None:
    assert plain("8mailto:a@b.example xjavascript:alert(1)", 80) == "8mailto[:]a@b.example xjavascript[:]alert(1)"


def test_a_heading_of_characters_that_slack_counts_twice_fits_all_the_same() -> None:
    raw = msgspec.to_builtins(notification("open"))
    raw["incidents"][0] |= {"service": "\U0001f480" * 40, "title": "x" * 300}
    told = msgspec.convert(raw, Notification)

    assert all(wrong(message) == [] for message in messages(told))


def fields_of(*records: bytes) -> Fields:
    block = b"".join(b"\x92\5" + record for record in records)
    return Decoder().decode(Chunk("t", len(records), 0, block=block), NOW).fields or Fields({}, {})


def test_a_field_that_is_nothing_but_nul_is_no_word() -> None:
    fields = fields_of(b"\x81\xa4user\xa1\0", b"\x81\xa4user\xa2a\0", b"\x81\xa4user\xa1a")

    codes, words = fields.words["user"]
    assert (codes.tolist(), words) == ([-1, 0, 0], ["a"])


def test_a_name_that_is_no_utf_8_is_no_field_whatever_stands_beside_it() -> None:
    odd, unreadable = b"\x81\xabduration_m\xac\7", b"\x81\xa1\xff\xa1\xff"

    assert fields_of(odd) == fields_of(odd, unreadable) == Fields({}, {})


@pytest.mark.parametrize("key", ["when", "until"])
def test_an_answer_of_a_time_that_no_clock_shows_is_refused_before_it_is_written_anew(key: str) -> None:
    times = {"when": "2026-01-01T00:00:00Z", key: "0001-01-01T00:00:00+14:00"}
    text = '[[answers]]\nservice = ""\ntemplate = "*"\nkind = "*"\nverdict = "noise"\n'

    with pytest.raises(
        ConfigError, match=r"learned.toml: a time before the year 1 or after 9999 - at `\$.answers\[0\]`"
    ):
        parsed(text + "".join(f"{name} = {time}\n" for name, time in times.items()), "learned.toml")
