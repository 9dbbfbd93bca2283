"""Write the tables in `docs/forward.md`: frames from `tests/sources/forward/matrix.py`, limits from the settings.

python tools/forward_matrix.py            # a test fails when the page is not what this writes
python tools/forward_matrix.py --check    # 1 where it is not
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "forward.md"
sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT)]

from logllm.sources.forward.server import ForwardConfig  # noqa: E402
from tests.sources.forward.matrix import CASES, Answer, Case  # noqa: E402

LIMITS = {
    "max_frame_bytes": "a longer frame closes its connection, as soon as it says so",
    "max_inflated_bytes": "a payload that inflates to more closes its connection",
    "max_connections": "for one more, the oldest that has never sent a byte is closed, else it is itself",
    "max_buffered_bytes": "unfinished frames of all connections together; past it they are read one by one",
    "stall_s": "while that is so, a peer that may send and does not is closed",
    "handshake_timeout_s": "for TLS, and again for the handshake",
}


def answer(of: Answer) -> str:
    """One answer in words."""
    words = [f"{of.records} record{'s' * (of.records != 1)}"]
    if of.refused:
        words.append(f"{of.refused} dead letter{'s' * (of.refused != 1)}")
    if of.acks:
        words.append("acked" if len(of.acks) == 1 else f"{len(of.acks)} acks in order")
    return ", ".join([*words, "open" if of.is_open else "closed"])


def row(case: Case) -> str:
    """A line of the table of frames."""
    theirs = answer(case.theirs) + " *(read)*" * case.read
    ours = "same" if case.ours == case.theirs else answer(case.ours)
    return f"| {case.name} | {theirs} | {ours} | {case.why} |"


def frames() -> list[str]:
    """The table of frames."""
    return ["| frame | Fluent Bit | logllm | why |", "|---|---|---|---|", *map(row, CASES)]


def limits() -> list[str]:
    """What bounds a peer, with the defaults."""
    defaults = ForwardConfig()
    rows = ["| setting of `[forward]` | default | what it does |", "|---|---|---|"]
    for key, what in LIMITS.items():
        number = f"{getattr(defaults, key):,}".replace(",", " ")
        rows.append(f"| `{key}` | {number} | {what} |")
    rows.append("| tags, chunk ids | 65 535 bytes | a longer one closes its connection |")
    rows.append("| gzip members, zstd frames in a payload | 200 000 | more close its connection |")
    return rows


def page(text: str) -> str:
    """The page with its tables as they are to be."""
    for name, table in (("frames", frames()), ("limits", limits())):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, behind = rest.partition("<!-- end -->")
        text = "\n".join([f"{before}<!-- {name} -->", *table, f"<!-- end -->{behind}"])
    return text


def main(arguments: list[str]) -> int:
    """Write it, or with --check say whether it is written."""
    text = PAGE.read_text(encoding="utf-8")
    made = page(text)
    if arguments == ["--check"]:
        print(f"{PAGE.relative_to(ROOT)}: {'up to date' if made == text else 'stale, run tools/forward_matrix.py'}")
        return 0 if made == text else 1
    PAGE.write_text(made, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(CASES)} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
