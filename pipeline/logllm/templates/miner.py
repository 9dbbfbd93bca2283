"""Which template each message is of: a dictionary look-up for what is known, masks and merge for what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from logllm.templates.editing import Editing
from logllm.templates.edits import TemplateEdits
from logllm.templates.ledger import id_text
from logllm.templates.masks import WILD
from logllm.templates.mining import OVERFLOW_TEXT, Mining
from logllm.templates.named import MOST_NAMED, Named
from logllm.templates.parameters import values_in
from logllm.templates.saved import Saved, read_saved
from logllm.templates.template import TYPE, Changes, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from logllm.events import TextCodes

__all__ = ["MOST_NAMED", "OVERFLOW_TEXT", "Changes", "Miner", "Template", "TemplateEdits"]


class Miner:
    """Gives each message the index of its template.

    Indices are dense, start at 0 and are never used for another template. When a template becomes part of another
    one, its index is given out no more and `drain_changes` says which index it became; `canonical` keeps the answer.
    What is given out depends on the messages, their services and their order only, not on how they are cut into
    calls, and a restored miner goes on exactly as the saved one would have.

    Texts are shared: a text has one template whatever service it comes from. Room is not: when more than `max_new`
    new texts come from one service within 100,000 messages, or more than a quarter of them push out others, further
    ones of it count as one template (`OVERFLOW_TEXT`) for a while; and when there are `max_templates`, those unused
    for longest are evicted of the service that has most.

    Cost: about 0.3 microseconds for a message whose text is known, 10 to 20 for a new one. Memory is bounded:
    `max_keys` (twice, some 150 bytes each), `max_templates` (some 500 each), and 47 bytes for each index ever
    given out: at most 5,000 for a service in 100,000 messages, then 50 in 6,400,000 as long as a flood lasts.

    Args:
        hide: `hide(text, stand_in)` is the text with its secrets replaced, and depends on nothing else. Asked about
            each text of a new template, so that none is a part of one: a parameter stands there.

    >>> miner = Miner()
    >>> miner.ids(["took 5 ms", "took 17 ms", "disk full"]).tolist()
    [0, 0, 1]
    >>> miner.template(0).text, miner.template(0).untyped, miner.parameters(0, "took 17 ms")
    ('took <num> ms', 'took <*> ms', ['17'])
    """

    def __init__(
        self,
        *,
        max_templates: int = 50_000,
        max_keys: int = 200_000,
        max_new: int = 5_000,
        hide: Callable[[str, str], str] | None = None,
    ) -> None:
        self._take(Mining(max_templates, max_keys, max_new, hide))

    def _take(self, mining: Mining) -> None:
        self._mining = mining
        self._ledger = mining.ledger
        self._named = Named(mining.ledger)
        self._editing = Editing(mining)

    @property
    def size(self) -> int:
        """One more than the largest index given out so far; arrays by template index need this length."""
        return self._ledger.size

    def __len__(self) -> int:
        """Templates alive."""
        return self._ledger.alive

    @property
    def overflow(self) -> int:
        """The index of the overflow template, -1 while nothing has overflowed."""
        return self._mining.overflow

    def ids(
        self,
        messages: Sequence[str],
        codes: TextCodes | None = None,
        services: NDArray[np.int32] | None = None,
    ) -> NDArray[np.int32]:
        """The template index of each message.

        Args:
            codes: Which messages are equal but for their digits, where that is known: then most need not be looked at.
                What is given out is the same with and without.
            services: The service of each, by a number from 0 that stays the same from call to call; without, all are
                of one. Only bounds depend on it.

        Shapes:
            messages: n str, of any length and content; "\\0" in them is read as a space.
            services: int32[n].
            returns: int32[n].
        """
        return self._mining.ids(messages, codes, services)

    def named(self, text: str) -> int:
        """The index of a template of just this text, for what is no message: no message is ever of it.

        There are at most MOST_NAMED; the one named first goes.
        """
        index = self._named.index(text)
        self._ledger.counts[index] += 1
        self._ledger.last[index] = self._mining.seen
        return index

    def is_named(self, index: int) -> bool:
        """Whether an index was given out by `named`."""
        return index in self._named.text_of

    def canonical(self, index: int) -> int:
        """What an index given out earlier is now."""
        return int(self._ledger.canonical[index])

    def template(self, index: int) -> Template:
        """The template of an index, or of what it became where it was merged.

        Raises IndexError for an index never given out and for one evicted.
        """
        ledger = self._ledger
        index = self._living(index)
        text, version, pinned = self._text(index)
        members = ledger.ids[sorted(ledger.members.get(index, ()))].tolist()
        own = int(ledger.ids[index])
        names = self._editing.names
        return Template(
            index=index,
            id=id_text(own),
            text=text,
            untyped=TYPE.sub(WILD, text),
            count=int(ledger.counts[index]),
            version=version,
            name=next((names[number] for number in (own, *members) if number in names), "") if names else "",
            pinned=pinned,
            aliases=tuple(dict.fromkeys(map(id_text, members))),
        )

    def text(self, index: int) -> str:
        """The text of `template`, at a tenth of its cost. Raises IndexError as that does."""
        return self._text(self._living(index))[0]

    def _living(self, index: int) -> int:
        """What an index is now. Raises IndexError as `template` does."""
        if not 0 <= index < self._ledger.size:
            raise IndexError(f"template {index}: only {self._ledger.size} are known")
        index = self.canonical(index)
        if not self._ledger.is_alive(index):
            raise IndexError(f"template {index}: forgotten, nothing was seen of it for long")
        return index

    def _text(self, index: int) -> tuple[str, int, bool]:
        """Text, version and whether it is pinned, of an index that is alive."""
        nodes = self._mining.texts.nodes
        node = nodes.get(index)
        if node is not None:
            return node.text(), node.version, False
        if index in self._named.text_of:
            return self._named.text_of[index], 1, False
        if index == self._mining.overflow:
            return OVERFLOW_TEXT, 1, False
        for pin, pinned in self._mining.pins.by_text.values():
            if pinned == index:
                return pin.text, 1, True
        # The user merged one into it, and mining has put that one's text in place of its own.
        node = next(nodes[member] for member in sorted(self._ledger.members[index]) if member in nodes)
        return node.text(), node.version, False

    def templates(self) -> Iterator[Template]:
        """All templates alive, by index: those of messages, of `named`, the overflow and the pinned ones."""
        state = self._ledger.state[: self.size]
        return map(self.template, np.flatnonzero(state <= 1).tolist())

    def resolve(self, template_id: str) -> int | None:
        """The index of a template by its id or by the id of one that became part of it; None where unknown."""
        try:
            index = self._ledger.by_id(int(template_id, 16))
        except ValueError:
            return None
        return None if index is None else self.canonical(index)

    def drain_changes(self) -> Changes:
        """What has been merged and evicted since this was last asked."""
        return Changes(*self._ledger.drain())

    def reuse(self) -> None:
        """Indices that `drain_changes` has told of as evicted may be given out again, to templates that are others.

        Whoever keeps indices must have forgotten those. Without it none is ever given out twice, and what is kept of
        each (47 bytes) adds up as long as templates come and go.
        """
        self._ledger.reuse()

    def parameters(self, index: int, message: str) -> list[str]:
        """What stands in a message at the `<*>` of its template, in order; fewer where the message does not fit.

        Takes the shortest value at each place. At most 32 values of 200 characters. Never raises: an index that is
        unknown gives an empty list.
        """
        index = self.canonical(index) if 0 <= index < self.size else -1
        if index < 0 or not self._ledger.is_alive(index) or self.is_named(index) or index == self.overflow:
            return []
        return values_in(self._text(index)[0], message)

    @property
    def edits(self) -> TemplateEdits:
        """The user's edits as they stand; `edit` of another miner takes them."""
        return self._editing.edits

    def edit(self, edits: TemplateEdits) -> None:
        """Put the user's edits in place of those there were; giving the same again changes nothing.

        What it merges and evicts is told by `drain_changes`, also in a running miner between two calls of `ids`. A
        merge that is no longer listed stays merged. Raises ConfigError for a pin that cannot be, and then nothing
        has changed. Cost: a pass over all texts for each new pin.
        """
        self._editing.apply(edits)

    def rename(self, template_id: str, name: str) -> None:
        """What a template is called from now on; "" takes the name away. Raises ConfigError for an unknown id."""
        self._editing.rename(template_id, name)

    def merge(self, ids: Sequence[str]) -> str:
        """Let templates become the first of them; returns the id of what they are now.

        Raises ConfigError: fewer than two, an unknown id, or one that is pinned or no message's and not the first.
        """
        return self._editing.merge(list(ids))

    def pin(self, text: str) -> str:
        """Let every line that fits a text be of it, from now on and in what was mined; returns the pin's id.

        `<*>` stands for anything, a type such as `<num>` or `<ip>` for what is shown so. See `Pin` for what fits.
        Raises ConfigError where it cannot be, or there are MOST_PINS.
        """
        return self._editing.pin(text)

    def unpin(self, text: str) -> None:
        """Forget a pin and its template; its lines are mined again. Raises ConfigError where there is none."""
        self._editing.unpin(text)

    def state(self, key: bytes = b"") -> dict[str, Any]:
        """All of it as maps, lists, strings, integers and bytes, ready for msgpack; `restore` takes it back.

        Known texts are in it as hashes under `key` (up to 64 bytes, the same each time; it is in it too).
        """
        saved = Saved.of(self._mining, self._named, self.edits, key)
        state: dict[str, Any] = msgspec.to_builtins(saved, builtin_types=(bytes,))
        return state

    @classmethod
    def restore(cls, state: object, hide: Callable[[str, str], str] | None = None) -> Miner:
        """The miner that gave this state. Raises StateError where it is damaged or of another version."""
        saved = read_saved(state)
        miner = cls()
        miner._take(saved.back(hide))
        for text, index in saved.named:
            miner._named.put(text, index)
        miner._editing.edits = saved.edits
        miner._editing.remember()
        return miner
