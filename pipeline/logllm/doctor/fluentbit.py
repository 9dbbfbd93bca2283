"""Whether a configuration of Fluent Bit loses records on the way to logllm. Read in the source of Fluent Bit 5.1.1."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

from logllm.doctor.finding import Finding, fail, ok, skipped, warn
from logllm.doctor.fluentbit_file import FluentBitConfig, Section, read
from logllm.errors import ConfigError

__all__ = ["FORWARD_KEYS", "examine_fluent_bit"]

# The configuration map of out_forward, and what every output with a network takes.
FORWARD_KEYS = frozenset(
    [
        "name",
        "match",
        "match_regex",
        "alias",
        "host",
        "port",
        "workers",
        "log_level",
        "log_suppress_interval",
        "retry_limit",
        "storage.total_limit_size",
        "tls",
        "tls.verify",
        "tls.verify_hostname",
        "tls.debug",
        "tls.ca_file",
        "tls.ca_path",
        "tls.crt_file",
        "tls.key_file",
        "tls.key_passwd",
        "tls.vhost",
        "tls.min_version",
        "tls.max_version",
        "tls.ciphers",
        "net.connect_timeout",
        "net.connect_timeout_log_error",
        "net.io_timeout",
        "net.keepalive",
        "net.keepalive_idle_timeout",
        "net.keepalive_max_recycle",
        "net.max_worker_connections",
        "net.dns.mode",
        "net.dns.resolver",
        "net.dns.prefer_ipv4",
        "net.dns.prefer_ipv6",
        "net.proxy_env_ignore",
        "net.source_address",
        "net.tcp_keepalive",
        "net.tcp_keepalive_time",
        "net.tcp_keepalive_interval",
        "net.tcp_keepalive_probes",
        "time_as_integer",
        "retain_metadata_in_forward_mode",
        "shared_key",
        "empty_shared_key",
        "self_hostname",
        "send_options",
        "require_ack_response",
        "username",
        "password",
        "unix_path",
        "upstream",
        "tag",
        "compress",
        "fluentd_compat",
        "add_option",
    ]
)

_ON = frozenset({"on", "true", "yes"})
_OFF = frozenset({"off", "false", "no"})
_UNLIMITED = frozenset({"no_limits", "false", "off"})


def examine_fluent_bit(path: Path) -> Iterator[Finding]:
    """Look at one file."""
    about = f"Fluent Bit's {path}"
    try:
        configs = read(path)
    except ConfigError as error:
        if "PyYAML" in str(error):
            yield skipped(about, str(error).removeprefix(f"{path}: "))
        else:
            yield fail(
                about, str(error).removeprefix(f"{path}: "), "give a configuration of Fluent Bit, YAML or classic"
            )
        return
    outputs = 0
    for config in configs:
        for include in config.includes[:20]:
            yield skipped(about, f"includes {include}, which was not looked at: give it as well")
        forwards = [one for one in config.outputs if _value(one, "name").lower() == "forward"]
        outputs += len(forwards)
        if not forwards:
            continue
        for number, output in enumerate(forwards, 1):
            yield from _output(f"{about}, forward output {number}{_where(output)}", output)
        yield from _storage(about, config)
    if not outputs:
        yield skipped(about, "it has no forward output")


def _value(section: Section, key: str, default: str = "") -> str:
    """The last value of a key, which is the one that counts."""
    return section.get(key, [default])[-1]


def _is(section: Section, key: str, default: bool = False, unknown: bool = True) -> bool:
    """Whether it is on. A variable is taken for `unknown`, which is chosen so that nothing is said of it."""
    text = _value(section, key).lower()
    if "${" in text:
        return unknown
    return text in _ON or (default and text not in _OFF)


def _where(output: Section) -> str:
    if "unix_path" in output:
        return f" ({_value(output, 'unix_path')})"
    if "upstream" in output:
        return f" ({_value(output, 'upstream')})"
    return f" ({_value(output, 'host', '127.0.0.1')}:{_value(output, 'port', '24224')})"


def _output(about: str, output: Section) -> Iterator[Finding]:
    found = [*_routing(output), *_delivery(output), *_safety(output), *_form(output)]
    for level, text, advice in found:
        yield (fail if level == "fail" else warn)(about, text, advice)
    if not found:
        yield ok(about, "acknowledged, retried without limit, bounded in its waiting")


_Trouble = tuple[str, str, str]


def _routing(output: Section) -> Iterator[_Trouble]:
    if not _value(output, "match") and not _value(output, "match_regex"):
        yield "fail", "neither match nor match_regex: it is given nothing", "set match: '*'"
    for key in sorted(set(output) - FORWARD_KEYS):
        yield "fail", f"{key} is no setting of a forward output: Fluent Bit does not start", f"correct or remove {key}"


def _delivery(output: Section) -> Iterator[_Trouble]:
    acks = _is(output, "require_ack_response")
    if not acks:
        yield (
            "fail",
            "require_ack_response is off: what is lost on the way stays lost, and nobody notices",
            "set require_ack_response on",
        )
    limit = _value(output, "retry_limit").lower()
    if not limit:
        yield "fail", "no retry_limit: the default drops a chunk after one retry", "set retry_limit no_limits"
    elif limit == "no_retries":
        yield "fail", "retry_limit no_retries: a chunk that fails once is dropped", "set retry_limit no_limits"
    elif limit not in _UNLIMITED and "${" not in limit:
        yield "warn", f"retry_limit {limit}: after so many retries a chunk is dropped", "set retry_limit no_limits"
    if acks and not re.match(r"0*[1-9]|\$\{", _value(output, "net.io_timeout")):
        yield (
            "warn",
            "no net.io_timeout: it waits for ever for an acknowledgement that does not come",
            "set net.io_timeout 30s",
        )
    if "storage.total_limit_size" in output:
        size = _value(output, "storage.total_limit_size")
        yield (
            "warn",
            f"storage.total_limit_size {size}: past it the oldest chunk is dropped",
            "watch fluentbit_output_dropped_records_total, or leave it out and watch the disk",
        )


def _safety(output: Section) -> Iterator[_Trouble]:
    key = bool(_value(output, "shared_key")) or _is(output, "empty_shared_key", unknown=False)
    if "unix_path" in output:
        if key:
            yield (
                "fail",
                "unix_path with shared_key: Fluent Bit 5.1 ends with a segmentation fault at the first flush",
                "remove shared_key; the permissions of the socket are the protection",
            )
        return
    host = _value(output, "host", "127.0.0.1")
    if _is(output, "tls"):
        if not _is(output, "tls.verify", default=True):
            yield "warn", "tls.verify is off: anybody can be the receiver", "set tls.verify on and tls.ca_file"
        elif not _is(output, "tls.verify_hostname"):
            yield (
                "warn",
                "tls.verify_hostname is off: any certificate of the CA will do, whatever name is in it",
                "set tls.verify_hostname on",
            )
    elif "upstream" not in output and not _loopback(host):
        also = "; after a failed handshake Fluent Bit 5.1.1 sends without one" if key else ""
        yield "warn", f"tls is off: records go to {host} in clear{also}", "set tls on, with tls.ca_file"


def _form(output: Section) -> Iterator[_Trouble]:
    compress = _value(output, "compress").lower()
    if compress not in ("", "gzip", "text") and "${" not in compress:
        yield "fail", f"compress {compress}: Fluent Bit refuses it at the start", "set compress gzip, or remove it"
    if _is(output, "time_as_integer", unknown=False):
        if compress == "gzip":
            yield "fail", "compress does not go with time_as_integer", "remove time_as_integer"
        else:
            yield "warn", "time_as_integer is on: times are whole seconds", "remove time_as_integer"
    if not _is(output, "retain_metadata_in_forward_mode", default=True):
        yield (
            "warn",
            "retain_metadata_in_forward_mode is off: the metadata of records is left out",
            "remove it: logllm reads both forms",
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _storage(about: str, config: FluentBitConfig) -> Iterator[Finding]:
    path = _value(config.service, "storage.path")
    inherited = _is(config.service, "storage.inherit") and _value(config.service, "storage.type") == "filesystem"
    memory, lost = [], False
    for number, section in enumerate(config.inputs, 1):
        name = f"{_value(section, 'name', '?')} (input {number})"
        kind = _value(section, "storage.type", "filesystem" if inherited else "memory").lower()
        if kind != "filesystem":
            memory.append(name)
        elif not path:
            lost = True
        if _value(section, "name").lower() in ("tail", "systemd") and not _value(section, "db"):
            yield warn(about, f"{name} has no db: after a restart it does not know where it was", "set db to a file")
    if lost:
        yield fail(
            about,
            "storage.type filesystem without storage.path: Fluent Bit does not start",
            "set storage.path under service",
        )
    elif not path:
        yield warn(
            about,
            "no storage.path: what is not acknowledged waits in memory and is lost when Fluent Bit ends",
            "set storage.path under service, and storage.type filesystem on the inputs",
        )
    if memory and path:
        yield warn(
            about,
            f"in memory alone: {', '.join(memory[:8])}: what waits is lost when Fluent Bit ends",
            "set storage.type filesystem",
        )
    if config.inputs and path and not memory:
        yield ok(about, f"what waits is on the disk, in {path}")
