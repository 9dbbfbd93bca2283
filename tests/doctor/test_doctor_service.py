"""What doctor asks a running service, answered by servers of ours: good, bad and hostile ones."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.doctor.ask import get
from logllm.doctor.finding import Finding
from logllm.doctor.service import examine_service, samples, version_at
from logllm.errors import SourceError
from tests.doctor.servers import GOOD, Answer, answer, serving


def examined(pages: dict[str, tuple[int, bytes] | Answer]) -> list[Finding]:
    with serving({**GOOD, **pages}) as url:
        return list(examine_service(url, version_at(url), wanted=True))


def troubles(pages: dict[str, tuple[int, bytes] | Answer]) -> list[Finding]:
    return [one for one in examined(pages) if one.level in ("warn", "fail")]


def test_a_service_that_does_well_is_told_page_by_page() -> None:
    found = examined({})

    assert [one.level for one in found] == ["ok"] * 4
    assert "logllm 0.1.0" in found[0].found
    assert "1 known, all acknowledged" in found[3].found


def test_no_service_fails_only_where_one_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
    # Closed again: nobody answers there now.

    assert version_at(url) is None
    assert [one.level for one in examine_service(url, None, wanted=True)] == ["fail"]
    assert [one.level for one in examine_service(url, None, wanted=False)] == ["skipped"]


def test_what_is_not_ready_is_named() -> None:
    (found,) = troubles({"/readyz": (503, b'{"status":"not ready","reasons":["sink out: full","draining"]}')})

    assert found.level == "fail"
    assert found.found == "not ready: sink out: full; draining"


@pytest.mark.parametrize(
    ("sample", "told", "advice"),
    [
        (
            "logllm_forward_unacknowledged_events_total 12000.0",
            "without a chunk id, so a sender without acks: 12,000",
            "require_ack_response",
        ),
        ("logllm_forward_protocol_errors_total 2.0", "closed for what the peer sent: 2", "log"),
        ('logllm_forward_skipped_entries_total{reason="time"} 3.0', "no records and were skipped: 3", "reason"),
        ("logllm_forward_connections_refused_total 1.0", "too many were open: 1", "max_connections"),
        (
            'logllm_plugin_failures_total{plugin="p",reason="trap"} 4.0',
            "calls of plugins that failed: 4",
            "logllm plugins",
        ),
        ('logllm_plugin_bypassed{plugin="p"} 1.0', "since they fail too often: 1", "logllm plugins"),
        ('logllm_forward_handshake_failures_total{reason="key"} 5.0', "did not get in: 5", "key, user"),
        (
            'logllm_component_errors_total{component="out",error_type="full"} 6.0',
            "sinks, tried again since: 6",
            "readyz",
        ),
        (
            'logllm_component_discarded_events_total{component="out",intentional="false"} 7.0\n'
            'logllm_component_discarded_events_total{component="rule",intentional="true"} 8.0',
            "had no room for: 7",
            "optional_bytes",
        ),
        (
            'logllm_config_reloads_total{outcome="done"} 9.0\nlogllm_config_reloads_total{outcome="refused"} 1.0',
            "refused, the old configuration staying: 1",
            "doctor",
        ),
        ("logllm_event_lag_seconds 36000.0", "10.0 h behind", "clocks"),
        ("logllm_event_lag_seconds -600.0", "600 s ahead", "clocks"),
    ],
)
def test_a_count_that_should_be_zero_is_told_with_what_to_do(sample: str, told: str, advice: str) -> None:
    (found,) = troubles({"/metrics": (200, f"{sample}\nlogllm_templates 1.0\n".encode())})

    assert found.level == "warn"
    assert told in found.found
    assert advice in found.advice


@pytest.mark.parametrize(
    ("sender", "told"),
    [
        (b'"records_without_id":5', "if they get lost on the way: 5"),
        (b'"chunk_id_kind":"hex"', "older than July 2026"),
        (b'"legacy_entries":true', "without metadata"),
        (b'"integer_times":true', "whole seconds"),
    ],
)
def test_a_sender_that_could_do_better_is_named(sender: bytes, told: str) -> None:
    (found,) = troubles({"/senders": (200, b'[{"host":"web-1",' + sender + b',"records":9,"more":"x"}]')})

    assert found.level == "warn"
    assert found.about == "sender web-1"
    assert told in found.found
    assert found.advice


def test_of_a_thousand_bad_senders_the_largest_are_told_and_the_rest_counted() -> None:
    senders = ",".join(f'{{"host":"h{number}","records":{number},"integer_times":true}}' for number in range(1_000))

    found = troubles({"/senders": (200, f"[{senders}]".encode())})

    assert len(found) == 21
    assert found[0].about == "sender h999"
    assert found[-1].found == "980 more of the kind"


def test_a_version_without_a_page_of_senders_is_no_trouble() -> None:
    found = examined({"/senders": (404, b"{}")})

    assert found[-1].level == "skipped"
    assert [one for one in found if one.level in ("warn", "fail")] == []


def drips(sock: socket.socket) -> None:
    """A head that never ends, a byte now and then."""
    sock.sendall(b"HTTP/1.1 200 x\r\nx: ")
    began = time.monotonic()
    while time.monotonic() - began < 10:
        sock.sendall(b"y")
        time.sleep(0.05)


def floods(sock: socket.socket) -> None:
    """A body that never ends."""
    sock.sendall(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(10_000):
        sock.sendall(b"10000\r\n" + b"z" * 0x10000 + b"\r\n")


BAD: dict[str, Answer | tuple[int, bytes]] = {
    "nothing": b"",
    "no HTTP": b"\x93\xa3app\xce\x65\x53\xf1\x00\x81\xa3log\xa2hi",
    "a status that is none": b"HTTP/1.1 999999 x\r\n\r\n",
    "less than it promises": b"HTTP/1.1 200 x\r\ncontent-length: 100\r\n\r\n{",
    "a body without end": floods,
    "a head without end": b"HTTP/1.1 200 x\r\n" + b"x: y\r\n" * 100_000,
    "a redirect to itself": answer(302, b"", "location: /readyz\r\n"),
    "a redirect to a file": answer(302, b"", "location: file:///etc/passwd\r\n"),
    "a bomb": answer(200, gzip.compress(b"0" * 50_000_000), "content-encoding: gzip\r\n"),
    "another type": (200, b"[1,2,3]"),
    "deep nesting": (200, b"[" * 100_000),
    "no UTF-8": (200, b'{"status":"\xff\xfe"}'),
    "a number that is none": (200, b"logllm_a_total 1e999999\nlogllm_b_total 0x1\nlogllm_c_total\n"),
    "reasons that are none": (503, b'{"reasons":{"a":1}}'),
    "reasons that steer a terminal": (503, b'{"reasons":["\\u001b]0;owned\\u0007"]}'),
    "a sender that is none": (200, b'[{"host":7}]'),
    "numbers that are none": (200, b'[{"host":"a","records":1e400}]'),
    "another service": (500, b"Internal Server Error"),
    "another service's health": (200, b'{"version":"2.1","healthy":true}'),
}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/senders"])
@pytest.mark.parametrize("what", BAD)
def test_no_answer_brings_doctor_down_and_none_is_taken_for_a_good_one(what: str, path: str) -> None:
    found = examined({path: BAD[what]})

    assert found
    if path in ("/healthz", "/readyz"):
        # To /readyz the status is the answer.
        assert any(one.level == "fail" for one in found) or (path == "/readyz" and b"200" in head(BAD[what]))
    else:
        assert any(one.level in ("warn", "fail", "skipped") for one in found)


def head(page: Answer | tuple[int, bytes]) -> bytes:
    return b"200" if callable(page) else str(page[0]).encode() if isinstance(page, tuple) else page[:14]


@pytest.mark.parametrize("slow", [drips, lambda sock: sock.recv(1)])
def test_an_answer_that_takes_for_ever_is_given_up_after_its_time_in_all(slow: Callable[[socket.socket], None]) -> None:
    with serving({"/": slow}) as url, pytest.raises(SourceError, match=r"within 0\.3 s"):
        get(f"{url}/", whole_s=0.3)


def test_an_answer_that_is_too_large_is_given_up() -> None:
    with serving({"/": floods}) as url, pytest.raises(SourceError, match="more than 8 MiB"):
        get(f"{url}/", whole_s=60)


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    with serving(GOOD) as url:
        assert version_at(url) == "0.1.0"


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://a b", "http://127.0.0.1:99999", "http://\udcff"])
def test_an_address_that_is_none_is_no_service(url: str) -> None:
    assert version_at(url) is None


@given(st.text())
def test_any_text_is_read_as_metrics(text: str) -> None:
    assert all(sample.name.startswith("logllm_") for sample in samples(text))
