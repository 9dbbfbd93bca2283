"""A configuration of Fluent Bit as plain sections, from its YAML or its classic format.

Only what is in the file itself: includes are named and not followed, and `${VARIABLE}` stays as it is. A Kubernetes
manifest, or a Compose file, is read for the configurations in it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from logllm.errors import ConfigError

__all__ = ["FluentBitConfig", "Section", "read"]

_LARGEST_BYTES = 4 << 20
_DEEPEST = 8
_KINDS = {"input": "inputs", "filter": "filters", "output": "outputs"}

Section = dict[str, list[str]]
"""Keys in lower case, with every value they were given."""


class FluentBitConfig(msgspec.Struct):
    """The parts of a configuration that say what is sent where.

    >>> text = "[SERVICE]\\n    Flush 1\\n[OUTPUT]\\n    Name forward\\n    Match *\\n"
    >>> classic(text).outputs
    [{'name': ['forward'], 'match': ['*']}]
    """

    service: Section = {}
    inputs: list[Section] = []
    filters: list[Section] = []
    outputs: list[Section] = []
    includes: list[str] = []


def read(path: Path) -> list[FluentBitConfig]:
    """The configurations of a file: one, or those within a manifest.

    Raises:
        ConfigError: It cannot be read, or is neither format. Says so where YAML is, and PyYAML is not installed.
    """
    try:
        with path.open("rb") as file:
            body = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from error
    if len(body) > _LARGEST_BYTES:
        raise ConfigError(f"{path}: larger than {_LARGEST_BYTES >> 20} MiB")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    try:
        if path.suffix in (".yaml", ".yml"):
            return _yaml(text)
        return [classic(text)]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def classic(text: str) -> FluentBitConfig:
    """Fluent Bit's classic format.

    Raises:
        ConfigError: A line is neither a section nor a key with a value; names it.
    """
    config = FluentBitConfig()
    section: Section | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        head = re.fullmatch(r"\[([A-Za-z_.]+)\]", line)
        if head:
            section = {}
            name = head[1].lower()
            if name == "service":
                config.service = section
            elif name in _KINDS:
                getattr(config, _KINDS[name]).append(section)
            continue
        if line.startswith("@"):
            if line.lower().startswith("@include "):
                config.includes.append(line.partition(" ")[2].strip())
            continue
        key, _, value = line.replace("\t", " ").partition(" ")
        if section is None or not value.strip():
            raise ConfigError(f"line {number}: expected `[SECTION]`, or a key and a value within one")
        section.setdefault(key.lower(), []).append(value.strip())
    return config


def _yaml(text: str) -> list[FluentBitConfig]:
    try:
        import yaml
    except ImportError:
        raise ConfigError("to read YAML, PyYAML is needed: pip install pyyaml") from None
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())[:300]}") from error
    configs: list[FluentBitConfig] = []
    for one in documents:
        held = _holds(one)
        if held is not None:
            configs += [config for name, text in held for config in _held(name, text)]
        elif one is not None:
            configs.append(_document(one))
    return configs


def _holds(document: object) -> list[tuple[str, str]] | None:
    """Names and texts of the files within a manifest of Kubernetes or Docker Compose; None for what is neither."""
    if not isinstance(document, dict) or not ("kind" in document or "services" in document):
        return None
    files = document.get("data") if document.get("kind") == "ConfigMap" else document.get("configs")
    if not isinstance(files, dict):
        return []
    if "kind" not in document:
        # Compose has the text one level down, names it as it likes, and takes `$$` for `$`.
        texts = {name: one.get("content") for name, one in files.items() if isinstance(one, dict)}
        files = {f"{name}.yaml": text.replace("$$", "$") for name, text in texts.items() if isinstance(text, str)}
        files = {name: text for name, text in files.items() if "pipeline:" in text}
    return [(str(name), text) for name, text in files.items() if isinstance(text, str)]


def _held(name: str, text: str) -> list[FluentBitConfig]:
    """A file within a manifest; nothing for one that is no configuration of Fluent Bit."""
    if name.endswith((".yaml", ".yml")):
        return _yaml(text)
    return [classic(text)] if name.endswith(".conf") and re.search(r"^\[OUTPUT\]", text, re.M | re.I) else []


def _document(document: object) -> FluentBitConfig:
    if not isinstance(document, dict):
        raise ConfigError("expected a mapping with `service` and `pipeline`")
    pipeline = document.get("pipeline") or {}
    if not isinstance(pipeline, dict):
        raise ConfigError("`pipeline`: expected a mapping with `inputs` and `outputs`")
    config = FluentBitConfig(service=_section(document.get("service") or {}, "service"))
    for kind in _KINDS.values():
        listed = pipeline.get(kind) or []
        if not isinstance(listed, list):
            raise ConfigError(f"`pipeline.{kind}`: expected a list")
        setattr(config, kind, [_section(one, f"pipeline.{kind}[{number}]") for number, one in enumerate(listed)])
    includes = document.get("includes") or []
    config.includes = [str(one) for one in includes] if isinstance(includes, list) else [str(includes)]
    return config


def _section(value: object, place: str) -> Section:
    if not isinstance(value, dict):
        raise ConfigError(f"`{place}`: expected a mapping")
    section: Section = {}
    _flatten(value, "", section, _DEEPEST)
    return section


def _flatten(mapping: dict[Any, Any], before: str, into: Section, deep: int) -> None:
    """`storage: {path: /x}` is the same as `storage.path: /x`. Processors are passed over: they are not settings."""
    for name, value in mapping.items():
        key = f"{before}{name}".lower()
        if key == "processors":
            continue
        if isinstance(value, dict) and deep:
            _flatten(value, f"{key}.", into, deep - 1)
        elif isinstance(value, list):
            into[key] = [_text(one) for one in value]
        else:
            into[key] = [_text(value)]


def _text(value: object) -> str:
    """A scalar as the classic format writes it. YAML 1.1 has made `on` a truth value."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)[:1_000]
