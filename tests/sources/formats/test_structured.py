"""JSON lines, logfmt, and the lines of container runtimes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import Columns, Severity, rfc3339
from logllm.sources.formats.detect import by_name, detect, named_in
from logllm.sources.formats.line_format import Reading
from logllm.sources.formats.logfmt import pairs

REFERENCE_NS = 1_750_000_000 * 1_000_000_000
DAY = "2025-01-02T03:04:0"
T = "2025-01-02T03:04:05Z"
KEYS = st.sampled_from(["time", "level", "msg", "service", "name", "log"])


def parse(*lines: str | dict[str, Any], join: bool = True) -> Columns:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return detect(texts, reference_ns=REFERENCE_NS, default_service="app").parse(texts, join=join)


def services(columns: Columns) -> list[str]:
    return [columns.service_names[code] for code in columns.service_codes]


def levels(columns: Columns) -> list[str]:
    return [Severity(int(severity)).name for severity in columns.severity]


def times(columns: Columns) -> list[str]:
    return [rfc3339(int(time)) for time in columns.time_ns]


@pytest.mark.parametrize(
    ("record", "time", "level", "service", "message"),
    [
        ({"time": T, "level": "warn", "msg": "hi", "service": "pay"}, "03:04:05", "WARN", "pay", "hi"),
        ({"ts": 1735787045.25, "lvl": "error", "message": "hi"}, "03:04:05.250", "ERROR", "app", "hi"),
        ({"t": 1735787045250, "level": 30, "msg": "hi"}, "03:04:05.250", "INFO", "app", "hi"),
        ({"time": 1735787045250000, "level": 50, "msg": "hi"}, "03:04:05.250", "ERROR", "app", "hi"),
        ({"time": 1735787045250000000, "severity": "CRITICAL", "text": "hi"}, "03:04:05.250", "FATAL", "app", "hi"),
        (
            {
                "@timestamp": "2025-01-02T03:04:05.5Z",
                "log": {"level": "DEBUG"},
                "message": "hi",
                "service": {"name": "pay"},
            },
            "03:04:05.500",
            "DEBUG",
            "pay",
            "hi",
        ),
        ({"@timestamp": T, "log.level": "info", "service.name": "pay", "message": "hi"}, "03", "INFO", "pay", "hi"),
        ({"@t": T, "@l": "Error", "@m": "hi", "Application": "pay"}, "03:04:05", "ERROR", "pay", "hi"),
        (
            {"asctime": "2025-01-02 03:04:05,123", "levelname": "WARNING", "message": "hi"},
            "03:04:05.123",
            "WARN",
            "app",
            "hi",
        ),
        ({"Timestamp": T, "SeverityText": "Warn", "SeverityNumber": 13, "Body": "hi"}, "03", "WARN", "app", "hi"),
        ({"timestamp": T, "severity_number": 17, "body": "hi"}, "03:04:05", "ERROR", "app", "hi"),
        (
            {"t": {"$date": "2025-01-02T03:04:05.5+00:00"}, "s": "W", "c": "NET", "msg": "hi"},
            "03:04:05.500",
            "WARN",
            "app",
            "hi",
        ),
        (
            {"__REALTIME_TIMESTAMP": "1735787045250000", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "sshd", "MESSAGE": "hi"},
            "03:04:05.250",
            "ERROR",
            "sshd",
            "hi",
        ),
        (
            {"time": T, "level": "info", "msg": "hi", "kubernetes": {"labels": {"app": "pay"}, "container_name": "c"}},
            "03:04:05",
            "INFO",
            "pay",
            "hi",
        ),
        ({"time": T, "level": "info", "msg": "hi", "kubernetes": {"container_name": "c"}}, "03", "INFO", "c", "hi"),
        (
            {"name": "pay", "hostname": "h", "pid": 1, "level": 40, "msg": "hi", "time": T, "v": 0},
            "03",
            "WARN",
            "pay",
            "hi",
        ),
        (
            {"time": T, "level": "info", "status": 200, "path": "/a", "ok": True},
            "03",
            "INFO",
            "app",
            "status=200 path=/a ok=true",
        ),
    ],
)
def test_a_json_record_of_any_writer_is_understood(
    record: dict[str, Any], time: str, level: str, service: str, message: str
) -> None:
    columns = parse(record, record)

    assert times(columns)[1].startswith(f"2025-01-02T{time}")
    assert (levels(columns)[1], services(columns)[1], columns.messages[1]) == (level, service, message)


def test_records_of_several_writers_in_one_file() -> None:
    columns = parse(
        {"time": T, "level": "info", "msg": "one", "service": "pay"},
        {"time": DAY + "6Z", "level": "error", "message": "two", "service": {"name": "cart"}},
        {"@timestamp": DAY + "7Z", "log.level": "warn", "message": "three"},
        {"time": DAY + "8Z", "level": "info", "msg": {"deep": 1}},
    )

    assert columns.messages[:3] == ["one", "two", "three"]
    assert levels(columns) == ["INFO", "ERROR", "WARN", "INFO"]
    assert services(columns) == ["pay", "cart", "app", "app"]
    assert times(columns)[2] == DAY + "7.000Z"


def test_text_between_json_records_becomes_records_of_its_own_and_traces_are_joined() -> None:
    columns = parse(
        {"time": T, "level": "info", "msg": "one"},
        "Error: boom",
        "    at f (x.js:1:2)",
        "{broken json",
        {"time": DAY + "6Z", "level": "info", "msg": "two"},
        {"time": DAY + "6Z", "level": "info", "msg": "three"},
        {"time": DAY + "6Z", "level": "info", "msg": "four"},
    )

    assert columns.messages == ["one", "Error: boom\n    at f (x.js:1:2)", "{broken json", "two", "three", "four"]
    assert columns.position is not None
    assert columns.position.tolist() == [0, 1, 3, 4, 5, 6]
    assert times(columns)[1] == DAY + "5.000Z"


def test_what_json_can_escape_and_nobody_can_carry_is_taken_out() -> None:
    columns = parse('{"level":"info","msg":"a\\u0000b \\ud800 c"}', '{"level":"info","msg":"ü"}')

    assert "\0" not in columns.messages[0]
    assert columns.messages[0].encode().startswith(b"ab ")
    assert columns.messages[1] == "ü"


def test_a_json_time_that_is_none_keeps_the_last_and_is_counted() -> None:
    reading = Reading(REFERENCE_NS)
    reader = named_in("json", reading)
    lines = [json.dumps({"time": T, "msg": "a"}), '{"time":"soon","msg":"b"}', '{"msg":"c"}']

    columns = reader.parse(lines)

    assert times(columns) == [DAY + "5.000Z"] * 3
    assert reading.counts == {"time unreadable": 1}


def test_text_inside_json_that_is_a_log_line_itself_gives_its_level() -> None:
    inner = json.dumps({"level": "error", "msg": "deep", "service": "cart"})
    columns = parse(
        {"log": inner + "\n", "stream": "stdout", "time": T, "kubernetes": {"container_name": "web"}},
        {"log": inner + "\n", "stream": "stdout", "time": DAY + "6Z", "kubernetes": {}},
    )

    assert columns.messages == ["deep", "deep"]
    assert levels(columns) == ["ERROR", "ERROR"]
    assert services(columns) == ["web", "cart"]


def test_a_stack_trace_inside_a_json_string_stays() -> None:
    columns = parse({"level": "error", "msg": "boom\n  at f (x.js:1)\n"}, {"level": "info", "msg": "ok"})

    assert columns.messages == ["boom\n  at f (x.js:1)", "ok"]


@settings(max_examples=60)
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
            max_leaves=8,
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_json_gives_one_entry_a_line_and_text_that_can_be_sent_on(values: list[Any]) -> None:
    lines = [json.dumps(value) for value in values]

    columns = by_name("json", reference_ns=REFERENCE_NS).parse(lines, join=False)

    assert len(columns) == len(lines) == len(columns.time_ns) == len(columns.severity) == len(columns.service_codes)
    assert "\0" not in "".join(columns.messages)
    "".join(columns.messages).encode()


def test_logfmt_in_and_out_of_order() -> None:
    columns = parse(
        'time=2025-01-02T03:04:05Z level=info msg="hello \\"you\\" there" user=7',
        'time=2025-01-02T03:04:06Z level=error msg=bad err="x y" service=pay',
        "level=warn time=2025-01-02T03:04:07Z msg=order",
        'time=2025-01-02T03:04:08Z level=debug a=1 b="2 3"',
        'ts=2025-01-02T03:04:09Z severity=info message="other keys"',
    )

    assert columns.messages == ['hello "you" there', "bad", "order", "a=1 b=2 3", "other keys"]
    assert levels(columns) == ["INFO", "ERROR", "WARN", "DEBUG", "INFO"]
    assert services(columns) == ["app", "pay", "app", "app", "app"]
    assert times(columns) == [f"2025-01-02T03:04:0{second}.000Z" for second in (5, 6, 7, 8, 9)]


@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), st.text('ab "\\=', max_size=8), min_size=1)
)
def test_pairs_come_back_as_they_were_written(record: dict[str, str]) -> None:
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in record.items()}
    line = " ".join(f'{key}="{value}"' for key, value in quoted.items())

    assert pairs(line) == record


def test_cri_lines_are_put_together_by_stream() -> None:
    columns = parse(
        f'{DAY}1.123456789Z stdout F {{"level":"error","msg":"hi","service":"pay"}}',
        f'{DAY}2.123456789Z stdout P {{"level":"info",',
        f"{DAY}3Z stderr F Traceback (most recent call last):",
        f'{DAY}4Z stdout F "msg":"two"}}',
        f'{DAY}5Z stderr F   File "x.py", line 1',
        f"{DAY}6Z stderr F ValueError: x",
        f"{DAY}7Z stderr F next",
        f"{DAY}8Z stdout F ",
    )

    assert columns.messages == [
        "hi",
        "two",
        'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: x',
        "next",
    ]
    assert levels(columns) == ["ERROR", "INFO", "UNSPECIFIED", "UNSPECIFIED"]
    assert services(columns) == ["pay", "app", "app", "app"]
    assert columns.position is not None
    assert columns.position.tolist() == [0, 1, 2, 6]
    assert [time[:20] for time in times(columns)] == [f"{DAY}1.", f"{DAY}2.", f"{DAY}3.", f"{DAY}7."]


def docker(text: str, second: int, stream: str = "stdout") -> str:
    return json.dumps({"log": text, "stream": stream, "time": f"{DAY}{second}.123456789Z"})


def test_docker_lines_take_level_from_the_line_inside_and_time_from_outside() -> None:
    columns = parse(
        docker("2019-01-01 00:00:00,123 INFO store.Cart: hello\n", 1),
        docker("2019-01-01 00:00:00,124 ERROR store.Cart: in two ", 2),
        docker("parts\n", 3),
        docker("2019-01-01 00:00:00,125 INFO store.Cart: bye\n", 4, "stderr"),
    )

    assert columns.messages == ["hello", "in two parts", "bye"]
    assert levels(columns) == ["INFO", "ERROR", "INFO"]
    assert [time[:19] for time in times(columns)] == [f"{DAY}{second}" for second in (1, 2, 4)]


def test_standard_error_alone_is_no_level() -> None:
    columns = parse(docker("just text\n", 1, "stderr"), docker("more text\n", 2, "stderr"))

    assert levels(columns) == ["UNSPECIFIED", "UNSPECIFIED"]


def test_docker_json_of_a_shipper_that_takes_newlines_off_is_not_all_one_record() -> None:
    columns = parse(docker("one", 1), docker("two", 2), docker("three", 3))

    assert columns.messages == ["one", "two", "three"]


def test_container_lines_without_joining_are_one_to_one() -> None:
    columns = parse(f"{DAY}1Z stdout P half", f"{DAY}2Z stdout F and half", "no container line", join=False)

    assert columns.messages == ["half", "and half", "no container line"]
