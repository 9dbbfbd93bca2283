"""A running logllm, asked over HTTP: whether it is ready, what it counts, and how its senders send."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from logllm.doctor.ask import get
from logllm.doctor.finding import Finding, fail, ok, skipped, warn
from logllm.errors import SourceError
from logllm.sources.forward.senders import Sender

__all__ = ["Sample", "examine_service", "samples", "version_at"]

_MOST_SENDERS = 20
_MOST_REASONS = 10
_SAMPLE = re.compile(r"(logllm_\w{1,100})(\{[^\n]{0,500}\})?[ \t]+(\S{1,40})", re.ASCII)
_LATE_S, _EARLY_S = 3_600.0, -60.0


class Sample(NamedTuple):
    """One line of `/metrics`."""

    name: str
    labels: str
    value: float


class _Counter(NamedTuple):
    """A metric that should be zero, or its samples that have a label."""

    name: str
    found: str
    advice: str
    label: str = ""


_ZERO = (
    _Counter(
        "logllm_forward_unacknowledged_events_total",
        "records without a chunk id, so a sender without acks",
        "set require_ack_response on at the sender",
    ),
    _Counter(
        "logllm_forward_protocol_errors_total",
        "connections closed for what the peer sent",
        "see its log for the peer and the reason",
    ),
    _Counter(
        "logllm_forward_skipped_entries_total",
        "entries that were no records and were skipped",
        "see the reason label in /metrics, and the sender's configuration",
    ),
    _Counter(
        "logllm_forward_connections_refused_total",
        "connections refused, since too many were open",
        "raise forward.max_connections and the limit of open files",
    ),
    _Counter(
        "logllm_forward_handshake_failures_total",
        "peers that did not get in",
        "see its log for who, and the key, user or certificate there",
    ),
    _Counter(
        "logllm_component_errors_total",
        "failures of sinks, tried again since",
        "see /readyz for what fails now, and its log",
    ),
    _Counter(
        "logllm_component_discarded_events_total",
        "records that a sink which is not required had no room for",
        "see what it waits for, or raise delivery.optional_bytes",
        'intentional="false"',
    ),
    _Counter(
        "logllm_config_reloads_total",
        "reloads that were refused, the old configuration staying",
        "see its log, and run doctor on the new configuration",
        'outcome="refused"',
    ),
    _Counter(
        "logllm_plugin_failures_total",
        "calls of plugins that failed",
        "see `logllm plugins` for which, and its last error",
    ),
    _Counter(
        "logllm_plugin_bypassed",
        "plugins bypassed now, since they fail too often",
        "see `logllm plugins` for which, and its last error",
    ),
)


def version_at(url: str) -> str | None:
    """The version of the logllm that answers there, "of unknown version" included; None where none does."""
    try:
        answer = get(f"{url}/healthz")
        told = msgspec.json.decode(answer.body, type=dict[str, object])
    except (SourceError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if answer.status != 200 or told.get("status") != "ok":
        return None
    return str(told.get("version", "of unknown version"))[:40]


def examine_service(url: str, running: str | None, *, wanted: bool) -> Iterator[Finding]:
    """Look at the service at `url`.

    Args:
        running: Its version, None where none answers.
        wanted: Somebody asked for this very address: then it must answer.
    """
    about = f"service {url}"
    if running is None:
        yield (
            fail(about, "no logllm answers", "start it, or correct --url")
            if wanted
            else skipped(about, "no logllm answers")
        )
        return
    yield ok(about, f"logllm {running} answers")
    yield _ready(url)
    yield from _metrics(url)
    yield from _senders(url)


def _ready(url: str) -> Finding:
    about = f"service {url}/readyz"
    try:
        answer = get(f"{url}/readyz")
        if answer.status == 200:
            return ok(about, "ready")
        told = msgspec.json.decode(answer.body, type=dict[str, object])
    except SourceError as error:
        return fail(about, _short(error, url), "see its log")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return fail(about, f"answers {answer.status}, and not as logllm does", "correct --url")
    reasons = told.get("reasons")
    listed = [str(one)[:200] for one in reasons[:_MOST_REASONS]] if isinstance(reasons, list) else []
    return fail(about, f"not ready: {'; '.join(listed) or 'no reason is given'}", "see its log")


def _metrics(url: str) -> Iterator[Finding]:
    about = f"service {url}/metrics"
    try:
        answer = get(f"{url}/metrics")
    except SourceError as error:
        yield fail(about, _short(error, url), "see its log")
        return
    found = samples(answer.body.decode("utf-8", "replace")) if answer.status == 200 else []
    if not found:
        yield fail(about, f"answers {answer.status} without metrics of logllm", "correct --url")
        return
    troubled = False
    for counter in _ZERO:
        value = sum(one.value for one in found if one.name == counter.name and counter.label in one.labels)
        if value > 0:
            troubled = True
            yield warn(about, f"{counter.found}: {value:,.0f}", counter.advice)
    for lag_s in [one.value for one in found if one.name == "logllm_event_lag_seconds"][:1]:
        if not _EARLY_S < lag_s < _LATE_S:
            troubled = True
            told = f"{lag_s / 3600:,.1f} h behind this machine's clock" if lag_s > 0 else f"{-lag_s:,.0f} s ahead of it"
            yield warn(about, f"the newest record is {told}", "look at the clocks, and at what waits at the senders")
    if not troubled:
        yield ok(about, "nothing is counted that should not be")


def samples(text: str) -> list[Sample]:
    """Prometheus text; lines that are no samples of logllm are passed over.

    >>> samples('logllm_a_total{reason="x"} 1\\nnonsense\\nlogllm_b nan')
    [Sample(name='logllm_a_total', labels='{reason="x"}', value=1.0)]
    """
    read = []
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None:
            continue
        try:
            number = float(found[3])
        except ValueError:
            continue
        if math.isfinite(number):
            read.append(Sample(found[1], found[2] or "", number))
    return read


def _senders(url: str) -> Iterator[Finding]:
    about = f"service {url}/senders"
    try:
        answer = get(f"{url}/senders")
        if answer.status == 404:
            yield skipped(about, "this version does not tell")
            return
        senders = msgspec.json.decode(answer.body, type=list[Sender])
    except SourceError as error:
        yield warn(about, _short(error, url), "see its log")
        return
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        yield warn(about, f"answers {answer.status}, and no list of senders: {error}", "correct --url")
        return
    troubles = [(sender, *told) for sender in senders for told in _troubles(sender)]
    troubles.sort(key=lambda one: -one[0].records)
    for sender, found, advice in troubles[:_MOST_SENDERS]:
        yield warn(f"sender {sender.host[:100]}", found, advice)
    if len(troubles) > _MOST_SENDERS:
        yield warn(about, f"{len(troubles) - _MOST_SENDERS} more of the kind", f"see {url}/senders")
    if not troubles:
        yield ok(about, f"{len(senders)} known, all acknowledged" if senders else "none has sent yet")


def _troubles(sender: Sender) -> Iterator[tuple[str, str]]:
    if sender.records_without_id > 0:
        yield (
            f"records without a chunk id, which stay lost if they get lost on the way: {sender.records_without_id:,}",
            "set require_ack_response on there",
        )
    if sender.chunk_id_kind == "hex":
        yield (
            "its chunk ids are those of a Fluent Bit older than July 2026, which does not check that the receiver "
            "knows the shared key",
            "update Fluent Bit there, and use TLS",
        )
    if sender.legacy_entries:
        yield (
            "its records come in the old form, without metadata",
            "update Fluent Bit there to 5.0.5, or remove retain_metadata_in_forward_mode; Fluentd knows no other",
        )
    if sender.integer_times:
        yield (
            "its times are whole seconds: the order within one is unknown",
            "remove time_as_integer there, or switch on sub-second times",
        )


def _short(error: SourceError, url: str) -> str:
    return re.sub(rf"^{re.escape(url)}/\w+: ", "", str(error))
