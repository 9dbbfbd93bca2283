"""List the pages written for people and check that each relative link in them leads somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_FOLDERS = ("docs", "plugins", "fluentbit", "samples")


def pages(root: Path = ROOT) -> list[Path]:
    """The Markdown files at the root and in the folders of documents."""
    return sorted(root.glob("*.md")) + [page for name in _FOLDERS for page in sorted((root / name).rglob("*.md"))]


def dead_links(page: Path) -> list[str]:
    """The relative links of a page whose target does not exist."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in _LINK.findall(text) if "://" not in link]
    return [target for target in targets if target and not (page.parent / target).exists()]


def main() -> int:
    """1 where a link is dead."""
    dead = 0
    for page in pages():
        title = next((line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# ")), "# -")
        print(f"{page.relative_to(ROOT)!s:<40} {title[2:]}")
        for target in dead_links(page):
            dead += 1
            print(f"    dead link: {target}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
