"""All checks, in the order in which one would look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.config import Config
from logllm.doctor.addresses import examine_listening, examine_openness, examine_unix_path, reaches
from logllm.doctor.alerts import examine_alerts, reach, reach_destinations
from logllm.doctor.finding import Finding, fail, ok, skipped, warn
from logllm.doctor.fluentbit import examine_fluent_bit
from logllm.doctor.folders import examine_folder
from logllm.doctor.parts import examine_clock, examine_limits, examine_model, examine_plugins, examine_state
from logllm.doctor.secrets import examine_secrets
from logllm.doctor.service import examine_service, version_at
from logllm.errors import ConfigError
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.http_config import HttpSinkConfig
from logllm.sources.forward.secrets import load_gate, load_tls

if TYPE_CHECKING:
    from logllm.sinks.config import SinkConfig

__all__ = ["Options", "configuration", "examine"]


class Options(msgspec.Struct, frozen=True):
    """What to look at.

    Args:
        config_path: None for the defaults.
        data_dir: In place of the configuration's.
        url: Of a running service, without a path; None for the configuration's `http.listen`.
        fluent_bit: Configurations of Fluent Bit.
        offline: Only files, folders and plugins: nothing is bound, nobody is asked.
    """

    config_path: str | None = None
    data_dir: str | None = None
    url: str | None = None
    fluent_bit: tuple[str, ...] = ()
    offline: bool = False


def configuration(options: Options) -> tuple[Config | None, Finding]:
    """The configuration, None where it is wrong."""
    about = f"configuration {options.config_path or '(the defaults)'}"
    try:
        config = Config() if options.config_path is None else Config.load(options.config_path)
    except ConfigError as error:
        told = str(error).removeprefix(f"{options.config_path}: ")
        return None, fail(about, told, "correct it; samples/logllm.toml has every setting")
    if options.data_dir is not None:
        config = msgspec.structs.replace(config, data_dir=options.data_dir)
    return config, ok(about, "loads")


def examine(config: Config | None, options: Options) -> Iterator[Finding]:
    """Every check but that of the configuration itself, one by one as they are done.

    Args:
        config: None where it is wrong: then only what does not need it is looked at.
    """
    if config is not None:
        url = (options.url or _url(config.http.listen)).rstrip("/")
        running = None if options.offline or not url else version_at(url)
        yield from _files(config, options)
        if not options.offline:
            yield from examine_listening(config, running, url)
            yield from _receivers(config)
            yield from examine_service(url, running, wanted=options.url is not None)
    for path in options.fluent_bit:
        yield from examine_fluent_bit(Path(path))


def _url(listen: str) -> str:
    """Where to ask what listens there. A port of 0 is nowhere."""
    host, _, port = listen.rpartition(":")
    if port == "0" or not host:
        return ""
    return f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104 - not bound


def _files(config: Config, options: Options) -> Iterator[Finding]:
    now = datetime.now(UTC)
    yield examine_clock()
    yield examine_limits(config)
    yield from examine_secrets("forward", config.forward, now)
    yield _entrance(config)
    yield from examine_openness(config)
    if config.forward.unix_path:
        yield examine_unix_path(Path(config.forward.unix_path))
    if config.data_dir is None:
        yield skipped("data_dir", "none is set: what was learned is gone with each restart")
    else:
        yield from examine_folder(f"data_dir {config.data_dir}", Path(config.data_dir))
        yield from examine_state(Path(config.data_dir))
    for sink in config.sinks:
        yield from _sink(sink, now)
    yield from examine_alerts(config, now)
    yield from examine_model(config.explain, config.egress, offline=options.offline)
    yield from examine_plugins(config)


def _entrance(config: Config) -> Finding:
    """Whether keys, users and certificates are what the server takes, and go together."""
    forward, asked = config.forward, []
    try:
        if load_gate(forward) is not None:
            asked.append("a shared key" if forward.users_file is None else "a shared key and a user")
        if load_tls(forward) is not None:
            asked.append("TLS" if forward.tls_client_ca is None else "TLS with a certificate of their own")
    except ConfigError as error:
        return fail("forward's keys", str(error), "correct it: the service does not start")
    return ok("forward's keys", f"senders are asked for {' and '.join(asked) or 'nothing'}")


def _sink(sink: SinkConfig, now: datetime) -> Iterator[Finding]:
    about = f"sink {sink.label}"
    yield from examine_secrets(about, sink, now)
    try:
        sink.check()
    except ConfigError as error:
        yield fail(about, str(error).removeprefix(f"{about}: "), "correct it: the service does not start")
        return
    yield ok(about, "can be used as it is configured" + ("" if sink.required else "; not required"))
    if isinstance(sink, FileSinkConfig):
        folder = Path(sink.path).parent
        yield from examine_folder(f"{about}, folder {folder}", folder)


def _receivers(config: Config) -> Iterator[Finding]:
    for sink in config.sinks:
        if isinstance(sink, ForwardSinkConfig):
            found = reaches(f"sink {sink.label}, {sink.address}", sink.address)
            if found.level == "fail" and not sink.required:
                found = warn(found.about, found.found, "it is not required: what finds no room is dropped there")
            yield found
        elif isinstance(sink, HttpSinkConfig):
            yield from reach(f"sink {sink.label}", sink.address())
    yield from reach_destinations(config)
