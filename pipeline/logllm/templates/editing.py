"""The user's edits on what was mined: names shown, groups merged, templates pinned."""

from __future__ import annotations

import msgspec

from logllm.errors import ConfigError
from logllm.templates.edits import MOST_PINS, TemplateEdits, checked_id
from logllm.templates.keys import without_hex
from logllm.templates.ledger import OWN, id_text
from logllm.templates.mining import Mining
from logllm.templates.pins import Pin

__all__ = ["Editing"]


class Editing:
    """Holds the edits and lets mining know them. Each costs little but a pin: that is a pass over all texts."""

    def __init__(self, mining: Mining) -> None:
        self._mining = mining
        self.edits = TemplateEdits()
        self.names: dict[int, str] = {}
        self._groups: dict[int, list[tuple[int, ...]]] = {}
        mining.on_new = self._met

    def apply(self, edits: TemplateEdits) -> None:
        """Put all edits in place of those there were. Raises ConfigError, and then nothing has changed."""
        edits = TemplateEdits.read(edits.as_data())
        wanted = {pin.text: pin for pin in map(_checked_pin, edits.pins)}
        pins = self._mining.pins
        for text in [text for text in pins.by_text if text not in wanted]:
            self._let_go(text)
        for text, pin in wanted.items():
            if text not in pins.by_text:
                self._take(pin)
        pins.by_text = {text: pins.by_text[text] for text in wanted}
        self.edits = edits
        self.remember()
        for group in dict.fromkeys(group for groups in self._groups.values() for group in groups):
            self._join(group)

    def remember(self) -> None:
        """Take names and groups from the edits."""
        self.names = {checked_id(template): name for template, name in self.edits.names.items()}
        self._groups = {}
        for ids in self.edits.merges:
            group = tuple(map(checked_id, ids))
            for template in group:
                self._groups.setdefault(template, []).append(group)

    def rename(self, template_id: str, name: str) -> None:
        self._known(template_id)
        names = {key: value for key, value in self.edits.names.items() if key != template_id}
        name = " ".join(name.split())
        if name:
            names[template_id] = name
        self.apply(self._changed(names=names))

    def merge(self, ids: list[str]) -> str:
        indices = [self._known(template_id) for template_id in ids]
        if len(set(ids)) < 2:
            raise ConfigError(f"merge: {ids[0] if ids else 'nothing'} is one template, expected two or more")
        for index, template_id in zip(indices, ids, strict=True):
            if self._mining.ledger.state[index] == OWN and index != indices[0]:
                raise ConfigError(f"template {template_id}: is not mined, others can only be merged into it")
        self.apply(self._changed(merges=(*self.edits.merges, tuple(dict.fromkeys(ids)))))
        return id_text(int(self._mining.ledger.ids[self._mining.ledger.canonical[indices[0]]]))

    def pin(self, text: str) -> str:
        pin = _checked_pin(text)
        if pin.text not in self._mining.pins.by_text:
            if len(self.edits.pins) >= MOST_PINS:
                raise ConfigError(f"pinned template {text!r}: there are {MOST_PINS} already, expected no more")
            self.apply(self._changed(pins=(*self.edits.pins, text)))
        return id_text(int(self._mining.ledger.ids[self._mining.pins.by_text[pin.text][1]]))

    def unpin(self, text: str) -> None:
        wanted = " ".join(text.split())
        if wanted not in self._mining.pins.by_text:
            raise ConfigError(f"pinned template {text!r}: there is none, expected one of those listed as pinned")
        kept = tuple(pin for pin in self.edits.pins if " ".join(pin.split()) != wanted)
        self.apply(self._changed(pins=kept))

    def _changed(self, **changes: object) -> TemplateEdits:
        return TemplateEdits.read(msgspec.to_builtins(msgspec.structs.replace(self.edits, **changes)))

    def _known(self, template_id: str) -> int:
        index = self._mining.ledger.by_id(checked_id(template_id))
        if index is None:
            raise ConfigError(f"template {template_id}: unknown, expected the id of one that is listed")
        return int(self._mining.ledger.canonical[index])

    def _met(self, index: int) -> None:
        for group in self._groups.get(int(self._mining.ledger.ids[index]), ()):
            self._join(group)

    def _join(self, group: tuple[int, ...]) -> None:
        ledger = self._mining.ledger
        first = ledger.by_id(group[0])
        if first is None:
            return
        for template in group[1:]:
            index = ledger.by_id(template)
            if index is not None:
                first = self._mining.join(index, first)

    def _take(self, pin: Pin) -> None:
        mining = self._mining
        index = mining.ledger.add(f"\0{pin.text}", state=OWN)
        mining.pins.by_text[pin.text] = (pin, index)
        fitting = [node.index for node in mining.texts.nodes.values() if pin.fits(node.text())]
        mining.texts.remove(fitting)
        for old in fitting:
            if mining.ledger.state[mining.ledger.canonical[old]] != OWN:
                mining.join(old, index)
        mining.keys.clear()

    def _let_go(self, text: str) -> None:
        _, index = self._mining.pins.by_text.pop(text)
        self._mining.evict([index])


def _checked_pin(text: str) -> Pin:
    pin = Pin(text)
    if len(without_hex([pin.text])[0]) < len(pin.text.encode().translate(None, b"0123456789")):
        raise ConfigError(f"pinned template {text!r}: long hexadecimal words vary, expected <hex> in their place")
    return pin
