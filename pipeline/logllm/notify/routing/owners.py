"""`owners.toml`: which team a service belongs to, and how that team is told."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from functools import lru_cache
from pathlib import Path

import msgspec

from logllm.errors import ConfigError
from logllm.notify.routing.patterns import LONGEST_TEXT
from logllm.notify.routing.plan import Step

__all__ = ["Owners", "Team"]

LARGEST_BYTES = 1 << 20
MOST_TEAMS = 1_000
MOST_PATTERNS = 10_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_REMEMBERED = 4_096


class Team(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[teams.NAME]`.

    Args:
        services: Names of services; `*` stands for any characters, `?` for one.
        to: Destinations that `"@owner"` stands for; empty: those that the route's parent names.
        escalate: Who is told when nobody acknowledges, where the route does not say so itself; left out: as for
            everybody, empty: nobody.
        hours: A time interval. Outside of it only critical incidents are told at once, others wait for it; empty:
            always.
    """

    services: list[str] = []
    to: list[str] = []
    escalate: list[Step] | None = None
    hours: str = ""


class Owners:
    """Finds the team of a service: of all patterns that match, the one with the most literal characters decides.

    Of two such, one without `*` and `?` goes first, then the one that stands earlier. Upper and lower case differ.

    >>> owners = Owners({"shop": Team(["checkout-*"]), "payments": Team(["checkout-card*", "ledger"])})
    >>> owners.of("checkout-cart"), owners.of("checkout-cards"), owners.of("thumbnails")
    ('shop', 'payments', '')

    Args:
        teams: By name, in order.
        where: The file, for errors.

    Raises:
        ConfigError: A name or a pattern is none, or there are too many.
    """

    def __init__(self, teams: dict[str, Team] | None = None, where: str = "owners.toml") -> None:
        self.teams = dict(teams or {})
        self.where = where
        if len(self.teams) > MOST_TEAMS:
            raise ConfigError(f"{where}: {len(self.teams)} teams, expected at most {MOST_TEAMS}")
        count = sum(len(team.services) for team in self.teams.values())
        if count > MOST_PATTERNS:
            raise ConfigError(f"{where}: {count} services, expected at most {MOST_PATTERNS}")
        patterns = [(text, name) for name, team in self.teams.items() for text in _services(name, team, where)]
        self._exact = {text: name for text, name in reversed(patterns) if not _is_glob(text)}
        globs = sorted((pair for pair in patterns if _is_glob(pair[0])), key=lambda pair: -_literal(pair[0]))
        self._globs = [(_glob(text), name) for text, name in globs]
        self._found = lru_cache(_REMEMBERED)(self._find)

    @classmethod
    def load(cls, path: str | Path) -> Owners:
        """Read `owners.toml`.

        Raises:
            ConfigError: One line: the file, the place in it, and what was expected there.
        """
        try:
            with Path(path).open("rb") as file:
                raw = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the owners: {error.strerror or error}") from error
        except ValueError as error:
            raise ConfigError(f"{str(path)!r}: not a path: {error}") from error
        if len(raw) > LARGEST_BYTES:
            raise ConfigError(f"{path}: more than {LARGEST_BYTES} bytes, expected the owners of services")
        try:
            found = msgspec.convert(tomllib.loads(raw.decode("utf-8")), _File)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: {_one_line(error)}; expected [teams.NAME] for each team") from error
        return cls({name: _team(name, team, path) for name, team in found.teams.items()}, str(path))

    def of(self, service: str) -> str:
        """The team's name, empty for a service that is nobody's. Of the name the first 256 characters are looked at."""
        return self._found(service[:LONGEST_TEXT])

    def _find(self, service: str) -> str:
        exact = self._exact.get(service)
        if exact is not None:
            return exact
        return next((name for pattern, name in self._globs if pattern.match(service)), "")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    teams: dict[str, dict[str, object]] = {}


def _team(name: str, raw: dict[str, object], path: str | Path) -> Team:
    try:
        return msgspec.convert(raw, Team)
    except msgspec.ValidationError as error:
        where = f"{path}: teams.{_one_line(name[:64])}"
        raise ConfigError(f"{where}: {_one_line(error)}; expected services, to, escalate, hours") from error


def _one_line(said: object) -> str:
    # A key in quotes may have line breaks in it.
    return " ".join(str(said).splitlines())


def _services(name: str, team: Team, where: str) -> list[str]:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: team {name[:80]!r}, expected a name of up to 64 letters, digits, spaces, . _ -")
    for text in team.services:
        if not 0 < len(text) <= LONGEST_TEXT:
            raise ConfigError(
                f"{where}: teams.{name}.services: {text[:80]!r}, expected a service of 1 to {LONGEST_TEXT} characters"
            )
    return team.services


def _is_glob(text: str) -> bool:
    return "*" in text or "?" in text


def _glob(text: str) -> re.Pattern[str]:
    # What fnmatch makes of it never takes back what a * took before another one; [ is no set here.
    return re.compile(fnmatch.translate(text.replace("[", "[[]")))


def _literal(text: str) -> int:
    return sum(char not in "*?" for char in text)
