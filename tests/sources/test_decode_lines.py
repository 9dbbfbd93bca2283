"""Records whose text is itself a formatted line: their level, service and bare message are found."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]

from logllm.events import Chunk, Columns
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def decode(decoder: Decoder, records: list[dict[str, Any]], tag: str = "tail.0") -> Columns:
    block = b"".join(msgpack.packb([1_700_000_000 + i, record]) for i, record in enumerate(records))
    return decoder.decode(Chunk(tag, len(records), len(block), block=block), NOW)


def services(columns: Columns) -> list[str]:
    return [columns.service_names[code] for code in columns.service_codes]


PYTHON = [f"2026-01-02 03:04:{i:02d},123 {'ERROR' if i % 5 == 0 else 'INFO'} cart: item {i} added" for i in range(30)]


def test_a_formatted_line_gives_level_and_bare_message_and_the_records_own_time_wins() -> None:
    columns = decode(Decoder(detected), [{"log": line} for line in PYTHON])

    assert columns.messages[:2] == ["item 0 added", "item 1 added"]
    assert columns.severity[:6].tolist() == [17, 9, 9, 9, 9, 17]
    assert set(services(columns)) == {"tail.0"}
    assert (columns.time_ns // SECOND).tolist() == [1_700_000_000 + i for i in range(30)]


def test_a_syslog_line_names_the_service_unless_the_tag_surely_does() -> None:
    records = [{"log": f"Dec 10 06:55:{i:02d} host sshd[{i}]: closed by peer {i}"} for i in range(30)]
    kube = "kube.var.log.containers.cart-0_shop_cart-" + "0" * 64 + ".log"

    columns = decode(Decoder(detected), records)
    in_container = decode(Decoder(detected), records, kube)

    assert columns.messages[0] == "closed by peer 0"
    assert set(services(columns)) == {"sshd"}
    assert set(services(in_container)) == {"cart"}


def test_a_json_line_inside_a_record_is_read() -> None:
    lines = [f'{{"level": "warn", "service": "pay", "msg": "slow {i}"}}' for i in range(30)]

    columns = decode(Decoder(detected), [{"log": line + "\n", "stream": "stdout"} for line in lines])

    assert columns.messages[:2] == ["slow 0", "slow 1"]
    assert set(columns.severity.tolist()) == {13}
    assert set(services(columns)) == {"pay"}


def test_what_the_record_says_itself_is_left_alone() -> None:
    records: list[dict[str, Any]] = [{"log": line, "level": "debug", "service": "own"} for line in PYTHON[:15]]
    records += [{"log": line, "service": "own"} for line in PYTHON[15:]]

    columns = decode(Decoder(detected), records)

    assert columns.messages[:15] == PYTHON[:15]
    assert columns.severity[:15].tolist() == [5] * 15
    assert columns.messages[15] == "item 15 added"
    assert columns.severity[15:17].tolist() == [17, 9]
    assert set(services(columns)) == {"own"}


def test_free_text_stays_as_it_is() -> None:
    lines = [f"the {word} fox jumps" for word in ("quick", "brown", "lazy", "sly", "red", "old") * 5]

    columns = decode(Decoder(detected), [{"log": line} for line in lines])

    assert columns.messages == lines
    assert services(columns) == ["tail.0"] * 30


def test_the_lines_after_the_first_of_a_record_are_kept() -> None:
    lines = [line + "\n  at cart.py:1\n  at main.py:2" for line in PYTHON]

    columns = decode(Decoder(detected), [{"log": line} for line in lines])

    assert columns.messages[0] == "item 0 added\n  at cart.py:1\n  at main.py:2"


def test_records_that_come_one_by_one_are_judged_once_there_are_enough() -> None:
    asked: list[int] = []

    def counted(tag: str, lines: list[str], observed_ns: int) -> Any:
        asked.append(len(lines))
        return detected(tag, lines, observed_ns)

    decoder = Decoder(counted)

    columns = [decode(decoder, [{"log": line}]) for line in PYTHON]

    assert [found.messages[0] for found in columns[:4]] == PYTHON[:4]
    assert columns[-1].messages == ["item 29 added"]
    assert asked == list(range(5, 17))


def test_a_tag_whose_lines_change_their_format_is_judged_anew() -> None:
    decoder = Decoder(detected)
    decode(decoder, [{"log": line} for line in PYTHON])

    columns = decode(decoder, [{"log": f'{{"level": "error", "msg": "now json {i}"}}'} for i in range(30)])

    assert columns.messages[0] == "now json 0"
    assert columns.severity[0] == 17


def test_each_tag_has_its_own_format() -> None:
    decoder = Decoder(detected)

    decode(decoder, [{"log": line} for line in PYTHON], "a")
    other = decode(decoder, [{"log": "just text"}] * 30, "b")
    again = decode(decoder, [{"log": PYTHON[3]}], "a")

    assert other.messages == ["just text"] * 30
    assert again.messages == ["item 3 added"]


def test_text_put_together_from_fields_is_no_formatted_line() -> None:
    columns = decode(Decoder(detected), [{"level_of_water": "error", "n": i} for i in range(30)])

    assert columns.messages[1] == "level_of_water=error n=1"
    assert set(columns.severity.tolist()) == {0}
