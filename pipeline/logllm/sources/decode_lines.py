"""Records whose message is itself a formatted line: the seam to the line formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from logllm.sources.decode_values import placed
from logllm.sources.formats.header import HeaderFormat
from logllm.sources.formats.line_format import LineFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.events import Columns, Fields
    from logllm.fields import Wanted

__all__ = ["LineFormatFor", "Lines", "detected", "too_many"]

LineFormatFor = Callable[[str, list[str], int], LineFormat | None]
"""The format of the lines of a tag, from some of them and the time now in ns; None where they are free text."""

# Fewer lines prove nothing; a format is judged again with every chunk until enough have been seen.
_FEWEST_LINES = 5
_ENOUGH_LINES = 20
_ENOUGH_CHUNKS = 16
_SAMPLE = 200
# More misses than this, and the lines are no longer of that format.
_MOST_MISSES = 0.5


def detected(tag: str, lines: list[str], observed_ns: int, wanted: Wanted | None = None) -> LineFormat | None:
    """The `LineFormatFor` that looks at nothing but the lines, with the formats that files have."""
    from logllm.sources.formats.detect import detect

    found = detect(lines, reference_ns=observed_ns, wanted=wanted)
    return None if found.name == "text" else found


def too_many(misses: int, lines: int) -> bool:
    """Whether lines are no longer of their format."""
    return misses > _MOST_MISSES * lines


def _bodies(texts: list[str], heads: list[str], messages: Sequence[str]) -> list[str]:
    """Messages of first lines with what stands in the lines behind them."""
    return [
        body if text is head or len(text) == len(head) else body + text[len(head) :]
        for body, text, head in zip(messages, texts, heads, strict=True)
    ]


class Lines:
    """The line format of one tag; decided once, and again when it no longer fits.

    Attributes:
        fields: Further fields that the lines of the last `read` had, a place for each message.
    """

    def __init__(self, line_format: LineFormatFor | None) -> None:
        self._line_format = line_format
        self._format: LineFormat | None = None
        self._seen: list[str] = []
        self._chunks = 0
        self.fields: Fields | None = None

    @property
    def free(self) -> bool:
        """Whether the lines are known to be free text: `read` would change nothing."""
        return self._line_format is None or (self._settled and self._format is None)

    def read(
        self,
        tag: str,
        messages: Sequence[str],
        severity: NDArray[np.uint8],
        services: list[str],
        observed_ns: int,
        written: NDArray[np.bool_],
        *,
        fixed: bool,
    ) -> tuple[Sequence[str], list[str]]:
        """Messages and services with what the lines say, the same objects where they say nothing; `severity` is filled
        in place.

        Only records without a severity of their own are looked at: one that names its level is structured already.

        Args:
            tag, observed_ns: For the question.
            messages: n texts.
            severity: uint8[n], changed where it is 0.
            services: n names, or none at all; only empty names are filled.
            written: bool[n], false for texts that were put together from fields.
            fixed: The tag itself names the service, so lines do not.
        """
        self.fields = None
        if self.free:
            return messages, services
        bare = np.flatnonzero((severity == 0) & written)
        if not len(bare):
            return messages, services
        whole = len(bare) == len(messages)
        sample = [messages[index].partition("\n")[0] for index in bare[:_SAMPLE].tolist()]
        judged = self._settled
        if self._judge(tag, sample, observed_ns) is None:
            return messages, services
        every = list(messages)
        texts = every if whole else [every[index] for index in bare.tolist()]
        heads = [text.partition("\n")[0] for text in texts]
        found = self._parse(tag, heads, observed_ns, judged=judged)
        if found is None:
            return messages, services
        severity[bare] = found.severity
        self.fields = found.fields if whole else placed(found.fields, bare, len(messages))
        bodies = _bodies(texts, heads, found.messages)
        if whole:
            messages = bodies
        else:
            for index, body in zip(bare.tolist(), bodies, strict=True):
                every[index] = body
            messages = every
        if not fixed and any(found.service_names):
            services = services.copy() or [""] * len(messages)
            for index, code in zip(bare.tolist(), found.service_codes, strict=True):
                services[index] = services[index] or found.service_names[code]
        return messages, services

    @property
    def header(self) -> HeaderFormat | None:
        """The format, where it is settled and what a header says can be known from a line's shape."""
        return self._format if self._settled and isinstance(self._format, HeaderFormat) else None

    def read_some(self, texts: list[str]) -> tuple[list[str], Columns, int] | None:
        """The messages of some lines, what their headers say, and how many had none; nothing is judged anew."""
        if self._format is None:
            return None
        heads = [text.partition("\n")[0] for text in texts]
        found = self._format.parse(heads, join=False)
        return _bodies(texts, heads, found.messages), found, self._format.misses

    def _parse(self, tag: str, lines: list[str], observed_ns: int, *, judged: bool) -> Columns | None:
        """The lines as the format has them, judged once more where it no longer fits."""
        line_format = self._format
        for _ in range(2):
            if line_format is None:
                return None
            found = line_format.parse(lines, join=False)
            if not judged or not too_many(line_format.misses, len(lines)):
                break
            self._seen, self._chunks = [], 0
            judged = self._settled
            line_format = self._judge(tag, lines, observed_ns)
        return found

    @property
    def _settled(self) -> bool:
        return self._chunks >= _ENOUGH_CHUNKS or len(self._seen) >= _ENOUGH_LINES

    def _judge(self, tag: str, lines: list[str], observed_ns: int) -> LineFormat | None:
        if self._line_format is not None and not self._settled:
            self._chunks += 1
            self._seen = (self._seen + lines[:_SAMPLE])[-_SAMPLE:]
            if len(self._seen) >= _FEWEST_LINES or self._settled:
                self._format = self._line_format(tag, self._seen, observed_ns)
        return self._format
