"""List the pages written for people, write what is generated in them, check that each relative link leads somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_FOLDERS = ("docs", "plugins", "fluentbit", "samples")
_METRICS = re.compile(r"(<!-- metrics: written by [^\n]*-->\n)(.*?)(<!-- metrics: end -->)", re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """The Markdown files at the root and in the folders of documents."""
    return sorted(root.glob("*.md")) + [page for name in _FOLDERS for page in sorted((root / name).rglob("*.md"))]


def dead_links(page: Path) -> list[str]:
    """The relative links of a page whose target does not exist."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in _LINK.findall(text) if "://" not in link]
    return [target for target in targets if target and not (page.parent / target).exists()]


def metrics_table(root: Path = ROOT) -> str:
    """The metrics that a service gives a value, as Markdown: those of `METRICS` that the code of `service/` names."""
    from logllm.metrics import METRICS

    code = "".join(path.read_text(encoding="utf-8") for path in (root / "pipeline/logllm/service").glob("*.py"))
    rows = ["| metric | kind | labels | what |", "|---|---|---|---|"]
    for metric in METRICS.values():
        if f'"{metric.name}"' in code:
            name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            rows.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"


def generated(text: str, table: str) -> str:
    """A page with its table of metrics as it should be; unchanged where it has no place for one."""
    return _METRICS.sub(lambda found: found[1] + table + found[3], text)


def main() -> int:
    """1 where a link is dead."""
    dead, table = 0, metrics_table()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        title = next((line for line in text.splitlines() if line.startswith("# ")), "# -")
        print(f"{page.relative_to(ROOT)!s:<40} {title[2:]}")
        if (fresh := generated(text, table)) != text:
            page.write_text(fresh, encoding="utf-8")
            print("    its metrics were out of date: written anew")
        for target in dead_links(page):
            dead += 1
            print(f"    dead link: {target}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
