"""A message as HTML that looks like Slack, to be looked at: `python -m tests.notify.slack.render FOLDER`."""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from typing import Any

from tests.notify.slack.mrkdwn import read

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.46 'Lato', 'Noto Sans', 'DejaVu Sans', sans-serif; color: #1d1c1d; width: 680px; margin: 16px; }
.message { border-top: 1px solid #ddd; padding: 8px 0 14px; } .who { font-weight: 900; font-size: 15px; }
h1 { font-size: 18px; line-height: 1.33; margin: 8px 0 4px; } .section { margin: 8px 0; white-space: pre-wrap; }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; margin: 8px 0; }
.fields div { white-space: pre-wrap; } .context { color: #616061; font-size: 12px; margin: 8px 0; }
code { font: 12px/1.5 'DejaVu Sans Mono', monospace; color: #c01343; background: #f4f4f4; border: 1px solid #ddd;
       border-radius: 3px; padding: 1px 3px; }
.context code { font-size: 10.5px; }
pre { font: 12px/1.5 'DejaVu Sans Mono', monospace; background: #f8f8f8; border: 1px solid #ddd; border-radius: 4px;
      padding: 8px; margin: 4px 0; white-space: pre-wrap; word-break: break-word; }
.control { color: #1264a3; background: #e8f5fa; }
.button { display: inline-block; border: 1px solid #bbb; padding: 4px 12px;
  border-radius: 4px; font-weight: 700; font-size: 13px; margin: 4px 8px 0 0; }
.primary { background: #007a5a; color: #fff; border-color: #007a5a; } .call { color: #888; font-size: 12px; }
"""
_TAGS = {"pre": "pre", "code": "code", "bold": "b", "italic": "i", "strike": "s", "quote": "blockquote"}


def page(requests: list[dict[str, Any]]) -> str:
    """What was sent, message by message, each as a reader sees it."""
    shown = "".join(
        f'<div class="call">{html.escape(one["path"])} — notification: {_mrkdwn(one["body"]["text"])}</div>'
        f'<div class="message"><div class="who">logllm</div>{_blocks(one["body"])}</div>'
        for one in requests
    )
    return f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>{shown}'


def _blocks(body: dict[str, Any]) -> str:
    if not body.get("blocks"):
        return f'<div class="section">{_mrkdwn(body["text"])}</div>'
    return "".join(_block(block) for block in body["blocks"])


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"<h1>{html.escape(block['text']['text'])}</h1>"
        case "section" if "fields" in block:
            return (
                '<div class="fields">'
                + "".join(f"<div>{_mrkdwn(one['text'])}</div>" for one in block["fields"])
                + "</div>"
            )
        case "section":
            return f'<div class="section">{_mrkdwn(block["text"]["text"])}</div>'
        case "context":
            return f'<div class="context">{" ".join(_mrkdwn(one["text"]) for one in block["elements"])}</div>'
        case _:
            shown = "".join(
                f'<span class="button {one.get("style", "")}">{html.escape(one["text"]["text"])}</span>'
                for one in block["elements"]
            )
            return f"<div>{shown}</div>"


def _mrkdwn(text: str) -> str:
    shown = []
    for kind, inner in read(text):
        # What is escaped for Slack is escaped for HTML as well.
        tag = _TAGS.get(kind)
        if kind == "control":
            shown.append(f'<span class="control">@{html.escape(inner)}</span>')
        else:
            shown.append(f"<{tag}>{inner.strip() if kind == 'pre' else inner}</{tag}>" if tag else inner)
    return "".join(shown).replace("</pre>\n", "</pre>")


def main(folder: Path) -> None:
    """A page for each golden file."""
    folder.mkdir(parents=True, exist_ok=True)
    for golden in sorted(Path(__file__).with_name("golden").glob("*.json")):
        requests = json.loads(golden.read_text(encoding="utf-8"))
        (folder / f"{golden.stem}.html").write_text(page(requests), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
