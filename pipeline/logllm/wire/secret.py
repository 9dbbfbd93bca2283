"""Secrets of destinations: a value named in the configuration, in a file or in the environment, and shown nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

import msgspec

from logllm.errors import ConfigError

__all__ = ["header_lines", "repeats", "secret", "visible"]

_MOST_BYTES = 65_536
_LEAST_TELLING = 6
_SCHEME_AND_HOST = re.compile(r"^[a-z]+://((?:[^/?#]*@)?)[^/?#]*", re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def secret(
    where: str,
    key: str,
    value: str,
    file: str = "",
    env: str = "",
    *,
    needed: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """The value, from the one place that is set; white space around it is not part of it.

    Args:
        where: What the configuration calls the thing it belongs to, for errors.
        key: The setting's name; `KEY_file` and `KEY_env` are the other two places.
        value: As the configuration has it.
        file: A file that has it.
        env: The name of an environment variable that has it.
        needed: Whether none of the three is an error; else it gives "".

    Raises:
        ConfigError: None or several are set, or it cannot be read. It never shows the value.
    """
    places = [name for name, given in ((key, value), (f"{key}_file", file), (f"{key}_env", env)) if given]
    if len(places) > 1 or (needed and not places):
        found = " and ".join(places) if places else "none"
        raise ConfigError(f"{where}: {found} of {key}, {key}_file and {key}_env is set, expected one of them")
    if file:
        value = _content(f"{where}: {key}_file", file)
    elif env:
        if env not in environ:
            raise ConfigError(f"{where}: {key}_env: {env} is not in the environment, expected {key} there")
        value = environ[env]
    value = value.strip()
    if places and not value:
        raise ConfigError(f"{where}: {places[0]}: empty, expected {key}")
    return value


def _content(where: str, file: str) -> str:
    path = Path(file)
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{where}: {path} is longer than {_MOST_BYTES} bytes, expected a secret alone")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8, expected text") from None


def header_lines(where: str, text: str) -> dict[str, str]:
    """`Name: value` lines, as a file of secret headers has them; blank ones and such that begin with # are skipped.

    >>> header_lines("destination 'ops': headers_file", "Authorization: Bearer t0k3n\\n# X-Off: 1\\n")
    {'Authorization': 'Bearer t0k3n'}

    Raises:
        ConfigError: A line is none; its number is told, not what it says.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not _HEADER.fullmatch(name) or not value.strip():
            raise ConfigError(f"{where}: line {number} is no header, expected `Name: value`")
        found[name] = value.strip()
    return found


def visible(config: msgspec.Struct, *hidden: str) -> list[tuple[str, object]]:
    """The fields of a configuration that are not at their defaults, for its repr; `***` in place of hidden ones."""
    values = [(field, getattr(config, field.name)) for field in msgspec.structs.fields(config)]
    return [
        (field.name, "***" if field.name in hidden else value)
        for field, value in values
        if value and value != field.default
    ]


def repeats(said: str | bytes, secrets: Iterable[str]) -> bool:
    """Whether what a receiver said has a secret in it, or a telling part of one.

    A part is what stands between the separators of a URL or header, from six characters on. It cannot see through
    every encoding: what is said is for the log of this machine, not for others.

    >>> repeats("no route for /services/T0/XXXXYYYYZZZZ", ["https://h/services/T0/XXXXYYYYZZZZ"])
    True
    """
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    text = f"{text}\n{unquote(text)}".lower()
    for value in secrets:
        # A URL's host is shown anyway.
        bare = _SCHEME_AND_HOST.sub(r"\1", value)
        for whole in (bare, unquote(bare)):
            parts = [whole, *re.split(r"[/?&=:@;,\s]+", whole)]
            if any(len(part) >= _LEAST_TELLING and part.lower() in text for part in parts):
                return True
    return False
