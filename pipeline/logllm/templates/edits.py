"""What a user changes about templates: names, merges, pins. Kept by template id, so that they outlive a state."""

from __future__ import annotations

from typing import Annotated

import msgspec

from logllm.errors import ConfigError

__all__ = ["MOST_MERGED", "MOST_NAMES", "MOST_PINS", "TemplateEdits", "TemplateId", "checked_id"]

MOST_PINS = 256
MOST_NAMES = 10_000
MOST_MERGED = 1_000
_ID_CHARS = 12

TemplateId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{12}$", description="12 hexadecimal digits")]
_Group = Annotated[tuple[TemplateId, ...], msgspec.Meta(min_length=2, max_length=MOST_MERGED)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_PinText = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class TemplateEdits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All edits of one user. `Miner.edit` applies them, again and again if need be.

    Args:
        names: What a template is shown as, by its id. An id not met yet waits.
        merges: Groups of ids; the others become the first. One not met yet waits, and is merged once it is.
        pins: Templates given by the user, such as `user <user> logged in from <ip>`: every line that fits is of it,
            whatever mining says. The first that fits wins.
    """

    names: Annotated[dict[TemplateId, _Name], msgspec.Meta(max_length=MOST_NAMES)] = {}
    merges: Annotated[tuple[_Group, ...], msgspec.Meta(max_length=MOST_MERGED)] = ()
    pins: Annotated[tuple[_PinText, ...], msgspec.Meta(max_length=MOST_PINS)] = ()

    @classmethod
    def read(cls, data: object, where: str = "template edits") -> TemplateEdits:
        """From maps, lists and strings (TOML, JSON, msgpack). Raises ConfigError: where, what, what was expected."""
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: {error}") from error

    def as_data(self) -> dict[str, object]:
        """As maps, lists and strings; `read` takes it back."""
        data: dict[str, object] = msgspec.to_builtins(self)
        return data


def checked_id(text: str) -> int:
    """The number of an id. Raises ConfigError where it is none."""
    if len(text) != _ID_CHARS or text.strip("0123456789abcdef"):
        raise ConfigError(f"template {text!r}: expected an id of 12 hexadecimal digits")
    return int(text, 16)
