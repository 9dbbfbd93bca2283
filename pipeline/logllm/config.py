"""The configuration: every component's own struct, united. A TOML file, or nothing at all."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
from msgspec.structs import replace

from logllm.actions.config import ActionsConfig
from logllm.detectors.config import DetectConfig
from logllm.egress import EgressConfig
from logllm.errors import ConfigError
from logllm.explain.config import ExplainConfig
from logllm.explain.model.config import LlmConfig
from logllm.filters.config import GRANTS, PluginConfig
from logllm.notify.config import NotifyConfig
from logllm.sinks.config import DeliveryConfig, SinkConfig
from logllm.sinks.reduce.config import ReduceConfig
from logllm.sources.forward.server import ForwardConfig

__all__ = ["Config", "HttpConfig"]

_CHOICES = {
    "grants": " ".join(GRANTS),
    "on_error": "keep, drop or stop",
    "stage": "ingest or egress",
    "event_format": "json or msgpack",
    "tenant": 'nothing, "peer" or "tag:N"',
    "sha256": "64 hexadecimal digits",
}


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`/healthz`, `/readyz` and `/metrics`. They have no authentication: keep them on loopback."""

    listen: str = "127.0.0.1:24280"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. Each part is described where it is used.

    Args:
        data_dir: Where incidents and what was learned are kept; None: nowhere, a restart learns anew.
        sinks: Where records go on to, `[[sinks]]` in the file; chunks are acknowledged when those have them.
        plugins: The filters, `[[plugins]]` in the file, in the order they run. A relative path is looked for beside
            the file first.

    >>> Config().detect.alerts_per_day
    5.0
    """

    data_dir: str | None = None
    forward: ForwardConfig = ForwardConfig()
    http: HttpConfig = HttpConfig()
    detect: DetectConfig = DetectConfig()
    explain: ExplainConfig = ExplainConfig()
    llm: LlmConfig = LlmConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    reduce: ReduceConfig = ReduceConfig()
    notify: NotifyConfig = NotifyConfig()
    actions: ActionsConfig = ActionsConfig()
    egress: EgressConfig = EgressConfig()
    sinks: list[SinkConfig] = []
    plugins: list[PluginConfig] = []

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read a TOML file.

        Raises:
            ConfigError: One line: the file, the place in it, and what was expected there.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
        except ValueError as error:
            raise ConfigError(f"{str(path)!r}: not a path: {error}") from error
        try:
            config = msgspec.convert(tomllib.loads(text), cls)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
        except msgspec.ValidationError as error:
            # A key in quotes may have line breaks in it.
            said = " ".join(str(error).splitlines())
            raise ConfigError(f"{path}: {said}{_choices(str(error))}") from error
        beside = Path(path).parent
        notify = config.notify
        if notify.owners and (beside / notify.owners).is_file():
            notify = replace(notify, owners=str(beside / notify.owners))
        detect = config.detect
        if detect.learned is not None:
            # Beside it also where there is none yet: the first answer makes the file.
            detect = replace(detect, learned=str(beside / detect.learned))
        plugins = [_found(plugin, beside) for plugin in config.plugins]
        return replace(config, plugins=plugins, notify=notify, detect=detect)


def _choices(told: str) -> str:
    """What may stand at the place that msgspec complains of, where it does not say so itself."""
    if "`allow_remote`" in told:
        return '; a model elsewhere is allowed by its host\'s name now: [egress] allow = ["llm.example.com"]'
    place = told.rpartition("`$.")[2].rstrip("`")
    key = re.sub(r"\[[^]]*\]", "", place).rpartition(".")[2]
    if place.startswith("plugins") and key in _CHOICES and ("enum" in told or "regex" in told):
        return f"; expected {_CHOICES[key]}"
    return ""


def _found(plugin: PluginConfig, folder: Path) -> PluginConfig:
    return replace(plugin, path=str(folder / plugin.path)) if (folder / plugin.path).is_file() else plugin
