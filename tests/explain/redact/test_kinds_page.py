from __future__ import annotations

import re
import textwrap
from pathlib import Path

from logllm.explain.redact.redactor import KINDS
from logllm.explain.redact.secrets import kinds

PAGE = Path(__file__).parents[3] / "docs" / "redaction.md"


def test_the_page_names_every_kind_there_is() -> None:
    wanted = "\n".join(textwrap.wrap(", ".join(kinds()), 118, break_on_hyphens=False))

    found = re.search(r"<!-- kinds -->\n(.*?)\n<!-- kinds: end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)

    assert found is not None
    assert found[1] == wanted, f"docs/redaction.md: expected between its marks:\n{wanted}"


def test_the_page_names_every_pseudonym_there_is() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert [kind for kind in KINDS if f"`<{kind}_" not in text] == []
